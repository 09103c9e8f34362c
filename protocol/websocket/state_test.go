package websocket

import (
	"bytes"
	"fmt"
	"testing"
)

// midState is a Decoder with everything in it: two fragments of text, the
// first byte of a character, half a ping between them.
func midState(t testing.TB) []byte {
	var d Decoder
	stream := join(frame(1, "ab"), frame(0, "c\xe2"), frame(fin|9, "ping"))
	if _, _, ok, err := d.Next(stream[:len(stream)-2], new(Limits), false); ok || err != nil {
		t.Fatal(ok, err)
	}
	return d.AppendState(nil)
}

// patch returns state with bytes replaced: offset, value, offset, value, ...
func patch(state []byte, at ...int) []byte {
	state = bytes.Clone(state)
	for i := 0; i < len(at); i += 2 {
		state[at[i]] = byte(at[i+1])
	}
	return state
}

// TestRestoreRefuses: a state that no client's bytes lead to, and any state
// that is cut off or too long, is an error that leaves the Decoder as it was.
func TestRestoreRefuses(t *testing.T) {
	ping := midState(t)
	var d Decoder
	if err := d.Restore(ping); err != nil {
		t.Fatal(err)
	}
	// The same before the character and the ping: half a text frame.
	text := player{}
	text.feed(t, frame(1, "ab")[:7])
	data := text.dec.AppendState(nil)
	if err := new(Decoder).Restore(data); err != nil {
		t.Fatal(err)
	}
	const left, frags, msgLen = stateLeft + 7, stateFrags + 7, stateMsgLen + 7
	noFrame := []int{stateFlags, 0, stateFirst, 0, left, 0}
	bad := map[string][]byte{
		"empty":                         nil,
		"too long":                      append(bytes.Clone(ping), 0),
		"version":                       patch(ping, 0, stateVersion+1),
		"unknown flag":                  patch(ping, stateFlags, flagInFrame|4),
		"compressed, in mid-character":  patch(ping, stateFlags, flagInFrame|flagCompressed),
		"no frame, but bytes to come":   patch(data, stateFlags, 0),
		"no frame, but a control frame": patch(ping, noFrame...),
		"message opcode":                patch(ping, stateOp, int(Ping)),
		"no message":                    patch(ping, stateOp, 0),
		"payload without a message":     patch(data, append(noFrame, stateOp, 0, frags, 0)...),
		"compressed nothing":            patch(new(Decoder).AppendState(nil), stateFlags, flagCompressed),
		"binary in mid-character":       patch(ping, stateOp, int(Binary)),
		"UTF-8 state":                   patch(ping, stateUTF8, int(utf8States)),
		"reserved opcode":               patch(data, stateFirst, 3),
		"fragmented ping":               patch(ping, stateFirst, 9),
		"binary frame in a text":        patch(data, stateFirst, 2),
		"data frame with control bytes": patch(ping, stateFirst, 0),
		"header and frame":              patch(data, stateHeadLen, 1, msgLen, 0),
		"header that is complete":       append(patch(new(Decoder).AppendState(nil), stateHeadLen, 6), frame(fin|1, "")...),
		"header over 14 bytes":          append(patch(new(Decoder).AppendState(nil), stateHeadLen, 20), make([]byte, 20)...),
		"control bytes that are not":    patch(ping, stateCtlLen, 3),
		"control frame over 125":        patch(ping, left, 124),
		"frame that has ended":          patch(data, left, 0),
		"2^63 to come":                  patch(data, stateLeft, 0x80),
		"no fragments":                  patch(ping, frags, 0),
		"negative fragments":            patch(ping, stateFrags, 0xff),
		"message length":                patch(ping, stateMsgLen, 0xff),
	}
	for n := range ping {
		bad[fmt.Sprint("cut to ", n)] = ping[:n]
	}
	for name, state := range bad {
		if err := d.Restore(state); err == nil {
			t.Errorf("%s: restored from % x", name, state)
		}
		if got := d.AppendState(nil); !bytes.Equal(got, ping) {
			t.Fatalf("%s: a refused state changed the decoder", name)
		}
	}
}

// TestRestoreHeader: what is kept of a header is checked as if it had just
// arrived.
func TestRestoreHeader(t *testing.T) {
	var d Decoder
	if _, _, _, err := d.Next(head(fin|1, maskBit|127, 0, 0), new(Limits), false); err != nil {
		t.Fatal(err)
	}
	state := d.AppendState(nil)
	if err := d.Restore(state); err != nil {
		t.Fatal(err)
	}
	state[stateFixed+1] &^= maskBit
	if err := d.Restore(state); err == nil {
		t.Fatal("restored an unmasked header")
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(midState(f), frame(0, "rest"))
	f.Add(new(Decoder).AppendState(nil), frame(fin|1, "x"))
	f.Fuzz(func(t *testing.T, state, more []byte) {
		var d Decoder
		if d.Restore(state) != nil {
			if !d.Idle() || d.Buffered() != 0 {
				t.Fatal("a refused state changed the decoder")
			}
			return
		}
		p := player{dec: d, deflate: true, move: true, lim: Limits{MaxMessage: 1 << 16}}
		p.moveOn(t)
		p.play(t, more)
	})
}
