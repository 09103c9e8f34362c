package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A record is one connection on its way to another process: its descriptor
// travels beside it. It is a list of fields, each with a tag and a length, so
// that a reader skips what it does not know. Where skipping would be wrong, the
// record needs a later version, see RecordVersion.
const (
	fieldID byte = iota + 1
	fieldPort
	fieldStage
	fieldFlags
	fieldBits
	fieldPath
	fieldQuery
	fieldHeader // name, NUL, value; repeated
	fieldSubprotocol
	fieldIP
	fieldUID
	fieldChannel // repeated
	fieldValue   // key, NUL, value; repeated
	fieldInput
	_ // of versions before
	fieldDecoder
	fieldPartial // the rest of a frame that is partly sent
	fieldFrame   // unsent; repeated, in order
	fieldCounters
	fieldSince
	fieldLastRecv
	fieldControl
	fieldDeadline
	fieldMark // policy, NUL, channel: of the frame before
	fieldDropped
	fieldPeer // who a proxy that passes bytes through says that the client is
	fieldPositions
	fieldJoining // position, channel; repeated
	fieldSession
	fieldSealedIn  // of a TLS record that has not come whole
	fieldSealedOut // of TLS records that are partly sent; before what is not sealed yet
)

// movedFlags are those that mean the same in the next process.
const movedFlags = flagConnected | flagPaused | flagPinged | flagDeflate | flagFull | flagBody | flagHeader

var errRecord = errors.New("connection record is damaged")

// appendField appends one field.
func appendField(dst []byte, tag byte, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}

func appendNumber(dst []byte, tag byte, n uint64) []byte {
	var b [binary.MaxVarintLen64]byte
	return appendField(dst, tag, b[:binary.PutUvarint(b[:], n)])
}

func appendText(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendField(dst, tag, []byte(s))
}

// appendRecord appends the state of c.
func (c *Conn) appendRecord(dst []byte) []byte {
	dst = appendField(dst, fieldID, c.id[:])
	dst = appendText(dst, fieldPort, c.port.addr.text)
	dst = appendNumber(dst, fieldStage, c.transport.number)
	dst = appendNumber(dst, fieldFlags, uint64(c.flags&movedFlags))
	dst = appendNumber(dst, fieldBits, uint64(c.bits))
	if c.text(fieldPath, "") == "" {
		dst = appendText(dst, fieldPath, c.route.exact)
	}
	dst = appendText(dst, fieldUID, c.UID())
	for _, name := range c.Channels() {
		dst = appendField(dst, fieldChannel, []byte(name))
	}
	dst = c.loop.recall.appendJoining(dst, c)
	if x := c.more; x != nil {
		dst = append(dst, x.texts...)
		if x.dropped > 0 {
			dst = appendNumber(dst, fieldDropped, x.dropped)
		}
	}
	if in := c.in; in != nil {
		dst = appendField(dst, fieldInput, in.unread())
		if len(in.sealed) > 0 {
			dst = appendField(dst, fieldSealedIn, in.sealed)
		}
		if !in.dec.Idle() {
			dst = appendField(dst, fieldDecoder, in.dec.AppendState(nil))
		}
	}
	dst = c.out.append(dst)
	dst = c.appendSession(dst)
	var n []byte
	in, out := c.traffic()
	msgsIn, msgsOut := c.messages()
	for _, v := range []uint64{msgsIn, msgsOut, in, out} {
		n = binary.AppendUvarint(n, v)
	}
	dst = appendField(dst, fieldCounters, n)
	dst = appendNumber(dst, fieldSince, uint64(c.since))
	dst = appendNumber(dst, fieldLastRecv, uint64(c.lastRecv))
	dst = appendNumber(dst, fieldControl, uint64(c.control))
	return appendNumber(dst, fieldDeadline, uint64(*c.loop.conns.when(c)))
}

func (q *queue) append(dst []byte) []byte {
	if q == nil {
		return dst
	}
	if len(q.sealed) > 0 {
		dst = appendField(dst, fieldSealedOut, q.sealed)
	}
	for i, f := range q.frames {
		if i == 0 && q.off > 0 {
			dst = appendField(dst, fieldPartial, f[q.off:])
			continue
		}
		dst = appendField(dst, fieldFrame, f)
		if m := q.mark(i); m != (mark{}) {
			dst = appendText(dst, fieldMark, string(m.slow)+"\x00"+m.channel)
		}
	}
	return dst
}

// arrival is a record that was read: a connection without a socket yet, and
// what its worker has to do for it.
type arrival struct {
	c        *Conn
	port     string
	path     string
	uid      string
	channels []string
	joining  []joining
	texts    []byte // as a texts
	speaks   *transport
	deadline uint32
	weight   int // see Conn.weight
}

// parseRecord makes a connection of a record. Nothing in the result aliases b.
// The connection has no socket, so all that is sent to it is queued.
func parseRecord(l *loop, b []byte) (*arrival, error) {
	a := &arrival{c: &Conn{loop: l, seat: l.plain.at(nil, nil), out: &queue{}}}
	for len(b) > 0 {
		tag := b[0]
		n, w := binary.Uvarint(b[1:])
		if w <= 0 || n > uint64(len(b)-1-w) {
			return nil, errRecord
		}
		value := b[1+w : 1+w+int(n)]
		b = b[1+w+int(n):]
		a.weight += fieldWeight + len(value)
		if err := a.field(tag, value); err != nil {
			return nil, fmt.Errorf("%w: field %d", err, tag)
		}
	}
	return a, a.check()
}

// field sets what one field says.
func (a *arrival) field(tag byte, v []byte) error {
	c := a.c
	switch tag {
	case fieldID:
		if copy(c.id[:], v) != len(c.id) || len(v) != len(c.id) {
			return errRecord
		}
	case fieldPort:
		a.port = string(v)
	case fieldPath:
		a.path = string(v)
	case fieldUID:
		a.uid = string(v)
	case fieldChannel:
		a.channels = append(a.channels, string(v))
	case fieldQuery, fieldSubprotocol, fieldIP, fieldPeer, fieldPositions, fieldHeader, fieldValue:
		return a.text(tag, v)
	case fieldJoining:
		return a.waits(v)
	case fieldInput:
		if len(v) > 0 {
			c.input().wait.add(v)
		}
	case fieldDecoder:
		return c.input().dec.Restore(v)
	case fieldPartial:
		return a.partial(v)
	case fieldFrame:
		c.out.push(append([]byte(nil), v...), mark{})
		c.out.bytes += len(v)
	case fieldSession, fieldSealedIn, fieldSealedOut:
		return a.sealed(tag, v)
	case fieldMark:
		return a.mark(v)
	case fieldCounters:
		return a.counters(v)
	default:
		return a.number(tag, v)
	}
	return nil
}

// partial takes the rest of a frame whose beginning the client has. A byte that
// counts as sent stands for that beginning, lest a full queue drop the rest.
func (a *arrival) partial(v []byte) error {
	q := a.c.out
	if len(q.frames) > 0 {
		return errRecord
	}
	q.frames = append(q.frames, append([]byte{0}, v...))
	q.off = 1
	q.bytes += len(v)
	return nil
}

// mark takes the mark of the frame that was read last.
func (a *arrival) mark(v []byte) error {
	slow, channel, ok := strings.Cut(string(v), "\x00")
	q := a.c.out
	if !ok || Slow(slow).Check() != nil || len(q.frames) == 0 {
		return errRecord
	}
	for len(q.marks) < len(q.frames) {
		q.marks = append(q.marks, mark{})
	}
	q.marks[len(q.frames)-1] = mark{channel, Slow(slow), Slow(slow) == SlowClose && a.c.loop.w.keeps(channel)}
	return nil
}

// text collects a text. One that comes twice is remembered twice, and the first
// one counts; no worker writes that.
func (a *arrival) text(tag byte, v []byte) error {
	if hasName(tag) && bytes.IndexByte(v, 0) < 0 {
		return errRecord
	}
	a.texts = appendField(a.texts, tag, v)
	return nil
}

func (a *arrival) counters(v []byte) error {
	var n [4]uint64
	for i := range n {
		x, w := binary.Uvarint(v)
		if w <= 0 {
			return errRecord
		}
		n[i], v = x, v[w:]
	}
	c := a.c
	c.msgs.in, c.msgs.out, c.bytes.in, c.bytes.out = uint32(n[0]), uint32(n[1]), uint32(n[2]), uint32(n[3])
	if w := (wraps{uint32(n[0] >> 32), uint32(n[1] >> 32), uint32(n[2] >> 32), uint32(n[3] >> 32)}); w != (wraps{}) {
		c.extra().wraps = w
	}
	return nil
}

// number sets the numeric fields and ignores those it does not know.
func (a *arrival) number(tag byte, v []byte) error {
	if tag > fieldDropped {
		return nil
	}
	n, w := binary.Uvarint(v)
	if w != len(v) {
		return errRecord
	}
	c := a.c
	switch tag {
	case fieldStage:
		a.speaks = numbered(n)
	case fieldFlags:
		c.flags = flags(n) & movedFlags
	case fieldBits:
		if c.bits = uint8(n); n > 15 {
			return errRecord
		}
	case fieldSince:
		c.since = uint32(n)
	case fieldLastRecv:
		c.lastRecv = uint32(n)
	case fieldControl:
		c.control = uint32(n)
	case fieldDropped:
		c.extra().dropped = n
	case fieldDeadline:
		a.deadline = uint32(n)
	}
	return nil
}
