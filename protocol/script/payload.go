package script

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrPayload is a payload that is not what its op says.
var ErrPayload = errors.New("payload is damaged")

func damaged(op Op, what string) error { return fmt.Errorf("%s: %w: %s", op, ErrPayload, what) }

// Opening is what Open, Resume and Handshake tell of a connection.
type Opening struct {
	Session []byte // as the program has set it
	Remote  string // "192.0.2.1:40000", behind trusted proxies without the port; "" for unix sockets
	Local   string // address of the listener, as configured
	Target  string // path and query of the handshake, "" where the protocol has none
	Head    []byte // the head of the handshake, as in HTTP, with the headers that were kept
}

// AppendOpen appends the frame of that op, one of Open, Resume and Handshake. A
// session beyond MaxSession is left out.
func AppendOpen(dst []byte, op Op, conn uint64, o Opening) []byte {
	if len(o.Session) > MaxSession {
		o.Session = nil
	}
	n := len(o.Session) + len(o.Remote) + len(o.Local) + len(o.Target) + len(o.Head) + 3
	dst = AppendHeader(dst, Frame{Op: op, Aux: uint16(len(o.Session)), Conn: conn}, n)
	dst = append(dst, o.Session...)
	for _, s := range []string{o.Remote, o.Local, o.Target} {
		dst = append(append(dst, s...), 0)
	}
	return append(dst, o.Head...)
}

// ParseOpen reads the payload of such a frame.
func ParseOpen(f Frame) (o Opening, err error) {
	p := f.Payload
	if int(f.Aux) > len(p) {
		return o, damaged(f.Op, "aux is more than there is")
	}
	o.Session, p = p[:f.Aux], p[f.Aux:]
	for _, s := range []*string{&o.Remote, &o.Local, &o.Target} {
		text, rest, ok := bytes.Cut(p, []byte{0})
		if !ok {
			return o, damaged(f.Op, "a NUL is missing")
		}
		*s, p = string(text), rest
	}
	o.Head = p
	return o, nil
}

// AppendMany appends a Many frame: one message for several connections.
func AppendMany(dst []byte, flags byte, conns []uint64, data []byte) []byte {
	dst = AppendHeader(dst, Frame{Op: Many, Flags: flags}, 4+8*len(conns)+len(data))
	return append(appendNumbers(dst, conns), data...)
}

// ParseMany reads the payload of one. Numbers are read with Number.
func ParseMany(p []byte) (conns Numbers, data []byte, err error) { return numbers(Many, p) }

// ParseHeld reads the payload of a Held that is of no single connection.
func ParseHeld(p []byte) (conns Numbers, err error) {
	conns, _, err = numbers(Held, p)
	return conns, err
}

// Numbers is a list of connections as it stands in a frame.
type Numbers []byte

// Len returns how many there are.
func (n Numbers) Len() int { return len(n) / 8 }

// At returns one of them.
func (n Numbers) At(i int) uint64 { return binary.LittleEndian.Uint64(n[8*i:]) }

func appendNumbers(dst []byte, conns []uint64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(conns)))
	for _, c := range conns {
		dst = binary.LittleEndian.AppendUint64(dst, c)
	}
	return dst
}

func numbers(op Op, p []byte) (Numbers, []byte, error) {
	if len(p) < 4 {
		return nil, nil, damaged(op, "no count")
	}
	n := binary.LittleEndian.Uint32(p)
	if p = p[4:]; uint64(n)*8 > uint64(len(p)) {
		return nil, nil, damaged(op, "more connections than bytes")
	}
	return Numbers(p[:8*n]), p[8*n:], nil
}

// AppendCarry appends a Carry or Carried frame: what a process leaves to the
// next one, and the connections that this speaks of. A worker takes those out of
// the list that are gone.
func AppendCarry(dst []byte, op Op, conns []uint64, data []byte) []byte {
	dst = AppendHeader(dst, Frame{Op: op}, 4+8*len(conns)+len(data))
	return append(appendNumbers(dst, conns), data...)
}

// ParseCarry reads the payload of one.
func ParseCarry(p []byte) (conns Numbers, data []byte, err error) { return numbers(Carry, p) }

// AppendNamed appends a frame whose payload is a name and data: Publish and
// Channel. The name must be shorter than 64 KiB.
func AppendNamed(dst []byte, f Frame, name string, data []byte) []byte {
	dst = AppendHeader(dst, f, 2+len(name)+len(data))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(name)))
	return append(append(dst, name...), data...)
}

// ParseNamed reads the payload of one.
func ParseNamed(op Op, p []byte) (name, data []byte, err error) {
	if len(p) < 2 {
		return nil, nil, damaged(op, "no name")
	}
	n := int(binary.LittleEndian.Uint16(p))
	if p = p[2:]; n > len(p) {
		return nil, nil, damaged(op, "the name is longer than the payload")
	}
	return p[:n], p[n:], nil
}

// AppendPacket appends a Packet or Reply frame: a datagram, who sends or is to
// get it, and by which listener.
func AppendPacket(dst []byte, op Op, remote, local string, data []byte) []byte {
	dst = AppendHeader(dst, Frame{Op: op}, len(remote)+len(local)+2+len(data))
	return append(appendPlaces(dst, remote, local), data...)
}

// ParsePacket reads the payload of one.
func ParsePacket(op Op, p []byte) (remote, local string, data []byte, err error) {
	return places(op, p)
}

// AppendRequest appends a Request frame, but for the request itself, of n
// bytes, which the caller appends: its head and body as in HTTP/1.1.
func AppendRequest(dst []byte, conn uint64, remote, local string, n int) []byte {
	dst = AppendHeader(dst, Frame{Op: Request, Conn: conn}, len(remote)+len(local)+2+n)
	return appendPlaces(dst, remote, local)
}

// ParseRequest reads the payload of one.
func ParseRequest(p []byte) (remote, local string, request []byte, err error) {
	return places(Request, p)
}

func appendPlaces(dst []byte, remote, local string) []byte {
	dst = append(append(dst, remote...), 0)
	return append(append(dst, local...), 0)
}

func places(op Op, p []byte) (remote, local string, rest []byte, err error) {
	first, p, one := bytes.Cut(p, []byte{0})
	second, p, two := bytes.Cut(p, []byte{0})
	if !one || !two {
		return "", "", nil, damaged(op, "a NUL is missing")
	}
	return string(first), string(second), p, nil
}

// AppendTimer appends a Timer frame.
func AppendTimer(dst []byte, number uint64, ms uint32, again bool) []byte {
	f := Frame{Op: Timer, Conn: number, Payload: binary.LittleEndian.AppendUint32(nil, ms)}
	if again {
		f.Flags = On
	}
	return f.Append(dst)
}

// ParseCount reads the payload of Timer or Poison.
func ParseCount(op Op, p []byte) (uint32, error) {
	if len(p) < 4 {
		return 0, damaged(op, "needs four bytes")
	}
	return binary.LittleEndian.Uint32(p), nil
}
