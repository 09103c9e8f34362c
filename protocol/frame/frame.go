// Package frame is Workerman's frame protocol: four bytes of big-endian length
// that count themselves, then the body.
package frame

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pushd/pushd/protocol"
)

const header = 4 // bytes of the length field

func init() { protocol.Register("frame", Protocol{}) }

// Protocol implements protocol.Protocol. It holds no state.
type Protocol struct{}

// Input returns the length that the header announces. limit is the body's.
func (Protocol) Input(buf []byte, limit int) (int, error) {
	if len(buf) < header {
		return 0, nil
	}
	n := uint64(binary.BigEndian.Uint32(buf)) // wider than a 32-bit int
	switch {
	case n < header:
		return 0, fmt.Errorf("frame announces %d bytes, less than its own header of %d", n, header)
	case n > math.MaxInt, limit > 0 && n-header > uint64(limit):
		return 0, protocol.ErrTooLong
	}
	return int(n), nil
}

// Decode strips the header.
func (Protocol) Decode(packet []byte) ([]byte, error) { return packet[header:], nil }

// Encode appends the header and payload, which must be under 4 GiB.
func (Protocol) Encode(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)+header))
	return append(dst, payload...)
}
