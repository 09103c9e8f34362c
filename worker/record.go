package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pushd/pushd/worker/record"
)

// movedFlags are those that mean the same in the next process. Their bits are in the
// records of all versions, so none may ever get another meaning; what is not here is of
// this process alone, as what its reactor does (flagMuted), or is told otherwise.
const movedFlags = flagConnected | flagPaused | flagPinged | flagDeflate | flagFull | flagBody | flagHeader

// appendRecord appends the state of c, all that it needs to go on elsewhere and
// nothing that the other process knows by itself. It changes nothing, so that a
// hand-over which fails can be taken back. It runs on the loop, while c is out of
// the reactor's sight.
//
// What waits is written in the order in which it goes out or came in: sealed
// bytes before what is not sealed yet, the rest of a frame before whole ones.
// weight.go counts what is written here: a field that grows with what a client does
// has to be counted there too.
func (c *Conn) appendRecord(dst []byte) []byte {
	dst = record.Append(dst, record.ID, c.id[:])
	dst = record.AppendText(dst, record.Port, c.port.addr.text)
	dst = record.AppendNumber(dst, record.Stage, c.transport.number)
	dst = record.AppendNumber(dst, record.Flags, uint64(c.flags&movedFlags))
	dst = record.AppendNumber(dst, record.Bits, uint64(c.bits))
	if c.text(record.Path, "") == "" {
		dst = record.AppendText(dst, record.Path, c.route.exact)
	}
	dst = record.AppendText(dst, record.UID, c.UID())
	for _, name := range c.Channels() {
		dst = record.Append(dst, record.Channel, []byte(name))
	}
	dst = c.loop.recall.appendJoining(dst, c)
	dst = c.appendPoll(dst)
	if x := c.more; x != nil {
		dst = append(dst, x.texts...)
		if x.dropped > 0 {
			dst = record.AppendNumber(dst, record.Dropped, x.dropped)
		}
	}
	if in := c.in; in != nil {
		dst = record.Append(dst, record.Input, in.unread())
		if len(in.sealed) > 0 {
			dst = record.Append(dst, record.SealedIn, in.sealed)
		}
		if !in.dec.Idle() {
			dst = record.Append(dst, record.Decoder, in.dec.AppendState(nil))
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
	dst = record.Append(dst, record.Counters, n)
	dst = record.AppendNumber(dst, record.Since, uint64(c.since))
	dst = record.AppendNumber(dst, record.LastRecv, uint64(c.lastRecv))
	dst = record.AppendNumber(dst, record.Control, uint64(c.control))
	return record.AppendNumber(dst, record.Deadline, uint64(*c.loop.conns.when(c)))
}

// append appends what the socket has not taken. Frames are copied: others share them
// here, and nobody there. The frame that is partly sent comes
// first, and has no mark: nothing may be done with it but to send the rest.
func (q *queue) append(dst []byte) []byte {
	if q == nil {
		return dst
	}
	if len(q.sealed) > 0 {
		dst = record.Append(dst, record.SealedOut, q.sealed)
	}
	for i, f := range q.frames {
		if i == 0 && q.off > 0 {
			dst = record.Append(dst, record.Partial, f[q.off:])
			continue
		}
		dst = record.Append(dst, record.Frame, f)
		if m := q.mark(i); m != (mark{}) {
			dst = record.AppendText(dst, record.Mark, string(m.slow)+"\x00"+m.channel)
		}
	}
	return dst
}

// arrival is a record that was read: a connection without a socket yet, and
// what its worker has to do for it. Names are texts until place looks for them in
// the config, which may have none.
type arrival struct {
	c        *Conn
	port     string
	path     string
	uid      string
	channels []string
	joining  []joining
	texts    []byte // as a texts
	speaks   *transport
	notes    uint64 // see poll.notes
	deadline uint32
	weight   int // see Conn.weight
}

// parseRecord makes a connection of a record. Nothing in the result aliases b.
// The connection has no socket, so all that is sent to it is queued.
//
// It runs on any goroutine and touches nothing of l that changes: the connection is
// in no list, and garbage if nobody admits it. Fields may come in any order but
// for two: a mark is of the frame before it, and a rest comes before all frames. Of
// one that comes twice the later counts, where nothing else is said; what a field
// alone can tell is checked here, and by check what only all of them can.
func parseRecord(l *loop, b []byte) (*arrival, error) {
	limbo := &seat{place: &place{route: l.plain}} // until it is placed, on the loop, which alone shares seats out
	a := &arrival{c: &Conn{loop: l, seat: limbo, out: &queue{}}}
	for len(b) > 0 {
		tag, value, rest, ok := record.Next(b)
		if !ok {
			return nil, record.ErrDamaged
		}
		b = rest
		a.weight += record.FieldWeight + len(value)
		if err := a.field(tag, value); err != nil {
			return nil, fmt.Errorf("%w: field %d", err, tag)
		}
	}
	return a, a.check()
}

// field sets what one field says. v is the reader's buffer: what is kept is copied.
func (a *arrival) field(tag byte, v []byte) error {
	c := a.c
	switch tag {
	case record.ID:
		if copy(c.id[:], v) != len(c.id) || len(v) != len(c.id) {
			return record.ErrDamaged
		}
	case record.Port:
		a.port = string(v)
	case record.Path:
		a.path = string(v)
	case record.UID:
		a.uid = string(v)
	case record.Channel:
		a.channels = append(a.channels, string(v))
	case record.Query, record.Subprotocol, record.IP, record.Peer, record.Positions, record.Header, record.Value:
		return a.text(tag, v)
	case record.Joining:
		return a.waits(v)
	case record.Input:
		if len(v) > 0 {
			c.input().wait.add(v)
		}
	case record.Decoder:
		return c.input().dec.Restore(v)
	case record.Partial:
		return a.partial(v)
	case record.Frame:
		c.out.push(append([]byte(nil), v...), mark{})
		c.out.bytes += len(v)
	case record.Session, record.SealedIn, record.SealedOut:
		return a.sealed(tag, v)
	case record.Poll:
		return a.pollOf(v)
	case record.Notes:
		return a.notesOf(v)
	case record.Mark:
		return a.mark(v)
	case record.Counters:
		return a.counters(v)
	default:
		return a.number(tag, v)
	}
	return nil
}

// partial takes the rest of a frame whose beginning the client has. It stands before
// all frames, since nothing can go between. A byte that
// counts as sent stands for that beginning, lest a full queue drop the rest.
func (a *arrival) partial(v []byte) error {
	q := a.c.out
	if len(q.frames) > 0 {
		return record.ErrDamaged
	}
	q.frames = append(q.frames, append([]byte{0}, v...))
	q.off = 1
	q.bytes += len(v)
	return nil
}

// mark takes the mark of the frame that was read last. Marks are kept for as many frames
// as there are up to that one: those behind the last mark have none. Whether a message
// must not be missed is not in the record: this process's rules say so.
func (a *arrival) mark(v []byte) error {
	slow, channel, ok := strings.Cut(string(v), "\x00")
	q := a.c.out
	if !ok || Slow(slow).Check() != nil || len(q.frames) == 0 {
		return record.ErrDamaged
	}
	for len(q.marks) < len(q.frames) {
		q.marks = append(q.marks, mark{})
	}
	q.marks[len(q.frames)-1] = mark{channel, Slow(slow), Slow(slow) == SlowClose && a.c.loop.w.keeps(channel)}
	return nil
}

// text collects a text, as a field, which is how the connection keeps it. One that
// comes twice is remembered twice, and the first one counts; no worker writes that. What
// all of them weigh is looked at in check, when the last has come.
func (a *arrival) text(tag byte, v []byte) error {
	if record.Named(tag) && bytes.IndexByte(v, 0) < 0 {
		return record.ErrDamaged
	}
	a.texts = record.Append(a.texts, tag, v)
	return nil
}

// counters takes what was counted. The upper halves are kept apart, since few
// connections have any.
func (a *arrival) counters(v []byte) error {
	var n [4]uint64
	for i := range n {
		x, w := binary.Uvarint(v)
		if w <= 0 {
			return record.ErrDamaged
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

// number sets the numeric fields and ignores those it does not know: a later version
// has added them, and would have raised the record's version if that were wrong. A
// number that is longer than it needs, or has something behind it, is damaged. Times are
// of the clock that both processes share, seconds as this one counts them.
func (a *arrival) number(tag byte, v []byte) error {
	if tag > record.Dropped {
		return nil
	}
	n, w := binary.Uvarint(v)
	if w != len(v) {
		return record.ErrDamaged
	}
	c := a.c
	switch tag {
	case record.Stage:
		a.speaks = numbered(n)
	case record.Flags:
		c.flags = flags(n) & movedFlags
	case record.Bits:
		if c.bits = uint8(n); n > 15 {
			return record.ErrDamaged
		}
	case record.Since:
		c.since = uint32(n)
	case record.LastRecv:
		c.lastRecv = uint32(n)
	case record.Control:
		c.control = uint32(n)
	case record.Dropped:
		c.extra().dropped = n
	case record.Deadline:
		a.deadline = uint32(n)
	}
	return nil
}
