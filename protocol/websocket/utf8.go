package websocket

import "unicode/utf8"

// utf8State is how far a UTF-8 stream has come into a character. The zero
// value is: between two characters.
type utf8State uint8

const (
	utf8Done  utf8State = iota
	utf8Tail1           // one byte 80..BF to come
	utf8Tail2           // two
	utf8Tail3           // three
	utf8E0              // second byte must be A0..BF: no overlong form
	utf8ED              // second byte must be 80..9F: no surrogate
	utf8F0              // second byte must be 90..BF: no overlong form
	utf8F4              // second byte must be 80..8F: nothing above U+10FFFF
	utf8States
)

// feed goes on with p, which follows what was fed before. ok is false as soon
// as no continuation could make the whole valid.
func (s utf8State) feed(p []byte) (next utf8State, ok bool) {
	for s != utf8Done && len(p) > 0 {
		if s, ok = s.step(p[0]); !ok {
			return s, false
		}
		p = p[1:]
	}
	cut := len(p) - unfinished(p)
	if !utf8.Valid(p[:cut]) { // many bytes at a time
		return utf8Done, false
	}
	for _, b := range p[cut:] {
		if s, ok = s.step(b); !ok {
			return s, false
		}
	}
	return s, true
}

// unfinished returns how many bytes at the end of p, at most 3, begin a
// character that p does not complete.
func unfinished(p []byte) int {
	for n := 1; n <= min(3, len(p)); n++ {
		switch b := p[len(p)-n]; {
		case b < 0x80:
			return 0
		case b >= 0xf0:
			return n
		case b >= 0xe0 && n < 3, b >= 0xc0 && n < 2:
			return n
		case b >= 0xc0:
			return 0
		}
	}
	return 0
}

// step takes one byte (the table of well-formed sequences, Unicode 3.9).
func (s utf8State) step(b byte) (next utf8State, ok bool) {
	switch s {
	case utf8Done:
		return firstByte(b)
	case utf8E0:
		return utf8Tail1, b >= 0xa0 && b <= 0xbf
	case utf8ED:
		return utf8Tail1, b >= 0x80 && b <= 0x9f
	case utf8F0:
		return utf8Tail2, b >= 0x90 && b <= 0xbf
	case utf8F4:
		return utf8Tail2, b >= 0x80 && b <= 0x8f
	}
	return s - 1, b >= 0x80 && b <= 0xbf // Tail3, Tail2, Tail1, Done
}

func firstByte(b byte) (next utf8State, ok bool) {
	switch {
	case b < 0x80:
		return utf8Done, true
	case b < 0xc2: // a continuation, or the start of an overlong form
		return utf8Done, false
	case b < 0xe0:
		return utf8Tail1, true
	case b == 0xe0:
		return utf8E0, true
	case b == 0xed:
		return utf8ED, true
	case b < 0xf0:
		return utf8Tail2, true
	case b == 0xf0:
		return utf8F0, true
	case b < 0xf4:
		return utf8Tail3, true
	case b == 0xf4:
		return utf8F4, true
	}
	return utf8Done, false
}
