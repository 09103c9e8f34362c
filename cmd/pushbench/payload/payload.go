// Package payload makes and checks the messages that pushbench sends: every
// byte of a message follows from its header, so a receiver can tell a lost, a
// repeated and a damaged message apart without having seen the original.
//
// A message is printable ASCII, so that it may travel as a text frame, as a
// binary frame or inside a JSON string without changing a byte:
//
//	run(3) size(4) stream(5) seq(5) sent(11) crc(4) fill(size-32)
//
// Numbers are big-endian in the 64 characters of URL-safe base64.
package payload

import (
	"bytes"
	"errors"
	"hash/crc32"
)

// Limits of the fields.
const (
	Header    = 32        // bytes, and so the smallest message
	MaxSize   = 1<<24 - 1 // bytes of a whole message
	MaxStream = 1<<30 - 1
	MaxSeq    = 1<<30 - 1
	maxRun    = 1<<18 - 1
)

var (
	// ErrForeign means that the message was not made by this run.
	ErrForeign = errors.New("not a message of this run")
	// ErrCorrupt means that a message of this run does not have the bytes it was sent with.
	ErrCorrupt = errors.New("message is damaged")
)

// Message is what a header says.
type Message struct {
	Stream uint32 // who sent it
	Seq    uint32 // 1 for the first of its stream
	Sent   int64  // when it was due to be sent, nanoseconds of the monotonic clock
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// period is prime, so the fill does not line up with any power of two that a
// server's buffers are likely to have.
const period = 4093

var (
	digit [256]int8 // value of a character, or -1
	fill  [2 * period]byte
)

func init() {
	for i := range digit {
		digit[i] = -1
	}
	for i := range len(alphabet) {
		digit[alphabet[i]] = int8(i)
	}
	x := uint64(0x9e3779b97f4a7c15)
	for i := range period {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fill[i] = alphabet[x>>58]
		fill[i+period] = fill[i]
	}
}

// Append adds a message of size bytes (at least Header, at most MaxSize) to dst.
func Append(dst []byte, run uint32, m Message, size int) []byte {
	size = min(max(size, Header), MaxSize)
	at := len(dst)
	dst = number(dst, uint64(run&maxRun), 3)
	dst = number(dst, uint64(size), 4)
	dst = number(dst, uint64(m.Stream), 5)
	dst = number(dst, uint64(m.Seq), 5)
	dst = number(dst, uint64(m.Sent), 11)
	dst = number(dst, uint64(crc32.ChecksumIEEE(dst[at:])&0xffffff), 4)
	phase := m.phase()
	for left := size - Header; left > 0; {
		n := min(left, period)
		dst = append(dst, fill[phase:phase+n]...)
		left -= n
	}
	return dst
}

// Parse reads a message and compares every byte of it with what was sent.
func Parse(run uint32, b []byte) (Message, error) {
	if r, ok := value(b, 0, 3); !ok || r != uint64(run&maxRun) {
		return Message{}, ErrForeign
	}
	if len(b) < Header {
		return Message{}, ErrCorrupt
	}
	crc, ok := value(b, 28, 4)
	if !ok || crc != uint64(crc32.ChecksumIEEE(b[:28])&0xffffff) {
		return Message{}, ErrCorrupt
	}
	// The checksum held, so the characters are ours.
	size, _ := value(b, 3, 4)
	stream, _ := value(b, 7, 5)
	seq, _ := value(b, 12, 5)
	sent, _ := value(b, 17, 11)
	m := Message{Stream: uint32(stream), Seq: uint32(seq), Sent: int64(sent)}
	if size != uint64(len(b)) || !m.filled(b[Header:]) {
		return m, ErrCorrupt
	}
	return m, nil
}

// phase is where in the fill a message begins; neighbours differ.
func (m Message) phase() int {
	return int((uint64(m.Stream)*2654435761 + uint64(m.Seq)*40503) % period)
}

func (m Message) filled(b []byte) bool {
	phase := m.phase()
	for len(b) > 0 {
		n := min(len(b), period)
		if !bytes.Equal(b[:n], fill[phase:phase+n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

func number(dst []byte, v uint64, digits int) []byte {
	for shift := 6 * (digits - 1); shift >= 0; shift -= 6 {
		dst = append(dst, alphabet[v>>shift&63])
	}
	return dst
}

func value(b []byte, at, digits int) (v uint64, ok bool) {
	if len(b) < at+digits {
		return 0, false
	}
	for _, c := range b[at : at+digits] {
		d := digit[c]
		if d < 0 {
			return 0, false
		}
		v = v<<6 | uint64(d)
	}
	return v, true
}
