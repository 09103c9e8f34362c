package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// FuzzDecoder feeds a stream whole and in parts: the outcome must be the same.
// It must also be what reference makes of it.
func FuzzDecoder(f *testing.F) {
	for _, r := range rules {
		if len(r.stream) < 64 {
			f.Add(r.stream, uint8(len(r.stream)/2), r.deflate)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8, deflate bool) {
		p := player{deflate: deflate, lim: Limits{MaxMessage: 1 << 12, MaxFragments: 4}}
		whole := p.play(t, stream)
		var cuts []int
		for i := 1 + int(step); i < len(stream); i += 1 + int(step) {
			cuts = append(cuts, i)
		}
		if got := p.play(t, stream, cuts...); !got.equal(whole) {
			t.Fatalf("in parts: %v, whole: %v", got, whole)
		}
		p.move = true
		if got := p.play(t, stream, cuts...); !got.equal(whole) {
			t.Fatalf("moved: %v, whole: %v", got, whole)
		}
		if deflate {
			return // the reference has no extensions
		}
		events, code, done := reference(stream, p.lim)
		if fmt.Sprint(events) != fmt.Sprint(whole.events) || done && code != whole.code {
			t.Fatalf("%v; reference: %q, code %d", whole, events, code)
		}
	})
}

// reference decodes a stream with gobwas/ws's reader and checks, and with
// plain code where it has none. done is false if the stream ends in mid-frame,
// where the Decoder may already know more.
func reference(stream []byte, lim Limits) (events []string, code uint16, done bool) {
	var msg []byte
	var op ws.OpCode
	frags := 0
	r := bytes.NewReader(stream)
	for r.Len() > 0 {
		start := len(stream) - r.Len()
		//lint:ignore SA1019 the reference reader; its input is bounded here
		f, err := ws.ReadFrame(io.LimitReader(r, int64(r.Len())))
		switch {
		case errors.Is(err, ws.ErrHeaderLengthMSB):
			return events, 1002, true
		case err != nil:
			return events, 0, false
		}
		state := ws.StateServerSide
		if op != 0 {
			state |= ws.StateFragmented
		}
		h := f.Header
		header := len(stream) - r.Len() - int(h.Length) - start
		if ws.CheckHeader(h, state) != nil || header != ws.HeaderSize(h) { // the latter: length not in its shortest form
			return events, 1002, true
		}
		f = ws.UnmaskFrameInPlace(f)
		if h.OpCode == ws.OpClose {
			return referenceClose(events, f.Payload)
		}
		if h.OpCode.IsControl() {
			events = append(events, Op(h.OpCode).String()+":"+string(f.Payload))
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		frags++
		msg = append(msg, f.Payload...)
		switch {
		case frags > lim.MaxFragments:
			return events, 1008, true
		case len(msg) > lim.MaxMessage:
			return events, 1009, true
		case op == ws.OpText && !validSoFar(msg, h.Fin):
			return events, 1007, true
		case h.Fin:
			events = append(events, Op(op).String()+":"+string(msg))
			msg, op, frags = nil, 0, 0
		}
	}
	return events, 0, true
}

func referenceClose(events []string, payload []byte) ([]string, uint16, bool) {
	switch len(payload) {
	case 0:
		return append(events, "close:1005:"), 0, true
	case 1:
		return events, 1002, true
	}
	code, reason := ws.StatusCode(payload[0])<<8|ws.StatusCode(payload[1]), string(payload[2:])
	err := ws.CheckCloseFrameData(code, reason)
	if code >= 1012 && code <= 1014 { // registered after RFC 6455; gobwas/ws refuses them
		err = ws.CheckCloseFrameData(1000, reason)
	}
	switch {
	case code >= 5000: // gobwas/ws takes those
		return events, 1002, true
	case err == ws.ErrProtocolInvalidUTF8:
		return events, 1007, true
	case err != nil:
		return events, 1002, true
	}
	return append(events, fmt.Sprintf("close:%d:%s", code, reason)), 0, true
}

// validSoFar reports whether p is UTF-8, or, unless whole, can become it.
func validSoFar(p []byte, whole bool) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return !whole && viable[string(p)]
		}
		p = p[n:]
	}
	return true
}
