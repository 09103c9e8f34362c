// Package script is the wire between a worker and a handler process: a program
// in any language that has the callbacks of a worker. docs/script-protocol.md is
// the contract; this package is its bytes, for both ends.
//
// Frames go both ways over one stream. One is a header of 16 bytes, all numbers
// little-endian, and a payload:
//
//	u32 length of the payload · u8 op · u8 flags · u16 aux · u64 connection
//
// What length, flags, aux and connection mean beside that is the op's. Nothing
// here keeps state or a goroutine; payloads that are returned alias what was
// parsed.
package script

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the wire. A later one adds ops and flags; it changes
// none.
const Version = 1

// HeaderSize is the bytes of a frame before its payload.
const HeaderSize = 16

// Bounds of a payload, in bytes.
const (
	MaxPayload = 1<<20 + 64<<10 // of a frame of a handler process, but CARRY
	MaxCarry   = 64 << 20       // of CARRY and CARRIED
	MaxSession = 65_000         // of a session: it fits into aux, and into the session values of a connection
)

// FlagVital says that who does not know the op cannot go on.
const FlagVital = 0x80

// MaxNumber bounds the number of a connection: 53 bits, which every language
// holds exactly.
const MaxNumber = 1<<53 - 1

// Frame is one frame. Payload may alias what it was parsed from.
type Frame struct {
	Op      Op
	Flags   byte
	Aux     uint16
	Conn    uint64 // number of a connection, of a batch, of a question, of a timer
	Payload []byte
}

// Append appends the frame. The payload must be shorter than 4 GiB.
func (f Frame) Append(dst []byte) []byte {
	return append(AppendHeader(dst, f, len(f.Payload)), f.Payload...)
}

// AppendHeader appends the header of a frame whose payload, of n bytes, the
// caller appends.
func AppendHeader(dst []byte, f Frame, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(f.Op), f.Flags)
	dst = binary.LittleEndian.AppendUint16(dst, f.Aux)
	return binary.LittleEndian.AppendUint64(dst, f.Conn)
}

// Errors of a parser, within a *FrameError: nothing of the stream can be relied
// on any more.
var (
	ErrTooLong   = errors.New("frame is too long")
	ErrGarbage   = errors.New("no frame begins like this")
	ErrDirection = errors.New("frame of the other side")
	ErrVital     = errors.New("frame is vital and not known here")
)

// FrameError is a frame that ends the stream.
type FrameError struct {
	Op     Op
	Length uint32
	Err    error
}

// Error names the frame and what is wrong with it.
func (e *FrameError) Error() string {
	if errors.Is(e.Err, ErrGarbage) {
		return fmt.Sprintf("%v: op %d with %d bytes; is something else written to the socket?", e.Err, uint8(e.Op), e.Length)
	}
	return fmt.Sprintf("%v: %s of %d bytes", e.Err, e.Op, e.Length)
}

// Unwrap returns which of the errors it is.
func (e *FrameError) Unwrap() error { return e.Err }

// Side is who has sent what is parsed.
type Side struct {
	handler bool
	limit   int
}

// FromHandler parses what a handler process sends.
var FromHandler = Side{handler: true, limit: MaxPayload}

// FromWorker parses what a worker sends; limit is Config.MaxFrame, 0 before that
// is known.
func FromWorker(limit int) Side {
	if limit <= 0 {
		limit = MaxPayload
	}
	return Side{limit: limit}
}

// Next returns the first frame of p and the bytes that it takes. When these are
// 0 or more than p has, the frame is not whole yet and not valid. A frame that
// cannot be right is an error as soon as its header is there, a *FrameError.
func (s Side) Next(p []byte) (f Frame, size int, err error) {
	if len(p) < HeaderSize {
		return f, 0, nil
	}
	length := binary.LittleEndian.Uint32(p)
	f = Frame{Op: Op(p[4]), Flags: p[5], Aux: binary.LittleEndian.Uint16(p[6:]), Conn: binary.LittleEndian.Uint64(p[8:])}
	if err := s.check(f, length); err != nil {
		return Frame{}, 0, &FrameError{f.Op, length, err}
	}
	size = HeaderSize + int(length)
	if size <= len(p) {
		f.Payload = p[HeaderSize:size:size]
	}
	return f, size, nil
}

func (s Side) check(f Frame, length uint32) error {
	limit := s.limit
	if f.Op == Carry || f.Op == Carried {
		limit = MaxCarry
	}
	switch {
	case f.Op == 0 || f.Op > lastOp:
		return ErrGarbage
	case s.handler != f.Op.ofHandler():
		return ErrDirection
	case uint64(length) > uint64(limit):
		return ErrTooLong
	case f.Flags&FlagVital != 0 && !f.Op.Known():
		return ErrVital
	}
	return nil
}

// Reader reads frames from a stream that blocks: for handler processes, and for
// tests of either side.
type Reader struct {
	r    io.Reader
	side Side
	buf  []byte
	off  int
}

// NewReader reads what that side sends.
func NewReader(r io.Reader, from Side) *Reader { return &Reader{r: r, side: from} }

// From changes what is known of the other side: its limit.
func (r *Reader) From(s Side) { r.side = s }

// readAtOnce is how many bytes a Reader asks for.
const readAtOnce = 64 << 10

// Next waits for a frame, known or not; its payload is valid until the next
// call. io.EOF is the end between two frames, io.ErrUnexpectedEOF one within.
func (r *Reader) Next() (Frame, error) {
	for {
		f, size, err := r.side.Next(r.buf[r.off:])
		if err != nil {
			return f, err
		}
		if size > 0 && size <= len(r.buf)-r.off {
			r.off += size
			return f, nil
		}
		if err := r.fill(max(size, HeaderSize)); err != nil {
			return Frame{}, err
		}
	}
}

// Rest returns what was read and is of no frame that Next has returned.
func (r *Reader) Rest() []byte { return r.buf[r.off:] }

// fill reads until there are at least some bytes more of the size bytes that a
// frame takes. Memory grows with what has come, not with what was announced.
func (r *Reader) fill(size int) error {
	r.buf = append(r.buf[:0], r.buf[r.off:]...)
	r.off = 0
	have := len(r.buf)
	want := min(max(size-have, 1), readAtOnce)
	if cap(r.buf)-have < want {
		r.buf = append(make([]byte, 0, max(2*have, readAtOnce)), r.buf...)
	}
	n, err := r.r.Read(r.buf[have:cap(r.buf)])
	r.buf = r.buf[:have+n]
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	case errors.Is(err, io.EOF) && have > 0:
		return io.ErrUnexpectedEOF
	}
	return err
}
