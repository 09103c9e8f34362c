package history

import "slices"

// Kinds of messages.
const (
	Text byte = iota
	Binary
)

// Message is one that is kept.
type Message struct {
	Offset uint64
	Time   int64 // milliseconds, as given to Append
	Kind   byte  // Text or Binary
	Data   []byte
}

// Answer is what a reader gets: everything that it has missed, in order, or the
// reason why that cannot be had, and never a part.
type Answer struct {
	Reason   Reason // Whole: Each has all
	Position        // of the answer: behind all that was numbered in the app
	Messages int
	Bytes    int // of data

	records []byte
}

// Each calls visit for each message. Data is valid until the store is used
// again.
func (a *Answer) Each(visit func(m Message)) {
	for b := a.records; len(b) > 0; {
		r := parse(b)
		visit(Message{r.offset, int64(r.ms), r.kind, r.data})
		b = b[r.size:]
	}
}

// MessageCost is what a message counts in an answer beside its data.
const MessageCost = 32

// From answers with what follows a position in a channel. The zero position is
// that of one who wants nothing but to know where he is. An answer of more than
// room bytes, data and MessageCost for each message, is refused with Size.
func (s *Store) From(app, name string, after Position, room int, now int64) (a Answer) {
	i, q := s.sequenceOf(app)
	a.Position = Position{q.epoch, q.last}
	keep := s.o.Keep(name)
	if keep.Messages == 0 {
		a.Reason = Off
		return a
	}
	c := s.fresh(i, name, keep, now)
	switch {
	case after == (Position{}):
		return a
	case keep.Latest && c != nil && c.n > 0:
		if after.Epoch != q.epoch || after.Offset < c.last {
			a.take(c.buf[c.head:])
		}
	case after.Epoch != q.epoch:
		a.Reason = OtherEpoch
	case after.Offset > q.last:
		a.Reason = Future
	case q.doubt > 0 && after.Offset <= q.doubt:
		a.Reason = Age
	case c == nil:
		if after.Offset < q.forgotten {
			a.Reason = Age
		}
	case after.Offset < c.lost:
		a.Reason = c.why
	default:
		a.take(c.after(after.Offset))
	}
	return a.within(room)
}

// Kept answers with what is kept of a channel behind a place in it, for who goes on
// from one page to the next: whatever else was lost, or may have been, is no reason to
// refuse it.
func (s *Store) Kept(app, name string, place Position, now int64) (a Answer) {
	i, q := s.sequenceOf(app)
	a.Position = Position{q.epoch, q.last}
	keep := s.o.Keep(name)
	switch {
	case keep.Messages == 0:
		a.Reason = Off
	case place.Epoch != q.epoch:
		a.Reason = OtherEpoch
	case place.Offset > q.last:
		a.Reason = Future
	default:
		if c := s.fresh(i, name, keep, now); c != nil {
			a.take(c.after(place.Offset))
		}
	}
	return a
}

// Last answers with the newest n messages of a channel, fewer if they would be
// more than room bytes.
func (s *Store) Last(app, name string, n, room int, now int64) (a Answer) {
	i, q := s.sequenceOf(app)
	a.Position = Position{q.epoch, q.last}
	keep := s.o.Keep(name)
	if keep.Messages == 0 {
		a.Reason = Off
		return a
	}
	c := s.fresh(i, name, keep, now)
	if c == nil {
		return a
	}
	a.take(c.buf[c.head:])
	for a.Messages > n || a.Messages > 0 && a.cost() > room {
		r := parse(a.records)
		a.records = a.records[r.size:]
		a.Messages--
		a.Bytes -= len(r.data)
	}
	return a
}

// fresh finds a channel and forgets what is too old in it.
func (s *Store) fresh(seq uint16, name string, keep Keep, now int64) *channel {
	c := s.find(seq, name)
	if c != nil {
		before := c.weight()
		s.expire(c, keep, uint64(now))
		s.live += c.weight() - before
	}
	return c
}

// after returns the records behind an offset.
func (c *channel) after(offset uint64) []byte {
	b := c.buf[c.head:]
	if offset >= c.last {
		return nil
	}
	for len(b) > 0 {
		r := parse(b)
		if r.offset > offset {
			break
		}
		b = b[r.size:]
	}
	return b
}

// take makes records those of the answer.
func (a *Answer) take(records []byte) {
	a.records = records
	a.Each(func(m Message) { a.Messages++; a.Bytes += len(m.Data) })
}

func (a *Answer) cost() int { return a.Bytes + a.Messages*MessageCost }

// within refuses an answer that is too large.
func (a Answer) within(room int) Answer {
	if a.cost() > room {
		return Answer{Reason: Size, Position: a.Position}
	}
	return a
}

// First returns the offset of the oldest message that is kept of a channel and
// of the newest that there was; 0 = none.
func (s *Store) First(app, name string, now int64) (first, last uint64) {
	i, _ := s.sequenceOf(app)
	c := s.fresh(i, name, s.o.Keep(name), now)
	if c == nil {
		return 0, 0
	}
	if c.n > 0 {
		first = c.first().offset
	}
	return first, c.last
}

// Purge forgets all messages of a channel and returns their number. Who has not
// read them is told that they cannot be had.
func (s *Store) Purge(app, name string) (n int) {
	i, _ := s.sequenceOf(app)
	c := s.find(i, name)
	if c == nil {
		return 0
	}
	before := c.weight()
	for ; c.n > 0; n++ {
		s.dropFirst(c, Age)
	}
	s.live += c.weight() - before
	s.tidy()
	return n
}

// PurgeOne forgets one message of a channel as if it had never been published,
// and reports whether it was there.
func (s *Store) PurgeOne(app, name string, offset uint64) bool {
	i, _ := s.sequenceOf(app)
	c := s.find(i, name)
	if c == nil {
		return false
	}
	before := c.weight()
	if !c.remove(offset) {
		return false
	}
	s.stale++
	s.live += c.weight() - before
	s.tidy()
	return true
}

// EachBack is Each from the newest message to the oldest.
func (a *Answer) EachBack(visit func(m Message)) {
	starts := make([]int, 0, a.Messages)
	for at := 0; at < len(a.records); at += parse(a.records[at:]).size {
		starts = append(starts, at)
	}
	for _, at := range slices.Backward(starts) {
		r := parse(a.records[at:])
		visit(Message{r.offset, int64(r.ms), r.kind, r.data})
	}
}
