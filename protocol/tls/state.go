package tls

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// ErrState is Restore's.
var ErrState = errors.New("TLS state is damaged")

// stateVersion begins each state.
const stateVersion = 1

// MaxState is the longest state.
const MaxState = 3 + 2*(9+maxMaterial)

// Append appends the state of s, which is secret: 85 bytes for TLS 1.3 with
// AES-128, 117 with AES-256, 61 to 109 for TLS 1.2.
func (s *Session) Append(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = binary.BigEndian.AppendUint16(dst, s.in.kind().id)
	for _, h := range []*half{&s.in, s.out()} {
		dst = binary.BigEndian.AppendUint64(append(dst, h.flags), uint64(h.seq))
		dst = append(dst, h.material()...)
	}
	return dst
}

// Restore undoes Append. It refuses what no Session has written.
func Restore(b []byte) (*Session, error) {
	if len(b) < 3 || b[0] != stateVersion {
		return nil, ErrState
	}
	i := indexOf(binary.BigEndian.Uint16(b[1:]))
	if i < 0 {
		return nil, ErrState
	}
	n := 9 + suites[i].material()
	if b = b[3:]; len(b) != 2*n {
		return nil, ErrState
	}
	s := newSession(i)
	if !s.in.restore(b[:n]) || !s.out().restore(b[n:]) || !s.plausible() {
		return nil, ErrState
	}
	return s, nil
}

func (h *half) restore(b []byte) bool {
	seq := binary.BigEndian.Uint64(b[1:])
	h.flags, h.seq = b[0], uint32(seq)
	copy(h.material(), b[9:])
	return seq == uint64(h.seq)
}

// plausible reports whether all that does not depend on chance is as a Session
// can have it.
func (s *Session) plausible() bool {
	in, out, k := &s.in, s.out(), s.in.kind()
	never := make([]byte, k.material()) // a secret
	least := uint32(0)
	if k.tls12 {
		least = 1 // Finished was 0
		if in.flags&flagAsked != 0 || out.flags&(flagOwes|flagAsks) != 0 {
			return false
		}
	}
	return in.flags&idleMask <= maxIdle && in.flags&^(flagShut|flagAsked|flagBye|idleMask) == 0 && in.flags&(flagShut|flagBye) != flagBye &&
		out.flags&^(flagShut|flagOwes|flagAsks) == 0 && out.flags&(flagOwes|flagAsks) != flagAsks &&
		in.seq >= least && out.seq >= least && out.seq < lastSeq-wornSoon/2 &&
		!bytes.Equal(in.material(), never) && !bytes.Equal(out.material(), never) && !bytes.Equal(in.material(), out.material())
}
