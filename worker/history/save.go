package history

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// What a store holds, in writing: frames, each of which says one thing. They are
// read in any order.
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

// Save writes all that the store holds as frames. It hands over whole ones in
// pieces of about size bytes, and reuses their memory. An error of write ends it.
func (s *Store) Save(size int, write func(frames []byte) error) error {
	w := saver{size: size, write: write}
	for _, q := range s.seqs {
		w.put(s.AppendApp(w.buf, q.app))
		for _, id := range q.keys.order[q.keys.front:] {
			w.put(appendKey(w.buf, q.app, id, q.keys.known[id]))
		}
		for _, name := range q.versions.order {
			w.put(AppendVersion(w.buf, q.app, name, q.versions.of[name]))
		}
	}
	for _, c := range s.table {
		for ; c != nil && w.err == nil; c = c.next {
			s.saveChannel(&w, c)
		}
	}
	w.size = 0
	w.put(w.buf)
	return w.err
}

func (s *Store) saveChannel(w *saver, c *channel) {
	app, name := s.seqs[c.seq].app, c.text()
	w.put(frame(w.buf, frameChannel, app, func(b []byte) []byte {
		return numbers(appendString(b, name), c.last, c.lost, uint64(c.why))
	}))
	prev := c.lost
	for b := c.buf[c.head:]; len(b) > 0; {
		r := parse(b)
		w.put(AppendMessage(w.buf, app, name, Stamp{Position: Position{Offset: r.offset}, Prev: prev}, r.kind, r.data, int64(r.ms)))
		prev, b = r.offset, b[r.size:]
	}
}

// saver collects frames.
type saver struct {
	size  int
	write func([]byte) error
	buf   []byte
	err   error
}

func (w *saver) put(buf []byte) {
	if w.buf = buf; w.err == nil && len(buf) > 0 && len(buf) >= w.size {
		w.err = w.write(buf)
		w.buf = buf[:0]
	}
}

// Loader puts what was saved into an empty store.
type Loader struct {
	s        *Store
	messages []loaded
	ends     map[*channel]uint64 // the last offset of channels, as it was saved
	channels []loadedChannel
	purges   []loadedChannel
}

type loaded struct {
	seq    uint16
	kind   byte
	prev   uint64
	offset uint64
	ms     uint64
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

// Done puts everything in its place.
func (l *Loader) Done() {
	s := l.s
	l.ends = map[*channel]uint64{}
	for _, c := range l.channels {
		if s.o.Keep(c.name).Messages > 0 && s.find(c.seq, c.name) == nil {
			at := s.add(c.seq, c.name)
			at.last, at.lost, at.why = c.lost, c.lost, c.why
			l.ends[at] = c.last
		}
	}
	slices.SortFunc(l.messages, func(a, b loaded) int {
		return cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.offset, b.offset))
	})
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
	s.counts = Counts{}
	*l = Loader{}
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
	if m.prev > c.last && m.prev != l.ends[c] { // the last one was purged
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
