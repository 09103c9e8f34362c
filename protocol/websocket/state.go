package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// stateVersion is the first byte of a saved Decoder. It changes when the
// layout below does.
const stateVersion = 1

// Layout of a saved Decoder: stateFixed bytes, then the three byte strings
// whose lengths they hold, in the order head, ctl, msg.
const (
	stateFlags   = 1  // flagInFrame, flagCompressed
	stateOp      = 2  // of the message
	stateUTF8    = 3  // utf8State
	stateFirst   = 4  // first byte of the frame
	stateHeadLen = 5  // bytes of an incomplete header
	stateCtlLen  = 6  // bytes of an incomplete control frame
	stateMask    = 7  // 4 bytes
	stateLeft    = 11 // 8 bytes, big-endian
	stateFrags   = 19 // 8 bytes
	stateMsgLen  = 27 // 8 bytes
	stateFixed   = 35

	flagInFrame    = 1
	flagCompressed = 2
)

// StateSize returns how many bytes AppendState appends.
func (d *Decoder) StateSize() int {
	return stateFixed + int(d.headLen) + len(d.ctl) + len(d.msg)
}

// AppendState appends everything that d holds, for Restore in another process.
// For an Idle Decoder that is needless.
func (d *Decoder) AppendState(dst []byte) []byte {
	var s [stateFixed]byte
	s[0] = stateVersion
	if d.inFrame {
		s[stateFlags] |= flagInFrame
		s[stateFirst] = d.first
		copy(s[stateMask:], d.mask[:])
	}
	if d.compressed {
		s[stateFlags] |= flagCompressed
	}
	s[stateOp], s[stateUTF8] = byte(d.op), byte(d.utf8)
	s[stateHeadLen], s[stateCtlLen] = d.headLen, byte(len(d.ctl))
	binary.BigEndian.PutUint64(s[stateLeft:], d.left)
	binary.BigEndian.PutUint64(s[stateFrags:], uint64(d.frags))
	binary.BigEndian.PutUint64(s[stateMsgLen:], uint64(len(d.msg)))
	dst = append(append(dst, s[:]...), d.head[:d.headLen]...)
	return append(append(dst, d.ctl...), d.msg...)
}

// Restore makes d what the Decoder was that wrote state, which is not kept. A
// state that no Decoder can be in is an error, and d is then unchanged.
func (d *Decoder) Restore(state []byte) error {
	if len(state) == 0 || state[0] != stateVersion {
		return fmt.Errorf("websocket: restore decoder: not a state of version %d", stateVersion)
	}
	if len(state) < stateFixed {
		return errors.New("websocket: restore decoder: state is cut off")
	}
	s, rest := state[:stateFixed], state[stateFixed:]
	headLen, ctlLen := int(s[stateHeadLen]), int(s[stateCtlLen])
	msgLen := binary.BigEndian.Uint64(s[stateMsgLen:])
	if len(rest) < headLen+ctlLen || uint64(len(rest)-headLen-ctlLen) != msgLen || headLen >= maxHeader {
		return errors.New("websocket: restore decoder: lengths do not add up")
	}
	r := Decoder{
		left:       binary.BigEndian.Uint64(s[stateLeft:]),
		frags:      int(binary.BigEndian.Uint64(s[stateFrags:])),
		mask:       [4]byte(s[stateMask:]),
		headLen:    s[stateHeadLen],
		first:      s[stateFirst],
		inFrame:    s[stateFlags]&flagInFrame != 0,
		compressed: s[stateFlags]&flagCompressed != 0,
		op:         Op(s[stateOp]),
		utf8:       utf8State(s[stateUTF8]),
	}
	copy(r.head[:], rest[:headLen])
	r.ctl = append(r.ctl, rest[headLen:headLen+ctlLen]...)
	if !r.possible() || s[stateFlags]&^(flagInFrame|flagCompressed) != 0 {
		return errors.New("websocket: restore decoder: contradictory state")
	}
	r.msg = append(r.msg, rest[headLen+ctlLen:]...)
	if msgLen > 0 && r.op == 0 {
		return errors.New("websocket: restore decoder: payload without a message")
	}
	*d = r
	return nil
}

// possible reports whether bytes from a client could have led to d.
func (d *Decoder) possible() bool {
	switch d.op {
	case Text, Binary:
		if d.frags < 1 {
			return false
		}
	case 0:
		if d.frags != 0 || d.compressed {
			return false
		}
	default:
		return false
	}
	if d.utf8 >= utf8States || d.utf8 != utf8Done && (d.op != Text || d.compressed) {
		return false
	}
	if !d.inFrame {
		var h header
		size, err := h.parse(d.head[:d.headLen], true)
		return size == 0 && err == nil && d.left == 0 && len(d.ctl) == 0
	}
	return d.headLen == 0 && d.left > 0 && d.left>>63 == 0 && d.possibleFrame()
}

// possibleFrame is possible for the frame in progress.
func (d *Decoder) possibleFrame() bool {
	if checkFirst(d.first, true) != nil {
		return false
	}
	op := Op(d.first & opBits)
	if op.control() {
		return uint64(len(d.ctl))+d.left <= maxControl
	}
	return d.op != 0 && len(d.ctl) == 0 && (op == opContinuation || op == d.op)
}
