// Package record is the form in which a connection travels to another process,
// and in which it keeps what few connections have to remember.
//
// A record is one connection on its way: its descriptor travels beside it. It is
// a list of fields, each with a tag and a length, so that a reader skips what it
// does not know. Where skipping would be wrong, the record needs a later version,
// see worker.RecordVersion.
//
// All of the package may be called by any goroutine.
package record

import (
	"encoding/binary"
	"errors"
)

// Tags of fields. One that was given away is never given to anything else.
const (
	ID byte = iota + 1
	Port
	Stage
	Flags
	Bits
	Path
	Query
	Header // name, NUL, value; repeated
	Subprotocol
	IP
	UID
	Channel // repeated
	Value   // key, NUL, value; repeated
	Input
	_ // of versions before
	Decoder
	Partial // the rest of a frame that is partly sent
	Frame   // unsent; repeated, in order
	Counters
	Since
	LastRecv
	Control
	Deadline
	Mark // policy, NUL, channel: of the frame before
	Dropped
	Peer // who a proxy that passes bytes through says that the client is
	Positions
	Joining // position, channel; repeated
	Session
	SealedIn  // of a TLS record that has not come whole
	SealedOut // of TLS records that are partly sent; before what is not sealed yet
	Poll      // position, header of the answer, what it has so far
	Notes     // how much of that does not end the wait, in bytes
)

// ErrDamaged is what a record that no worker has written is refused with.
var ErrDamaged = errors.New("connection record is damaged")

// FieldWeight is what a field weighs beside the bytes of its value.
const FieldWeight = 64

// Append appends one field.
func Append(dst []byte, tag byte, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}

// AppendNumber appends a field that is a number.
func AppendNumber(dst []byte, tag byte, n uint64) []byte {
	var b [binary.MaxVarintLen64]byte
	return Append(dst, tag, b[:binary.PutUvarint(b[:], n)])
}

// AppendText appends a field that is a text, nothing for "".
func AppendText(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return Append(dst, tag, []byte(s))
}

// Next cuts the first field off b, which is not empty. The value is a part of b. It
// returns false if there is no whole field.
func Next(b []byte) (tag byte, value, rest []byte, ok bool) {
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || n > uint64(len(b)-1-w) {
		return 0, nil, nil, false
	}
	end := 1 + w + int(n)
	return b[0], b[1+w : end], b[end:], true
}
