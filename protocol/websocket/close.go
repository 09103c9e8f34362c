package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The close codes that this package uses or that its owner is likely to
// (RFC 6455, section 7.4.1, and the IANA registry).
const (
	CloseNormal         uint16 = 1000
	CloseGoingAway      uint16 = 1001
	CloseProtocolError  uint16 = 1002
	CloseNoStatus       uint16 = 1005 // never sent: the peer's Close had no code
	CloseAbnormal       uint16 = 1006 // never sent: the connection ended without a Close
	CloseInvalidPayload uint16 = 1007
	ClosePolicy         uint16 = 1008
	CloseTooBig         uint16 = 1009
	CloseInternal       uint16 = 1011
	CloseRestart        uint16 = 1012
	CloseTryLater       uint16 = 1013

	closeNoTLS = 1015 // never sent: the TLS handshake failed
)

// CloseError says why a connection must be failed: send a Close frame with
// Code and Reason, then close it. A Decoder that returned one is finished.
type CloseError struct {
	Code   uint16
	Reason string // fits a Close frame; holds no byte of the peer's
}

// Error names the code and the broken rule.
func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket: close %d: %s", e.Code, e.Reason)
}

func protocolError(reason string) *CloseError {
	return &CloseError{Code: CloseProtocolError, Reason: reason}
}

// One value per rule: failing a connection allocates nothing.
var (
	errReservedBits   = protocolError("reserved bit set")
	errReservedOp     = protocolError("reserved opcode")
	errUnmasked       = protocolError("frame is not masked")
	errFragmentedCtl  = protocolError("fragmented control frame")
	errLongCtl        = protocolError("control frame over 125 bytes")
	errLengthEncoding = protocolError("length is not in its shortest form")
	errLengthRange    = protocolError("length of 2^63 or more")
	errNoMessage      = protocolError("continuation without a message")
	errInMessage      = protocolError("new message inside a fragmented one")
	errCloseLength    = protocolError("close frame of one byte")
	errCloseCode      = protocolError("close code must not be sent")

	errTextUTF8   = &CloseError{Code: CloseInvalidPayload, Reason: "text is not UTF-8"}
	errReasonUTF8 = &CloseError{Code: CloseInvalidPayload, Reason: "close reason is not UTF-8"}
	errInflate    = &CloseError{Code: CloseInvalidPayload, Reason: "compressed data is broken"}
	errFragments  = &CloseError{Code: ClosePolicy, Reason: "too many fragments"}
	errTooBig     = &CloseError{Code: CloseTooBig, Reason: "message too big"}
)

// closeEvent reads the payload of a Close frame.
func closeEvent(payload []byte) (Event, error) {
	switch len(payload) {
	case 0:
		return Event{Op: Close, Code: CloseNoStatus}, nil
	case 1:
		return Event{}, errCloseLength
	}
	code, reason := binary.BigEndian.Uint16(payload), payload[2:]
	if !validCloseCode(code) {
		return Event{}, errCloseCode
	}
	if !utf8.Valid(reason) {
		return Event{}, errReasonUTF8
	}
	return Event{Op: Close, Code: code, Data: reason}, nil
}

// MayClose reports whether AppendClose takes code as it is: one that may stand in a
// Close frame, or one of those for a frame without.
func MayClose(code int) bool {
	switch code {
	case 0, int(CloseNoStatus), int(CloseAbnormal), closeNoTLS:
		return true
	}
	return code > 0 && code <= 1<<16-1 && validCloseCode(uint16(code))
}

// validCloseCode reports whether code may stand in a Close frame: the
// registered ones that are not for local use, and the ranges for libraries
// (3000) and applications (4000).
func validCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}
