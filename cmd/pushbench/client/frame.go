package client

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcode is the kind of a WebSocket frame.
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// MaxMessage is the longest message, in bytes, that a connection takes from
// its server before it fails with ErrTooLong.
const MaxMessage = 64 << 20

// ErrTooLong means that the server announced more than MaxMessage bytes.
var ErrTooLong = errors.New("message from the server exceeds 64 MiB")

// frame is the head of one frame from the server.
type frame struct {
	op     Opcode
	fin    bool
	head   int // bytes of the head
	length int // bytes of the payload
}

// parseFrame reads the head of a frame at the start of b; ok is false while it
// is incomplete. A server must not mask, must not use bits that nobody
// negotiated, and must not fragment control frames.
func parseFrame(b []byte) (f frame, ok bool, err error) {
	if len(b) < 2 {
		return f, false, nil
	}
	f = frame{op: Opcode(b[0] & 15), fin: b[0]&0x80 != 0, head: 2, length: int(b[1] & 0x7f)}
	switch {
	case b[0]&0x70 != 0:
		return f, false, fmt.Errorf("frame from the server has reserved bits 0x%02x", b[0]&0x70)
	case b[1]&0x80 != 0:
		return f, false, errors.New("frame from the server is masked")
	case f.op > Binary && f.op < Close || f.op > Pong:
		return f, false, fmt.Errorf("frame from the server has opcode %d", f.op)
	case f.op >= Close && (!f.fin || f.length > 125):
		return f, false, errors.New("control frame from the server is fragmented or longer than 125 bytes")
	}
	switch f.length {
	case 126:
		if len(b) < 4 {
			return f, false, nil
		}
		f.head, f.length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return f, false, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long > MaxMessage {
			return f, false, ErrTooLong
		}
		f.head, f.length = 10, int(long)
	}
	return f, true, nil
}

// appendFrame adds one masked frame to dst.
func appendFrame(dst []byte, op Opcode, payload []byte, mask uint32) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, mask)
	at := len(dst)
	dst = append(dst, payload...)
	xor(dst[at:], mask)
	return dst
}

// xor applies mask, whose lowest byte comes first, eight bytes at a time.
func xor(b []byte, mask uint32) {
	wide := uint64(mask)<<32 | uint64(mask)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(mask >> (8 * (i & 3)))
	}
}

// CloseError is a close frame that the server sent without being asked.
type CloseError struct {
	Code   int // 1005 when the frame carried none
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("closed by the server with %d %q", e.Code, e.Reason)
}

// closeError reads the payload of a close frame.
func closeError(b []byte) *CloseError {
	if len(b) < 2 {
		return &CloseError{Code: 1005}
	}
	return &CloseError{Code: int(binary.BigEndian.Uint16(b)), Reason: string(b[2:])}
}
