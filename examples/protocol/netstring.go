package main

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/pushd/pushd/protocol"
)

func init() { protocol.Register("netstring", netstring{}) }

// netstring carries a message as its length in decimal, a colon, its bytes and
// a comma: "5:hello,". It keeps no state.
type netstring struct{}

var errSyntax = errors.New(`not a netstring: want a length without leading zeros, ":", that many bytes, ","`)

// maxDigits bounds the length field: messages are shorter than 1 GB.
const maxDigits = 9

// Input tells how long the first packet in buf is, 0 when more bytes are needed.
func (netstring) Input(buf []byte, limit int) (int, error) {
	digits := bytes.IndexByte(buf[:min(len(buf), maxDigits+1)], ':')
	if digits < 0 {
		return 0, partial(buf)
	}
	size, err := length(buf[:digits])
	switch end := digits + 1 + size; {
	case err != nil:
		return 0, err
	case limit > 0 && size > limit:
		return 0, protocol.ErrTooLong
	case end < len(buf) && buf[end] != ',':
		return 0, errSyntax
	default:
		return end + 1, nil
	}
}

// Decode returns the message in a packet whose length Input has told.
func (netstring) Decode(packet []byte) ([]byte, error) {
	if packet[len(packet)-1] != ',' {
		return nil, errSyntax
	}
	colon := bytes.IndexByte(packet, ':')
	return packet[colon+1 : len(packet)-1], nil
}

// Encode appends the packet that carries payload.
func (netstring) Encode(dst, payload []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	dst = append(dst, ':')
	dst = append(dst, payload...)
	return append(dst, ',')
}

// partial checks a length field whose colon has not come yet.
func partial(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	if len(buf) > maxDigits {
		return errSyntax
	}
	_, err := length(buf)
	return err
}

// length reads a length field: digits only, and "0" is the only one that
// begins with a zero.
func length(field []byte) (n int, err error) {
	if len(field) == 0 || field[0] == '0' && len(field) > 1 {
		return 0, errSyntax
	}
	for _, b := range field {
		if b < '0' || b > '9' {
			return 0, errSyntax
		}
		n = n*10 + int(b-'0')
	}
	return n, nil
}
