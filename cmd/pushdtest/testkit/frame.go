package testkit

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// maxFrame is the longest frame that a test reads, in bytes.
const maxFrame = 64 << 20

// Frame encodes a frame as clients send it: masked, with that first byte.
func Frame(first byte, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32()) // clients of a test have no secrets from proxies
	f = append(f, mask[:]...)
	for i, b := range payload {
		f = append(f, b^mask[i&3])
	}
	return f
}

// ReadFrame reads a frame of a server and returns its first byte. An error is
// io.EOF where the stream ends between two frames.
func ReadFrame(r io.Reader) (first byte, payload []byte, err error) {
	var head [10]byte
	if _, err = io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		_, err = io.ReadFull(r, head[2:10])
		n = binary.BigEndian.Uint64(head[2:10])
	}
	if err != nil {
		return 0, nil, err
	}
	if n > maxFrame || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("frame begins with %x %x: masked, or longer than any", head[0], head[1])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}
