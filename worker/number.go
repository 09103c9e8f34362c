package worker

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// maxNumber is the largest number of a connection: 53 bits, which every language
// holds exactly.
const maxNumber = 1<<53 - 1

// Number returns a name of the connection that is shorter than ID and good for
// programs in any language: 1 to 2⁵³−1. It is part of the ID, so it is the same
// for its whole life, in whichever process; no two of one process have the same,
// and two of all processes hardly ever (of a million, once in 20,000 times). Any
// goroutine.
func (c *Conn) Number() uint64 { return c.id.number() }

func (id *ID) number() uint64 { return binary.BigEndian.Uint64(id[:8]) & maxNumber }

// parseNumber reads a number in digits.
func parseNumber(s string) (uint64, bool) {
	if !decimal(s) || len(s) > 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n > 0 && n <= maxNumber
}

// named returns the connection with that ID or number as text, or nil.
func (r *registry) named(s string) *Conn {
	if id, ok := ParseID(s); ok {
		return r.find(&id)
	}
	if n, ok := parseNumber(s); ok {
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
		if c := r.all[r.table[at]-1]; c.id.number() == n {
			return c
		}
	}
	return nil
}

// freshID draws an ID whose number nobody has here.
func (l *loop) freshID() ID {
	for {
		if id := newID(); id.number() != 0 && l.conns.numbered(id.number()) == nil {
			return id
		}
	}
}

// NumberOf returns the number in the ID of a connection, 0 for what is no ID.
func NumberOf(id string) uint64 {
	at, ok := ParseID(id)
	if !ok {
		return 0
	}
	return at.number()
}
