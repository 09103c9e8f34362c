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
	ends     map[end]bool
	channels []loadedChannel
	purges   []loadedChannel
}

// end is the last offset of a channel, as a frame has it.
type end struct {
	c    *channel
	last uint64
}

type loaded struct {
	seq    uint16
	kind   byte
	prev   uint64
	offset uint64
	ms     uint64
	came   uint64 // ms, or that of one before it, if that is later
	name   string
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
func NewLoader(s *Store) *Loader { return &Loader{s: s} }

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
	seq, q := l.s.sequenceOf(app)
	name := r.string()
	switch kind {
	case frameMessage:
		m := loaded{seq: seq, name: name, prev: r.uvarint(), offset: r.uvarint(), ms: r.uvarint()}
		size := r.uvarint()
		m.kind = r.byte()
		if m.data = r.b; r.bad || uint64(len(m.data)) != size {
			return false
		}
		q.last = max(q.last, m.offset)
		l.messages = append(l.messages, m)
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
	l.sort()
	for i := range l.messages {
		if m := &l.messages[i]; s.o.Keep(m.name).Messages > 0 {
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

// sort puts messages in the order in which they came: in each app by their
// offsets, and over all by time, as far as the clock was not set back.
func (l *Loader) sort() {
	slices.SortFunc(l.messages, func(a, b loaded) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.offset, b.offset), cmp.Compare(a.prev, b.prev))
	})
	for i := range l.messages {
		m := &l.messages[i]
		if m.came = m.ms; i > 0 && l.messages[i-1].seq == m.seq {
			m.came = max(m.came, l.messages[i-1].came)
		}
	}
	slices.SortStableFunc(l.messages, func(a, b loaded) int { return cmp.Compare(a.came, b.came) })
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
	s := l.s
	c := s.find(m.seq, m.name)
	if c == nil {
		c = s.add(m.seq, m.name)
		c.last, c.lost, c.why = m.prev, m.prev, Age
	}
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
	s.put(m.seq, m.name, m.offset, m.kind, m.data, m.ms)
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
