package history

import "slices"

// A Walk writes what a store holds as frames, a piece at a time, while the store
// is used. All pieces together, with the frames of what has happened since the
// walk began, say what the store holds when it ends. What is in them beside that
// is true as well, only older.
type Walk struct {
	s     *Store
	seq   int // of Store.seqs, whose keys and versions are next
	begun bool
	keys  stretch
	vers  stretch
	place int        // of Store.table, the next one
	here  []*channel // of the place before it, that are to be written
	part  part
}

// part is how much of the first channel of Walk.here is written.
type part struct {
	begun bool
	at    uint64 // offset of the last message that is
	until uint64 // messages behind that came later
	lost  uint64 // as it was told
}

// stretch is a part of a list whose front goes while it is read; places count
// from the first entry that the list has ever had.
type stretch struct{ next, end int }

// Walk begins one.
func (s *Store) Walk() *Walk { return &Walk{s: s} }

// placeCost is what a look at a place of the table counts.
const placeCost = 8

// Next appends frames of about size bytes, by no more than a frame beyond it; less
// where it has looked at much that needs none. Once it returns false there are no
// more.
func (w *Walk) Next(b []byte, size int) (_ []byte, more bool) {
	for full := len(b) + size; len(b) < full; {
		switch {
		case w.seq < len(w.s.seqs):
			b = w.sequence(b, full)
		case len(w.here) > 0:
			b = w.channel(b, full)
		case w.place < len(w.s.table):
			w.look()
			full -= placeCost
		default: // channels may have been forgotten meanwhile
			for _, q := range w.s.seqs {
				b = w.s.AppendApp(b, q.app)
			}
			return b, false
		}
	}
	return b, true
}

// sequence writes the next of an app's keys and versions.
func (w *Walk) sequence(b []byte, full int) []byte {
	q := w.s.seqs[w.seq]
	if !w.begun {
		w.begun = true
		w.keys = stretch{0, q.keys.gone + len(q.keys.order)}
		w.vers = stretch{0, q.versions.gone + len(q.versions.order)}
		b = w.s.AppendApp(b, q.app)
	}
	for k := &w.keys; k.next < k.end; k.next++ {
		if k.next = max(k.next, q.keys.gone+q.keys.front); k.next >= k.end {
			break
		}
		if len(b) >= full {
			return b
		}
		id := q.keys.order[k.next-q.keys.gone]
		b = appendKey(b, q.app, id, q.keys.known[id])
	}
	for v := &w.vers; v.next < v.end; v.next++ {
		if v.next = max(v.next, q.versions.gone); v.next >= v.end {
			break
		}
		if len(b) >= full {
			return b
		}
		name := q.versions.order[v.next-q.versions.gone]
		b = AppendVersion(b, q.app, name, q.versions.of[name])
	}
	w.seq++
	w.begun = false
	return b
}

// look takes the channels of the next place. When the table doubles, a channel
// stays or goes to a place behind all that there were: none is left out.
func (w *Walk) look() {
	for c := w.s.table[w.place]; c != nil; c = c.next {
		w.here = append(w.here, c)
	}
	w.place++
}

// channel writes the next messages of a channel. What happens to the channel
// between two pieces is told too: its older messages have gone, or all of it.
func (w *Walk) channel(b []byte, full int) []byte {
	c, p := w.here[0], &w.part
	app, name := w.s.seqs[c.seq].app, c.text()
	gone := w.s.find(c.seq, name) != c
	switch {
	case gone && p.begun:
		f := w.s.seqs[c.seq].forgotten
		b = appendChannel(b, app, name, f, f, Size)
	case !gone && !p.begun:
		*p = part{true, 0, c.last, c.lost}
		b = appendChannel(b, app, name, c.last, c.lost, c.why)
	case !gone && c.lost > p.lost:
		p.lost = c.lost
		b = appendChannel(b, app, name, c.last, c.lost, c.why)
	}
	if !gone && !w.messages(&b, c, app, name, full) {
		return b
	}
	w.here, w.part = slices.Delete(w.here, 0, 1), part{}
	return b
}

// messages reports whether all are written.
func (w *Walk) messages(b *[]byte, c *channel, app, name string, full int) bool {
	prev := c.lost
	for rest := c.buf[c.head:]; len(rest) > 0; {
		r := parse(rest)
		if r.offset > w.part.until {
			break
		}
		if r.offset > w.part.at {
			if len(*b) >= full {
				return false
			}
			*b = AppendMessage(*b, app, name, Stamp{Position: Position{Offset: r.offset}, Prev: prev}, r.kind, r.data, int64(r.ms))
			w.part.at = r.offset
		}
		prev, rest = r.offset, rest[r.size:]
	}
	return true
}

func appendChannel(b []byte, app, name string, last, lost uint64, why Reason) []byte {
	return frame(b, frameChannel, app, func(b []byte) []byte {
		return numbers(appendString(b, name), last, lost, uint64(why))
	})
}
