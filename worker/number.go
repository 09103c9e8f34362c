package worker

import (
	"math/bits"

	"github.com/pushd/pushd/worker/connid"
)

// Number returns a name of the connection that is shorter than ID and good for
// programs in any language: 1 to 2⁵³−1. It is part of the ID, so it is the same
// for its whole life, in whichever process; no two of one process have the same,
// and two of all processes hardly ever (of a million, once in 20,000 times). Any
// goroutine.
func (c *Conn) Number() uint64 { return c.id.Number() }

// named returns the connection with that ID or number as text, or nil.
func (r *registry) named(s string) *Conn {
	if id, ok := connid.Parse(s); ok {
		return r.find(&id)
	}
	if n, ok := connid.ParseNumber(s); ok {
		return r.numbered(n)
	}
	return nil
}

// numbered returns the connection with that number, or nil. The number holds the
// bytes that the index is built on.
func (r *registry) numbered(n uint64) *Conn {
	if len(r.table) == 0 {
		return nil
	}
	mask := uint32(len(r.table) - 1)
	for at := bits.ReverseBytes32(uint32(n)) & mask; r.table[at] != 0; at = (at + 1) & mask {
		if c := r.all[r.table[at]-1]; c.id.Number() == n {
			return c
		}
	}
	return nil
}

// freshID draws an ID whose number nobody has here.
func (l *loop) freshID() ID {
	for {
		if id := l.ids.New(); id.Number() != 0 && l.conns.numbered(id.Number()) == nil {
			return id
		}
	}
}
