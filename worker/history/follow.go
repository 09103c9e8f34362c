package history

// A store may follow an order that others share: then it numbers nothing, and
// is told of each message with the offset that it has. Epochs are given by
// Options.Draw, as ever, which then tells what the others have drawn.

// Follow begins the sequence of an app in a store that has none of it yet, at
// offset last. Of what was published up to offset forgotten, some may never
// come: channels of which nothing comes may have had messages there.
func (s *Store) Follow(app string, last, forgotten uint64) {
	_, q := s.sequenceOf(app)
	q.last, q.forgotten = last, min(last, forgotten)
}

// Distrust says that messages of an app may have come that were not numbered, up to
// when it was at that offset: whoever was there by then is told so.
func (s *Store) Distrust(app string, offset uint64) {
	_, q := s.sequenceOf(app)
	q.doubt = offset
}

// Stray says that a message has come in a channel that was not numbered: who was there
// by now is told that he may have missed something.
func (s *Store) Stray(app, name string) {
	i, q := s.sequenceOf(app)
	c := s.find(i, name)
	if c == nil {
		c = s.add(i, name)
	}
	c.lost, c.why = max(c.lost, q.last+1), Age
}

// Lost says that some messages of an app will never come that were published after
// the newest one here. Those up to offset last that come are what is left, as after
// Follow. Up to offset forgotten messages of any channel may be missing, 0 = only of
// those that have as many as the others keep.
func (s *Store) Lost(app string, last, forgotten uint64) {
	_, q := s.sequenceOf(app)
	q.last = max(q.last, last)
	q.forgotten, q.doubt = max(q.forgotten, forgotten), max(q.doubt, forgotten)
}

// Take keeps a message that others have numbered. Offsets rise through an app
// but for those that Follow has said are to be loaded. ms is the time of the
// message. full is how many messages of a channel the others keep at most: of a
// channel that has so many, older ones may have gone before they came here.
func (s *Store) Take(app, name string, offset uint64, kind byte, data []byte, ms int64, full int) Stamp {
	i, q := s.sequenceOf(app)
	loading := offset <= q.last
	q.last = max(q.last, offset)
	s.counts.Numbered++
	st := Stamp{Position: Position{q.epoch, offset}}
	st.Prev, st.floor = s.put(i, name, offset, kind, data, uint64(ms))
	if loading {
		s.loaded(i, name, offset, full)
	}
	return st
}

// loaded corrects up to where something of a channel may be missing: what is
// older than its first message, and no more than that.
func (s *Store) loaded(seq uint16, name string, offset uint64, full int) {
	c := s.find(seq, name)
	if c == nil { // evicted again
		return
	}
	if c.n == 1 && c.why == Age {
		c.lost = min(c.lost, offset-1)
	}
	if more := int(c.n) - full; more >= 0 {
		c.lost, c.why = max(c.lost, c.at(more).offset-1), Size
	}
}

// Holds returns how many messages of a channel are kept: with an offset, whether
// that one is.
func (s *Store) Holds(app, name string, offset uint64, now int64) (n int) {
	i, _ := s.sequenceOf(app)
	c := s.fresh(i, name, s.o.Keep(name), now)
	if c == nil || offset == 0 && c.n == 0 {
		return 0
	}
	if offset == 0 {
		return int(c.n)
	}
	a := Answer{records: c.buf[c.head:]}
	a.Each(func(m Message) {
		if m.Offset == offset {
			n = 1
		}
	})
	return n
}
