// Package connid names connections: a random ID, the same for its whole life in
// whichever process, and a shorter number that is part of it. A Source is one
// goroutine's; all else may be called by any.
package connid

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"
)

// ID names a connection: 128 random bits, the same for its whole life, in
// whichever process it lives. It carries no location and no secret; knowing it
// gives no right. Its text form is two decimals, "8237….1942…".
type ID [16]byte

// Source draws IDs. It reads random bytes by the page, so that an accept costs no
// system call. The zero value is ready.
type Source struct {
	page [4096]byte
	left []byte // of page
}

// New draws an ID.
func (s *Source) New() (id ID) {
	if len(s.left) < len(id) {
		_, _ = rand.Read(s.page[:]) // never fails
		s.left = s.page[:]
	}
	s.left = s.left[copy(id[:], s.left):]
	return id
}

// String returns the text form, 3 to 41 bytes.
func (id ID) String() string { return string(id.Append(make([]byte, 0, 41))) }

// Append appends the text form.
func (id ID) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, binary.BigEndian.Uint64(id[:8]), 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, binary.BigEndian.Uint64(id[8:]), 10)
}

// Parse reads the text form. Only the form that String writes is accepted,
// so that one connection has one name.
func Parse(s string) (id ID, ok bool) {
	hi, lo, found := strings.Cut(s, ".")
	if !found || !decimal(hi) || !decimal(lo) {
		return id, false
	}
	a, err1 := strconv.ParseUint(hi, 10, 64)
	b, err2 := strconv.ParseUint(lo, 10, 64)
	binary.BigEndian.PutUint64(id[:8], a)
	binary.BigEndian.PutUint64(id[8:], b)
	return id, err1 == nil && err2 == nil
}

// decimal reports whether s is a number without sign or leading zeros.
func decimal(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Compare orders IDs as numbers: -1, 0 or 1.
func Compare(a, b ID) int { return bytes.Compare(a[:], b[:]) }
