package history

import (
	"fmt"
	"hash/maphash"
	"time"
)

// Keep says what is kept of a channel.
type Keep struct {
	Messages int           // at most, up to MaxHistory; 0 = the channel has no history
	Age      time.Duration // at most; 0 = any
	Latest   bool          // who comes gets the newest message, whatever was missed
}

// Options of a Store.
type Options struct {
	// Memory is how many bytes all channels may take together, about; beyond it
	// the oldest messages go, whosever they are.
	Memory int
	// Keep returns what is kept of a channel, by its name. It must not change
	// its mind while the store lives.
	Keep func(channel string) Keep
	// Draw returns the epoch of a sequence that begins with nothing.
	Draw func(app string) Epoch
}

// Store is the history of all channels.
type Store struct {
	// Behind is by how many milliseconds less than the times that calls give all that
	// is kept has grown old: the clock was set forwards, and may be wrong.
	Behind int64

	o      Options
	seed   maphash.Seed
	seqs   []*sequence
	byApp  map[string]uint16
	table  []*channel // heads of lists; the length is a power of two
	used   int        // channels
	gone   int        // of those that were forgotten, ever
	queue  []*channel // of each message in the order of coming; those of gone ones are stale
	front  int        // of queue
	stale  int        // entries of queue
	cursor int        // of Sweep
	idle   int        // bytes of channels without messages, as the last round has found
	idling int        // as this round has found so far
	live   int        // bytes, see weight
	counts Counts
}

// Counts are of the store's life, but for Channels, Messages and Bytes.
type Counts struct {
	Channels, Messages, Bytes int // of now
	Numbered                  uint64
	Evicted                   uint64 // messages that went for want of memory
}

// sequence numbers the messages of an app.
type sequence struct {
	app       string
	epoch     Epoch
	last      uint64
	forgotten uint64 // no channel that is not in the table has a later message
	bar       uint64 // see Store.older
	doubt     uint64 // see Store.Distrust
	keys      keys
	versions  versions
}

// New returns an empty store.
func New(o Options) *Store {
	return &Store{o: o, seed: maphash.MakeSeed(), byApp: map[string]uint16{}, table: make([]*channel, 16)}
}

// Stamp is what a message gets when it is numbered.
type Stamp struct {
	Position
	Prev uint64 // offset of the message before it in its channel, 0 = none that is known

	floor uint64 // what is not kept of the channel may reach up to this offset
}

// Counts returns the numbers of now.
func (s *Store) Counts() Counts {
	c := s.counts
	c.Channels, c.Messages, c.Bytes = s.used, len(s.queue)-s.front-s.stale, s.Bytes()
	return c
}

// Bytes returns about how much memory the messages take.
func (s *Store) Bytes() int { return s.live + 8*(len(s.queue)-s.front) }

// maxSequences bounds the apps: a config has few, and a name on the bus that
// looks like one is not enough to be one.
const maxSequences = 1 << 16

// sequenceOf returns the sequence of an app, which begins if there is none.
func (s *Store) sequenceOf(app string) (uint16, *sequence) {
	if i, ok := s.byApp[app]; ok {
		return i, s.seqs[i]
	}
	if len(s.seqs) == maxSequences {
		panic(fmt.Sprintf("history: more than %d apps", maxSequences))
	}
	return s.begin(app, s.o.Draw(app), 0)
}

func (s *Store) begin(app string, epoch Epoch, last uint64) (uint16, *sequence) {
	i := uint16(len(s.seqs))
	q := &sequence{app: app, epoch: epoch, last: last}
	s.seqs = append(s.seqs, q)
	s.byApp[app] = i
	return i, q
}

// Now returns the position behind all that was numbered in an app.
func (s *Store) Now(app string) Position {
	_, q := s.sequenceOf(app)
	return Position{q.epoch, q.last}
}

// Apps calls visit for each app that has a sequence.
func (s *Store) Apps(visit func(app string)) {
	for _, q := range s.seqs {
		visit(q.app)
	}
}

// Doubt says that messages of an app may have come that were not numbered, in
// channels of which nothing is kept: whoever has been there before is told so. An
// offset is left out, since his may be the last one. It is for a sequence of our own, and
// is saved with it; where others number, and keep what came before, see Distrust.
func (s *Store) Doubt(app string) {
	_, q := s.sequenceOf(app)
	q.last++
	q.forgotten = q.last
}

// Append numbers a message and keeps it. kind is the caller's; data is copied.
// now is in milliseconds.
func (s *Store) Append(app, name string, kind byte, data []byte, now int64) Stamp {
	i, q := s.sequenceOf(app)
	q.last++
	s.counts.Numbered++
	st := Stamp{Position: Position{q.epoch, q.last}}
	st.Prev, st.floor = s.put(i, name, q.last, kind, data, uint64(now))
	return st
}

// put keeps a numbered message and returns the offset of the one before it, and
// up to which offset nothing may be kept of the channel.
func (s *Store) put(seq uint16, name string, offset uint64, kind byte, data []byte, now uint64) (prev, floor uint64) {
	keep := s.o.Keep(name)
	c := s.find(seq, name)
	if c == nil {
		c = s.add(seq, name)
		c.lost, c.why = s.seqs[seq].forgotten, Age // of before it was forgotten, perhaps
	}
	before := c.weight()
	s.expire(c, keep, now)
	s.live += c.weight() - before
	return s.keep(c, keep, offset, kind, data, now)
}

// keep is put for a channel that is known, and of which nothing is too old.
func (s *Store) keep(c *channel, keep Keep, offset uint64, kind byte, data []byte, now uint64) (prev, floor uint64) {
	before := c.weight()
	prev, floor = c.last, c.lost
	for limit := keep.limit(); int(c.n) >= limit; {
		s.dropFirst(c, Size)
	}
	c.append(offset, now, kind, data)
	s.live += c.weight() - before
	s.queue = append(s.queue, c)
	s.evict()
	return prev, floor
}

// limit is how many messages are kept.
func (k Keep) limit() int {
	if k.Latest {
		return 1
	}
	return max(min(k.Messages, MaxHistory), 1)
}

// dropFirst forgets the oldest message of c; its entry in the queue is stale.
func (s *Store) dropFirst(c *channel, why Reason) {
	c.drop(why)
	c.stale++
	s.stale++
}

// expire forgets what is too old.
func (s *Store) expire(c *channel, keep Keep, now uint64) {
	age := uint64(keep.Age.Milliseconds() + s.Behind)
	for keep.Age > 0 && c.n > 0 && c.first().ms+age <= now {
		s.dropFirst(c, Age)
	}
}

// evict forgets the oldest messages of all until there is room: first names of
// channels that have none, if they are many, then messages, and with the last one
// of a channel its name. So what is forgotten is always older than what is not.
func (s *Store) evict() {
	for n := 0; s.Bytes() > s.o.Memory && s.idle > s.o.Memory/8 && n < 64; n++ {
		s.place(func(c *channel) bool { return c.n == 0 && s.older(c) })
	}
	for s.Bytes() > s.o.Memory && s.front < len(s.queue) {
		c := s.queue[s.front]
		s.queue[s.front] = nil
		s.front++
		if c.stale > 0 {
			c.stale--
			s.stale--
			continue
		}
		before := c.weight()
		c.drop(Size)
		s.live += c.weight() - before
		s.counts.Evicted++
		if c.n == 0 {
			s.forget(c)
		}
	}
	for n := 0; s.Bytes() > s.o.Memory && s.used > 0 && n < len(s.table); n++ {
		s.place(func(c *channel) bool { return c.n == 0 })
	}
	s.tidy()
}

// tidy gives back what the queue does not need.
func (s *Store) tidy() {
	if s.stale > (len(s.queue)-s.front)/2+1024 {
		kept := s.queue[s.front:s.front]
		for _, c := range s.queue[s.front:] {
			if c.stale > 0 {
				c.stale--
				s.stale--
			} else {
				kept = append(kept, c)
			}
		}
		s.shift(kept)
	} else if s.front > len(s.queue)/2+1024 {
		s.shift(s.queue[s.front:])
	}
}

func (s *Store) shift(kept []*channel) {
	n := copy(s.queue, kept)
	clear(s.queue[n:])
	s.queue, s.front = s.queue[:n], 0
	if cap(s.queue) > 4*n+1024 {
		s.queue = append(make([]*channel, 0, n+n/4), s.queue...)
	}
}

// weight is what a channel takes in bytes: its buffer with the eighth that is
// free in it, itself, and its place in the table.
func (c *channel) weight() int {
	live := len(c.buf) - int(c.head) + int(c.name)
	return live + live/8 + channelWeight
}

const channelWeight = 96

// Sweep looks at so many places of the table, in turn, and forgets what is too
// old in them. A channel without messages stays known by its name and its last
// offset, since whoever has read that far has missed nothing, however long he was
// there. Only when such channels take a quarter of the memory the older half of
// them goes.
func (s *Store) Sweep(places int, now int64) {
	for range min(places, len(s.table)) {
		s.place(func(c *channel) bool {
			keep := s.o.Keep(c.text())
			if keep.Messages == 0 { // the config has changed
				for c.n > 0 {
					s.dropFirst(c, Age)
				}
				return true
			}
			s.expire(c, keep, uint64(now))
			return c.n == 0 && s.idle > s.o.Memory/4 && s.older(c)
		})
	}
	s.tidy()
}

// older reports whether the last message of c was in the older half of those that
// were not forgotten when the round began.
func (s *Store) older(c *channel) bool { return c.last <= s.seqs[c.seq].bar }

// round begins a new one.
func (s *Store) round() {
	s.idle, s.idling = s.idling, 0
	for _, q := range s.seqs {
		q.bar = q.forgotten + (q.last-q.forgotten)/2
	}
}

// Places returns how many places Sweep goes through until it begins again.
func (s *Store) Places() int { return len(s.table) }

// place takes the next place of the table and forgets the channels that gone
// says.
func (s *Store) place(gone func(*channel) bool) {
	if s.cursor = (s.cursor + 1) & (len(s.table) - 1); s.cursor == 0 {
		s.round()
	}
	for at := &s.table[s.cursor]; *at != nil; {
		c := *at
		before := c.weight()
		goes := gone(c)
		s.live += c.weight() - before
		if !goes {
			if c.n == 0 {
				s.idling += c.weight()
			}
			at = &c.next
			continue
		}
		*at = c.next
		s.forgot(c)
	}
}

// forget takes a channel without messages out of the table.
func (s *Store) forget(c *channel) {
	at := &s.table[s.home(c.seq, c.text())]
	for *at != c {
		at = &(*at).next
	}
	*at = c.next
	s.forgot(c)
}

func (s *Store) forgot(c *channel) {
	s.used--
	s.gone++
	s.live -= c.weight()
	q := s.seqs[c.seq]
	q.forgotten = max(q.forgotten, c.last, c.lost)
}
