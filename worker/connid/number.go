package connid

import (
	"encoding/binary"
	"strconv"
)

// MaxNumber is the largest number of a connection: 53 bits, which every language
// holds exactly.
const MaxNumber = 1<<53 - 1

// Number returns the number in the ID, 1 to MaxNumber; 0 for an ID that no connection
// has.
func (id *ID) Number() uint64 { return binary.BigEndian.Uint64(id[:8]) & MaxNumber }

// ParseNumber reads a number in digits.
func ParseNumber(s string) (uint64, bool) {
	if !decimal(s) || len(s) > 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n > 0 && n <= MaxNumber
}

// NumberOf returns the number in the text form of an ID, 0 for what is none.
func NumberOf(s string) uint64 {
	id, ok := Parse(s)
	if !ok {
		return 0
	}
	return id.Number()
}
