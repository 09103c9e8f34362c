// Package frame is Workerman's frame protocol: four bytes of big-endian length
// that count themselves, then the body.
package frame

import (
	"encoding/binary"
	"fmt"

	"github.com/pushd/pushd/protocol"
)

const header = 4 // bytes of the length field

func init() { protocol.Register("frame", Protocol{}) }

// Protocol implements protocol.Protocol. It holds no state.
type Protocol struct{}

// Input returns the length that the header announces.
func (Protocol) Input(buf []byte, limit int) (int, error) {
	if len(buf) < header {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint32(buf))
	if n < header {
		return 0, fmt.Errorf("frame announces %d bytes, less than its own header of %d", n, header)
	}
	if limit > 0 && n-header > limit {
		return 0, protocol.ErrTooLong
	}
	return n, nil
}

// Decode strips the header.
func (Protocol) Decode(packet []byte) ([]byte, error) { return packet[header:], nil }

// Encode appends the header and payload.
func (Protocol) Encode(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)+header))
	return append(dst, payload...)
}
