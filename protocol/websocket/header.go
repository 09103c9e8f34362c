package websocket

import "encoding/binary"

// Bits of the first two bytes of a frame.
const (
	finBit  = 0x80
	rsvBits = 0x70
	rsv1Bit = 0x40 // set by permessage-deflate on a compressed message's first frame
	opBits  = 0x0f

	maskBit    = 0x80
	lengthBits = 0x7f
)

const (
	maxHeader  = 14 // bytes of the longest header of a client: 2 + 8 + 4
	maxControl = 125
)

// header is a client's frame header.
type header struct {
	first  byte // FIN, reserved bits, opcode
	mask   [4]byte
	length uint64 // bytes of payload
}

// parse reads h from the start of b and returns its size in bytes, 0 when b is
// too short. What is wrong in the bytes that are there is reported at once.
func (h *header) parse(b []byte, deflate bool) (size int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := checkFirst(b[0], deflate); err != nil {
		return 0, err
	}
	if len(b) == 1 {
		return 0, nil
	}
	if b[1]&maskBit == 0 {
		return 0, errUnmasked
	}
	short := b[1] & lengthBits
	if Op(b[0]&opBits).control() && short > maxControl {
		return 0, errLongCtl
	}
	h.first, h.length, size = b[0], uint64(short), 2
	if short > 125 {
		if size, err = h.parseLength(b, short == 127); size == 0 {
			return 0, err
		}
	}
	if len(b) < size+4 {
		return 0, nil
	}
	h.mask = [4]byte(b[size:])
	return size + 4, nil
}

// parseLength reads the 16-bit or, if long, the 64-bit length after the first
// two bytes of b, and returns where it ends, 0 when b is too short.
func (h *header) parseLength(b []byte, long bool) (end int, err error) {
	switch {
	case !long && len(b) >= 4:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
		if h.length < 126 {
			return 0, errLengthEncoding
		}
		return 4, nil
	case long && len(b) >= 10:
		h.length = binary.BigEndian.Uint64(b[2:])
		if h.length>>63 != 0 {
			return 0, errLengthRange
		}
		if h.length <= 0xffff {
			return 0, errLengthEncoding
		}
		return 10, nil
	}
	return 0, nil
}

// checkFirst applies the rules that need no more than a frame's first byte.
func checkFirst(b byte, deflate bool) error {
	op := Op(b & opBits)
	data := op == Text || op == Binary
	if rsv := b & rsvBits; rsv != 0 && !(rsv == rsv1Bit && deflate && data) {
		return errReservedBits
	}
	switch op {
	case opContinuation, Text, Binary:
	case Close, Ping, Pong:
		if b&finBit == 0 {
			return errFragmentedCtl
		}
	default:
		return errReservedOp
	}
	return nil
}
