package websocket

import (
	"bytes"
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

// TestRestoreRefuses: a state that no client's bytes lead to, and any state
// that is cut off or too long, is an error that leaves the Decoder as it was.
func TestRestoreRefuses(t *testing.T) {
	good := midState(t)
	var d Decoder
	if err := d.Restore(good); err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{"empty": nil, "too long": append(bytes.Clone(good), 0)}
	for n := range good {
		bad["cut to "+string(rune('0'+n))] = good[:n]
	}
	set := func(name string, at int, values ...byte) {
		s := bytes.Clone(good)
		copy(s[at:], values)
		bad[name] = s
	}
	set("version", 0, stateVersion+1)
	set("unknown flag", stateFlags, flagInFrame|4)
	set("compressed, in mid-character", stateFlags, flagInFrame|flagCompressed)
	set("no frame, but bytes to come", stateFlags, 0)
	set("message opcode", stateOp, byte(Ping))
	set("no message", stateOp, 0)
	set("binary in mid-character", stateOp, byte(Binary))
	set("UTF-8 state", stateUTF8, byte(utf8States))
	set("reserved opcode", stateFirst, fin|3)
	set("fragmented ping", stateFirst, 9)
	set("header and frame", stateHeadLen, 1)
	set("lengths", stateCtlLen, 3)
	set("control frame over 125", stateLeft, 0, 0, 0, 0, 0, 0, 0, 124)
	set("frame that has ended", stateLeft, 0, 0, 0, 0, 0, 0, 0, 0)
	set("2^63 to come", stateLeft, 0x80)
	set("no fragments", stateFrags, 0, 0, 0, 0, 0, 0, 0, 0)
	set("negative fragments", stateFrags, 0xff)
	set("message length", stateMsgLen, 0xff)
	for name, state := range bad {
		if err := d.Restore(state); err == nil {
			t.Errorf("%s: restored from % x", name, state)
		}
		if got := d.AppendState(nil); !bytes.Equal(got, good) {
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
