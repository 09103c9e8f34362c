package websocket

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// MaxControl is the most bytes that a Ping or Pong may carry; a Close carries
// two for its code and MaxReason for its reason.
const (
	MaxControl = maxControl
	MaxReason  = maxControl - 2
)

// HeaderLen returns the bytes that AppendFrame puts before n bytes of payload.
func HeaderLen(n int) int {
	switch {
	case n < 126:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

// AppendFrame appends payload as one unmasked frame to dst. The payload of a
// Text must be UTF-8. It panics for a Ping or Pong over MaxControl bytes.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	if op.control() && len(payload) > MaxControl {
		panic("websocket: payload of a control frame is over 125 bytes")
	}
	dst = appendHeader(dst, finBit|byte(op), len(payload))
	return append(dst, payload...)
}

// AppendClose appends a Close frame. A reason that is too long is cut to the
// last whole character within MaxReason bytes. Code 0, and the codes that
// exist only inside a program (CloseNoStatus, CloseAbnormal, 1015), give a
// frame without code and reason. Of others MayClose says whether a client takes them.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	switch code {
	case 0, CloseNoStatus, CloseAbnormal, closeNoTLS:
		return appendHeader(dst, finBit|byte(Close), 0)
	}
	reason = cutReason(reason)
	dst = appendHeader(dst, finBit|byte(Close), 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// cutReason makes s valid in a Close frame.
func cutReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReason {
		return s
	}
	n := MaxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func appendHeader(dst []byte, first byte, n int) []byte {
	switch HeaderLen(n) {
	case 2:
		return append(dst, first, byte(n))
	case 4:
		return append(dst, first, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}
