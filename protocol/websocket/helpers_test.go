package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

const fin = finBit

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame is a client's frame: first byte, then payload with the shortest
// length, masked byte by byte.
func frame(first byte, payload string) []byte {
	n := len(payload)
	b := []byte{first, maskBit | byte(n)}
	switch {
	case n > 0xffff:
		b = binary.BigEndian.AppendUint64([]byte{first, maskBit | 127}, uint64(n))
	case n > 125:
		b = binary.BigEndian.AppendUint16([]byte{first, maskBit | 126}, uint16(n))
	}
	b = append(b, testMask[:]...)
	for i := range n {
		b = append(b, payload[i]^testMask[i%4])
	}
	return b
}

// head is a client's frame header with a length of the caller's making.
func head(first, second byte, length ...byte) []byte {
	b := append([]byte{first, second}, length...)
	return append(b, testMask[:]...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// outcome is what a Decoder made of a stream.
type outcome struct {
	events []string // "text:payload", "close:1000:reason"
	code   uint16   // of the CloseError, 0 for none
	idle   bool
}

func (o outcome) String() string {
	return fmt.Sprintf("events %.200q, code %d, idle %v", o.events, o.code, o.idle)
}

func (o outcome) equal(p outcome) bool { return o.String() == p.String() }

// player feeds a stream to a Decoder as its owner would.
type player struct {
	lim     Limits
	deflate bool
	move    bool // to another Decoder, by its saved state, after every chunk
	dec     Decoder
	out     outcome
}

// feed gives one chunk, which it destroys as a reused read buffer would be. It
// reports whether the connection goes on.
func (p *player) feed(t testing.TB, chunk []byte) bool {
	t.Helper()
	p.out.idle = false // of a Decoder that is finished nothing is asked
	for b := chunk; ; {
		ev, rest, ok, err := p.dec.Next(b, &p.lim, p.deflate)
		if err != nil {
			var ce *CloseError
			if !errors.As(err, &ce) {
				t.Fatalf("error is no CloseError: %v", err)
			}
			p.out.code = ce.Code
			return false
		}
		if !ok {
			break
		}
		if ev.Op == Close {
			p.out.events = append(p.out.events, fmt.Sprintf("close:%d:%s", ev.Code, ev.Data))
			return false
		}
		p.out.events = append(p.out.events, ev.Op.String()+":"+string(ev.Data))
		b = rest
	}
	for i := range chunk {
		chunk[i] = 0xAA
	}
	p.out.idle = p.dec.Idle()
	if p.out.idle && p.dec.Buffered() != 0 {
		t.Fatalf("idle decoder holds %d bytes", p.dec.Buffered())
	}
	if p.move {
		p.moveOn(t)
	}
	return true
}

// moveOn replaces the Decoder by one restored from its state.
func (p *player) moveOn(t testing.TB) {
	t.Helper()
	state := p.dec.AppendState(nil)
	var next Decoder
	if err := next.Restore(state); err != nil {
		t.Fatalf("restore after %v: %v", p.out, err)
	}
	if again := next.AppendState(nil); !bytes.Equal(again, state) {
		t.Fatalf("state changed by a move:\n% x\n% x", state, again)
	}
	if next.Idle() != p.dec.Idle() {
		t.Fatalf("idle %v became %v", p.dec.Idle(), next.Idle())
	}
	for i := range state { // Restore must have copied
		state[i] = 0xAA
	}
	p.dec = next
}

// play feeds stream in chunks that end at the given offsets and at its end.
func (p player) play(t testing.TB, stream []byte, cuts ...int) outcome {
	t.Helper()
	start := 0
	for _, end := range append(cuts, len(stream)) {
		if !p.feed(t, bytes.Clone(stream[start:end])) {
			break
		}
		start = end
	}
	return p.out
}

// everyByte are the cuts that feed n bytes one at a time.
func everyByte(n int) []int {
	cuts := make([]int, 0, n)
	for i := 1; i < n; i++ {
		cuts = append(cuts, i)
	}
	return cuts
}
