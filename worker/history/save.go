package history

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// What a store holds, in writing: frames, each of which says one thing. They are
// read in any order, and what is said twice counts once.
//
//	frame: bytes of body 4 · CRC-32C of it 4 · body, big endian
//	body: kind 1 · app · fields

const frameHead = 8

// Kinds of frames.
const (
	frameApp     = 'A' // epoch, last, forgotten
	frameMessage = 'M' // channel, prev, record
	frameChannel = 'C' // channel, last, lost, why: of a channel, with or without messages
	frameRemoved = 'R' // channel, offset
	framePurged  = 'P' // channel, offset: all up to it
	frameKey     = 'K' // channel and key, position, at
	frameVersion = 'V' // channel, version
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame appends one whose body write appends.
func frame(dst []byte, kind byte, app string, write func(b []byte) []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	dst = write(appendString(dst, app))
	body := dst[at+frameHead:]
	binary.BigEndian.PutUint32(dst[at:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(body, castagnoli))
	return dst
}

// numbers appends uvarints.
func numbers(b []byte, list ...uint64) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// AppendMessage appends the frame of a message that Append has numbered.
func AppendMessage(dst []byte, app, name string, st Stamp, kind byte, data []byte, now int64) []byte {
	return frame(dst, frameMessage, app, func(b []byte) []byte {
		b = numbers(appendString(b, name), max(st.Prev, st.floor), st.Offset, uint64(now), uint64(len(data)))
		return append(append(b, kind), data...)
	})
}

// AppendPurge appends the frame of a purge, of one message or, with 0, of all
// that were numbered so far.
func (s *Store) AppendPurge(dst []byte, app, name string, offset uint64) []byte {
	kind := byte(frameRemoved)
	if offset == 0 {
		kind, offset = framePurged, s.Now(app).Offset
	}
	return frame(dst, kind, app, func(b []byte) []byte { return numbers(appendString(b, name), offset) })
}

// AppendKey appends the frame of an idempotency key.
func AppendKey(dst []byte, app, name, key string, p Position, now int64) []byte {
	return appendKey(dst, app, keyOf(name, key), keyed{p, now})
}

func appendKey(dst []byte, app, id string, k keyed) []byte {
	return frame(dst, frameKey, app, func(b []byte) []byte {
		return numbers(appendString(b, id), uint64(k.position.Epoch), k.position.Offset, uint64(k.at))
	})
}

// AppendVersion appends the frame of a version.
func AppendVersion(dst []byte, app, name string, version uint64) []byte {
	return frame(dst, frameVersion, app, func(b []byte) []byte { return numbers(appendString(b, name), version) })
}

// AppendApp appends the frame of an app's sequence.
func (s *Store) AppendApp(dst []byte, app string) []byte {
	_, q := s.sequenceOf(app)
	return frame(dst, frameApp, app, func(b []byte) []byte { return numbers(b, uint64(q.epoch), q.last, q.forgotten) })
}

// Each calls visit for each channel with the offset of its newest message.
func (s *Store) Each(visit func(app, name string, last uint64)) {
	for _, c := range s.table {
		for ; c != nil; c = c.next {
			visit(s.seqs[c.seq].app, c.text(), c.last)
		}
	}
}

// Loader puts what was saved into an empty store.
type Loader struct {
	s        *Store
	messages []loaded
	of       map[string]*loadedOf // by the texts of app and channel, as frames have them
	ends     map[end]bool
	channels []loadedChannel
	purges   []loadedChannel
}

// loadedOf is what the frames of one channel have in common.
type loadedOf struct {
	seq   uint16
	name  string
	keep  Keep
	n     int // messages
	bytes int // of them, as records
	c     *channel
	gone  int // Store.gone when c was in the table
}

// end is the last offset of a channel, as a frame has it.
type end struct {
	c    *channel
	last uint64
}

type loaded struct {
	of     *loadedOf
	kind   byte
	prev   uint64
	offset uint64
	ms     uint64
	data   []byte
}

type loadedChannel struct {
	seq  uint16
	kind byte
	name string
	last uint64 // or the offset of a purge
	lost uint64
	why  Reason
}

// NewLoader begins to load into s, which must be empty.
func NewLoader(s *Store) *Loader { return &Loader{s: s, of: map[string]*loadedOf{}} }

// Frames reads frames and returns how many bytes of b are whole ones: the rest
// begins with what is none. It refers to b until Done.
func (l *Loader) Frames(b []byte) (n int) {
	for len(b)-n >= frameHead {
		size := int(binary.BigEndian.Uint32(b[n:]))
		if size > len(b)-n-frameHead {
			break
		}
		body := b[n+frameHead : n+frameHead+size]
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[n+4:]) || !l.body(body) {
			break
		}
		n += frameHead + size
	}
	return n
}

// messageFrame reads what follows the kind of a frame. Most frames are of
// messages, so nothing is allocated for them but a place in the list.
func (l *Loader) messageFrame(b []byte) bool {
	r := reader{b: b}
	r.skip()
	r.skip()
	if r.bad {
		return false
	}
	key := b[:len(b)-len(r.b)]
	m := loaded{of: l.of[string(key)], prev: r.uvarint(), offset: r.uvarint(), ms: r.uvarint()}
	size := r.uvarint()
	m.kind = r.byte()
	if m.data = r.b; r.bad || uint64(len(m.data)) != size {
		return false
	}
	if m.of == nil {
		t := reader{b: key}
		app := t.string()
		m.of = &loadedOf{name: t.string()}
		m.of.seq, _ = l.s.sequenceOf(app)
		m.of.keep = l.s.o.Keep(m.of.name)
		l.of[string(key)] = m.of
	}
	q := l.s.seqs[m.of.seq]
	q.last = max(q.last, m.offset)
	m.of.n++
	m.of.bytes += recordSize(m.offset, m.ms, m.data)
	l.messages = append(l.messages, m)
	return true
}

// body reads one frame; false = it makes no sense.
func (l *Loader) body(b []byte) bool {
	r := reader{b: b}
	kind, app := r.byte(), r.string()
	if r.bad {
		return false
	}
	if kind == frameApp {
		l.app(app, Epoch(r.uvarint()), r.uvarint(), r.uvarint())
		return !r.bad
	}
	if kind == frameMessage {
		return l.messageFrame(b[1:])
	}
	seq, q := l.s.sequenceOf(app)
	name := r.string()
	switch kind {
	case frameChannel:
		l.channels = append(l.channels, loadedChannel{seq, kind, name, r.uvarint(), r.uvarint(), Reason(r.uvarint())})
	case frameRemoved, framePurged:
		l.purges = append(l.purges, loadedChannel{seq: seq, kind: kind, name: name, last: r.uvarint()})
	case frameKey:
		p := Position{Epoch(r.uvarint()), r.uvarint()}
		q.keys.add(name, keyed{p, int64(r.uvarint())})
	case frameVersion:
		q.versions.add(name, r.uvarint())
	}
	return !r.bad
}

func (l *Loader) app(app string, epoch Epoch, last, forgotten uint64) {
	_, q := l.s.sequenceOf(app)
	q.epoch, q.last, q.forgotten = epoch, max(q.last, last), max(q.forgotten, forgotten)
}

// Done puts everything in its place. It reports whether something was purged
// that may still be written somewhere.
func (l *Loader) Done() (purged bool) {
	s := l.s
	l.ends = map[end]bool{}
	for i := range l.channels {
		if c := &l.channels[i]; s.o.Keep(c.name).Messages > 0 {
			l.channel(c)
		}
	}
	for _, i := range l.order() {
		if m := &l.messages[i]; m.of.keep.Messages > 0 {
			l.message(m)
		}
	}
	for _, c := range l.channels {
		if at := s.find(c.seq, c.name); at != nil {
			at.last = max(at.last, c.last)
		}
	}
	for _, p := range l.purges {
		l.purge(&p)
	}
	purged = len(l.purges) > 0
	s.counts = Counts{}
	*l = Loader{}
	return purged
}

// turn is when a message has come.
type turn struct {
	seq          uint16
	at           int32 // in Loader.messages
	offset, prev uint64
	came         uint64 // its time, or that of one before it, if that is later
}

// order returns the places of the messages in the order in which they came: in
// each app by their offsets, and over all by time, as far as the clock was not set
// back.
func (l *Loader) order() []int32 {
	turns := make([]turn, len(l.messages))
	for i := range l.messages {
		m := &l.messages[i]
		turns[i] = turn{m.of.seq, int32(i), m.offset, m.prev, m.ms}
	}
	slices.SortFunc(turns, func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.offset, b.offset), cmp.Compare(a.prev, b.prev))
	})
	rises := true
	for i := 1; i < len(turns); i++ {
		if turns[i].seq == turns[i-1].seq {
			turns[i].came = max(turns[i].came, turns[i-1].came)
		}
		rises = rises && turns[i].came >= turns[i-1].came
	}
	if !rises { // several apps
		slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.came, b.came) })
	}
	list := make([]int32, len(turns))
	for i := range turns {
		list[i] = turns[i].at
	}
	return list
}

// channel notes up to where nothing is kept of one, by what was told last of it.
func (l *Loader) channel(c *loadedChannel) {
	at := l.s.find(c.seq, c.name)
	if at == nil {
		at = l.s.add(c.seq, c.name)
	}
	if c.lost >= at.lost {
		at.last, at.lost, at.why = c.lost, c.lost, c.why
	}
	l.ends[end{at, c.last}] = true
}

// message puts in one that follows those that are there. If it does not, what is
// there is not all that was, and so is nothing.
func (l *Loader) message(m *loaded) {
	s, c := l.s, l.place(m)
	if m.offset <= c.last {
		return // twice
	}
	if m.prev > c.last && !l.ends[end{c, m.prev}] { // else the last one was purged
		before := c.weight()
		for c.n > 0 {
			s.dropFirst(c, Age)
		}
		c.lost, c.why = m.prev, Age
		s.live += c.weight() - before
	}
	s.keep(c, m.of.keep, m.offset, m.kind, m.data, m.ms)
}

// place returns the channel of a message, which has room for all that are to come.
func (l *Loader) place(m *loaded) *channel {
	of, s := m.of, l.s
	if of.c != nil && of.gone == s.gone {
		return of.c
	}
	first := of.c == nil
	of.gone = s.gone
	if of.c = s.find(of.seq, of.name); of.c == nil {
		of.c = s.add(of.seq, of.name)
		of.c.last, of.c.lost, of.c.why = m.prev, m.prev, Age
	}
	if first {
		of.c.reserve(of.bytes / of.n * min(of.n, of.keep.limit()))
	}
	return of.c
}

func (l *Loader) purge(p *loadedChannel) {
	s := l.s
	app := s.seqs[p.seq].app
	if p.kind == frameRemoved {
		s.PurgeOne(app, p.name, p.last)
		return
	}
	if c := s.find(p.seq, p.name); c != nil {
		before := c.weight()
		for c.n > 0 && c.first().offset <= p.last {
			s.dropFirst(c, Age)
		}
		s.live += c.weight() - before
	}
}
