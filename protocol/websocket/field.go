package websocket

import (
	"bytes"
	"iter"
)

// Character classes of RFC 9110: what may stand in a token (field names,
// methods, list members), in a field's value, in a request's target and in a
// Host.
const (
	charToken = 1 << iota
	charValue
	charTarget
	charHost
)

var charClass = func() (class [256]byte) {
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			class[c] |= charValue
		}
		if c > ' ' && c < 0x7f && c != '#' {
			class[c] |= charTarget
		}
	}
	const alnum = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for _, c := range alnum + "!#$%&'*+-.^_`|~" {
		class[c] |= charToken
	}
	for _, c := range alnum + "!$%&'()*+,-.:;=[]_~" {
		class[c] |= charHost
	}
	return class
}()

// all reports whether every byte of b is of the class.
func all[T []byte | string](b T, class byte) bool {
	for i := range len(b) {
		if charClass[b[i]]&class == 0 {
			return false
		}
	}
	return true
}

// isToken reports whether b is a token of RFC 9110.
func isToken[T []byte | string](b T) bool { return len(b) > 0 && all(b, charToken) }

// IsToken reports whether s may be the name of a subprotocol.
func IsToken(s string) bool { return isToken(s) }

// equalFold compares a token of the peer with lower, which is in lower case.
// Unlike bytes.EqualFold it folds ASCII only: "ſ" is no "s".
func equalFold[T []byte | string](b T, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// cut is bytes.Cut for a separator of one byte, which is faster.
func cut(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

// trim cuts spaces and tabs from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'); n-- {
		b = b[:n-1]
	}
	return b
}

// elements yields the members of a comma-separated list, without the empty
// ones, which a recipient must ignore.
func elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(list) > 0 {
			var e []byte
			e, list, _ = cut(list, ',')
			if e = trim(e); len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}

// hasElement reports whether a list has the member lower, in any case.
func hasElement(list []byte, lower string) bool {
	for e := range elements(list) {
		if equalFold(e, lower) {
			return true
		}
	}
	return false
}

// isTokenList reports whether list is 1#token: at least one member, nothing
// but tokens.
func isTokenList(list []byte) bool {
	any := false
	for e := range elements(list) {
		if !isToken(e) {
			return false
		}
		any = true
	}
	return any
}
