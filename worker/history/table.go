package history

import "hash/maphash"

// find returns a channel, nil if there is nothing of it.
func (s *Store) find(seq uint16, name string) *channel {
	for c := s.table[s.home(seq, name)]; c != nil; c = c.next {
		if c.is(seq, name) {
			return c
		}
	}
	return nil
}

func (s *Store) home(seq uint16, name string) int {
	return int(maphash.String(s.seed, name)+uint64(seq)*0x9e3779b97f4a7c15) & (len(s.table) - 1)
}

// add makes a channel that is not there. There are at most one and a half
// channels to a place.
func (s *Store) add(seq uint16, name string) *channel {
	if 2*s.used >= 3*len(s.table) {
		s.grow()
	}
	c := &channel{seq: seq, name: uint16(len(name)), buf: []byte(name)}
	c.head = uint32(len(c.buf))
	at := &s.table[s.home(seq, name)]
	c.next, *at = *at, c
	s.used++
	s.live += c.weight()
	return c
}

// grow doubles the table. Of the channels of one place each stays there or goes
// to one other.
func (s *Store) grow() {
	old := s.table
	s.table = make([]*channel, 2*len(old))
	for _, c := range old {
		for c != nil {
			next := c.next
			at := &s.table[s.home(c.seq, c.text())]
			c.next, *at = *at, c
			c = next
		}
	}
}
