package websocket

import "github.com/gobwas/ws"

// Limits bound what one peer can make a Decoder hold. Zero is no limit.
type Limits struct {
	MaxMessage   int // bytes of a message, all fragments together, after inflating; more is 1009
	MaxFragments int // frames of one message; more is 1008
}

// Event is one complete message or control frame.
type Event struct {
	Op   Op
	Code uint16 // of a Close: the peer's code, CloseNoStatus if it gave none
	Data []byte // the payload, unmasked and inflated; of a Close the reason
}

// Decoder is the receiving half of one connection, resumable after any byte.
// The zero value stands between two messages and needs no memory: while Idle
// says true the owner may throw the Decoder away and use a zero one next time,
// or one for all its connections. A Decoder may be moved by assignment, the
// old one being used no more.
type Decoder struct {
	msg   []byte // payload of the message in progress: unmasked, not inflated
	ctl   []byte // payload of the control frame in progress, at most maxControl
	left  uint64 // bytes of the frame in progress that have not arrived
	frags int    // frames of the message in progress, the current one included

	mask    [4]byte         // turned so that mask[0] is for the next byte
	head    [maxHeader]byte // an incomplete header,
	headLen uint8           // of so many bytes

	first      byte // first byte of the frame in progress
	inFrame    bool // a header is read, its payload is not complete
	op         Op   // of the message in progress, 0 if there is none
	compressed bool // so is the message in progress
	utf8       utf8State
}

// Idle reports whether the Decoder holds nothing: no message, frame or header
// is begun.
func (d *Decoder) Idle() bool { return !d.inFrame && d.op == 0 && d.headLen == 0 }

// Begins says whether p, read by an idle decoder, is the begin of a message.
func Begins(p []byte) bool {
	op := Op(p[0] & 0x0f)
	return op == Text || op == Binary
}

// Buffered returns the bytes of memory that hold an unfinished message or
// control frame; 0 when Idle.
func (d *Decoder) Buffered() int { return cap(d.msg) + cap(d.ctl) }

// Next consumes p until one message or control frame is complete and returns
// it with what follows it. ok is false when p is used up without one. deflate
// says whether permessage-deflate was negotiated.
//
// Payload is unmasked in place: p is changed, and rest must be passed to the
// next call as it is. ev.Data is a part of p, or memory that the Decoder keeps
// no hold of; in either case it is the caller's until p is used again.
//
// err is always a *CloseError. The connection must then be failed with its
// code, and the Decoder not be used again. Nor may Next be called after a
// Close event: what follows a Close frame is to be ignored.
//
// A message within p that is neither fragmented nor compressed costs no copy
// and no allocation.
func (d *Decoder) Next(p []byte, lim *Limits, deflate bool) (ev Event, rest []byte, ok bool, err error) {
	for {
		if !d.inFrame {
			p, err = d.readHeader(p, lim, deflate)
			if err != nil || !d.inFrame {
				return Event{}, nil, false, err
			}
		}
		n := min(d.left, uint64(len(p)))
		chunk := p[:n]
		p = p[n:]
		d.left -= n
		d.unmask(chunk)
		if Op(d.first & opBits).control() {
			ev, ok, err = d.control(chunk)
		} else {
			ev, ok, err = d.data(chunk, lim)
		}
		if err != nil {
			return Event{}, nil, false, err
		}
		if ok || d.inFrame {
			return ev, p, ok, nil
		}
	}
}

// readHeader reads a header from what is kept of it and p, and begins its
// frame. An incomplete one is kept.
func (d *Decoder) readHeader(p []byte, lim *Limits, deflate bool) (rest []byte, err error) {
	b := p
	if d.headLen > 0 {
		b = d.head[:int(d.headLen)+copy(d.head[d.headLen:], p)]
	}
	var h header
	size, err := h.parse(b, deflate)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		d.headLen = uint8(copy(d.head[:], b))
		return nil, nil
	}
	rest = p[size-int(d.headLen):]
	d.headLen = 0
	return rest, d.begin(&h, lim)
}

// begin applies the rules that depend on the message in progress.
func (d *Decoder) begin(h *header, lim *Limits) error {
	d.inFrame, d.first, d.mask, d.left = true, h.first, h.mask, h.length
	op := Op(h.first & opBits)
	switch {
	case op.control():
		return nil
	case op == opContinuation && d.op == 0:
		return errNoMessage
	case op != opContinuation && d.op != 0:
		return errInMessage
	case op != opContinuation:
		d.op, d.compressed = op, h.first&rsv1Bit != 0
	}
	d.frags++
	return d.Check(lim)
}

// Check applies limits to the message in progress, as Next does when a frame
// begins: for a Decoder that was restored where other ones hold. The error is
// the *CloseError to fail the connection with.
func (d *Decoder) Check(lim *Limits) error {
	if d.op == 0 {
		return nil
	}
	if lim.MaxFragments > 0 && d.frags > lim.MaxFragments {
		return errFragments
	}
	held := uint64(len(d.msg))
	if d.inFrame && !Op(d.first&opBits).control() {
		held += d.left
	}
	if most := d.maxHeld(lim); most > 0 && held > uint64(most) {
		return errTooBig
	}
	return nil
}

// maxHeld is how many bytes of the message in progress may be held, 0 for any
// number. Data that does not compress grows a little when "compressed", which
// must not make a message that is within the limit too big.
func (d *Decoder) maxHeld(lim *Limits) int {
	if lim.MaxMessage > 0 && d.compressed {
		return lim.MaxMessage + min(lim.MaxMessage/8+64, 512<<10)
	}
	return lim.MaxMessage
}

// unmask unmasks p and turns the mask to where the next byte of the frame is.
func (d *Decoder) unmask(p []byte) {
	ws.Cipher(p, d.mask, 0)
	if n := len(p) % 4; n != 0 {
		m := d.mask
		d.mask = [4]byte{m[n], m[(n+1)%4], m[(n+2)%4], m[(n+3)%4]}
	}
}

// control takes the next part of a control frame's payload.
func (d *Decoder) control(chunk []byte) (ev Event, ok bool, err error) {
	if d.left > 0 || len(d.ctl) > 0 {
		d.ctl = append(d.ctl, chunk...)
		chunk = d.ctl
	}
	if d.left > 0 {
		return Event{}, false, nil
	}
	d.inFrame, d.ctl = false, nil
	if op := Op(d.first & opBits); op != Close {
		return Event{Op: op, Data: chunk}, true, nil
	}
	ev, err = closeEvent(chunk)
	return ev, err == nil, err
}

// data takes the next part of a data frame's payload. It is kept unless the
// message ends with it and began with it.
func (d *Decoder) data(chunk []byte, lim *Limits) (ev Event, ok bool, err error) {
	if d.op == Text && !d.compressed {
		if d.utf8, ok = d.utf8.feed(chunk); !ok {
			return Event{}, false, errTextUTF8
		}
	}
	final := d.left == 0 && d.first&finBit != 0
	if !final || len(d.msg) > 0 {
		d.reserve(len(chunk), lim)
		d.msg = append(d.msg, chunk...)
		chunk = d.msg
	}
	d.inFrame = d.left > 0
	if !final {
		return Event{}, false, nil
	}
	return d.finish(chunk, lim)
}

// reserve makes room for n more bytes of the message. Memory follows what has
// arrived, never what was only announced: it at most doubles, and stops where
// the message must end.
func (d *Decoder) reserve(n int, lim *Limits) {
	need := len(d.msg) + n
	if need <= cap(d.msg) {
		return
	}
	size := max(2*cap(d.msg), need, 64)
	if d.first&finBit != 0 && d.left < uint64(size) {
		size = min(size, need+int(d.left))
	} else if most := d.maxHeld(lim); most > 0 {
		size = max(need, min(size, most))
	}
	grown := make([]byte, len(d.msg), size)
	copy(grown, d.msg)
	d.msg = grown
}

// finish delivers the message in progress and leaves the Decoder idle.
func (d *Decoder) finish(payload []byte, lim *Limits) (ev Event, ok bool, err error) {
	op, compressed, text := d.op, d.compressed, d.utf8
	d.msg, d.op, d.compressed, d.frags, d.utf8 = nil, 0, false, 0, utf8Done
	if compressed {
		if payload, err = inflate(payload, lim.MaxMessage); err != nil {
			return Event{}, false, err
		}
		if op == Text {
			text, ok = text.feed(payload)
			if !ok {
				return Event{}, false, errTextUTF8
			}
		}
	}
	if text != utf8Done { // ends inside a character
		return Event{}, false, errTextUTF8
	}
	return Event{Op: op, Data: payload}, true, nil
}
