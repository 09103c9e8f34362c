package websocket

import (
	"testing"
	"unicode/utf8"
)

// viable holds every proper beginning of a character, from the encoder's side.
var viable = func() map[string]bool {
	m := map[string]bool{"": true}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		for b := []byte(string(r)); len(b) > 1; {
			b = b[:len(b)-1]
			m[string(b)] = true
		}
	}
	return m
}()

// firstBad returns the index of the byte after which nothing can make s valid
// UTF-8, or -1; complete says whether s is valid as it is.
func firstBad(s []byte) (bad int, complete bool) {
	start := 0
	for i := range s {
		switch part := s[start : i+1]; {
		case utf8.Valid(part):
			start = i + 1
		case !viable[string(part)]:
			return i, false
		}
	}
	return -1, start == len(s)
}

// TestUTF8Exhaustive runs every sequence of four bytes from both sides of
// every border of the encoding, whole and byte by byte.
func TestUTF8Exhaustive(t *testing.T) {
	borders := []byte{0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
		0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff}
	var s [4]byte
	for _, s[0] = range borders {
		for _, s[1] = range borders {
			for _, s[2] = range borders {
				for _, s[3] = range borders {
					checkUTF8(t, s[:])
				}
			}
		}
	}
}

func checkUTF8(t *testing.T, s []byte) {
	t.Helper()
	bad, complete := firstBad(s)
	state, ok := utf8Done.feed(s)
	if ok != (bad < 0) || ok && (state == utf8Done) != complete {
		t.Fatalf("% x: ok %v, state %d; want bad at %d, complete %v", s, ok, state, bad, complete)
	}
	state = utf8Done
	for i := range s {
		if state, ok = state.feed(s[i : i+1]); !ok {
			if i != bad {
				t.Fatalf("% x: refused at %d, want %d", s, i, bad)
			}
			return
		}
	}
	if bad >= 0 || (state == utf8Done) != complete {
		t.Fatalf("% x: accepted in state %d; want bad at %d, complete %v", s, state, bad, complete)
	}
}

// TestUTF8Early puts each bad sequence at each position of a long frame that
// never ends, and of a fragmented one: the byte that spoils it is the byte
// that closes the connection.
func TestUTF8Early(t *testing.T) {
	bad := []string{"\x80", "\xff", "\xc0", "\xc1", "\xf5", "\xc2a", "\xe0\x9f", "\xe2\x82a", "\xed\xa0", "\xf0\x8f",
		"\xf0\x9f\x98a", "\xf4\x90"}
	for _, b := range bad {
		for at := range 40 {
			text := ("aä€😀zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")[:at]
			if !utf8.ValidString(text) {
				continue
			}
			text += b
			long := append(head(fin|1, maskBit|126, 0x40, 0), frame(fin|1, text)[6:]...)
			var parts []byte
			for i := range len(text) {
				first := byte(0)
				if i == 0 {
					first = 1
				}
				parts = append(parts, frame(first, text[i:i+1])...)
			}
			for name, stream := range map[string][]byte{"one frame": long, "fragments": parts} {
				p := player{}
				for i := range stream {
					goesOn := p.feed(t, []byte{stream[i]})
					if last := i == len(stream)-1; goesOn == last || last && p.out.code != 1007 {
						t.Fatalf("%s: %q: byte %d of %d: goes on %v, %v", name, text, i, len(stream), goesOn, p.out)
					}
				}
			}
		}
	}
}
