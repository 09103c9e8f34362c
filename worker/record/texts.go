package record

import (
	"encoding/binary"
	"strings"
)

// Texts are what few connections have to remember: query, kept headers, session
// values and so on, each a field of a record with its tag, in one string. They
// are kept as they travel, and one of a few bytes takes a few bytes, where a map
// takes 400. To find one is to walk over those before it, and to change one is to
// write all of them anew: they are meant to be few and short.
type Texts string

// Named reports whether there may be several fields of this tag, which tell
// themselves apart by a name before the value, with a NUL between.
func Named(tag byte) bool { return tag == Header || tag == Value }

// First returns the first of t, which is not empty, and how many bytes it takes.
func (t Texts) First() (tag byte, body string, n int) {
	size, w := binary.Uvarint([]byte(t[1:min(len(t), 1+binary.MaxVarintLen64)]))
	n = 1 + w + int(size)
	return t[0], string(t[1+w : n]), n
}

// Find returns the value of a field and where the field is; where there is none,
// at and end are the end of t.
func (t Texts) Find(tag byte, name string) (value string, at, end int) {
	for end < len(t) {
		is, body, n := t[end:].First()
		at, end = end, end+n
		switch {
		case is != tag:
		case !Named(tag):
			return body, at, end
		case len(body) > len(name) && body[len(name)] == 0 && body[:len(name)] == name:
			return body[len(name)+1:], at, end
		}
	}
	return "", end, end
}

// With returns t with that value of the field in place of the one before; ""
// takes the field away.
func (t Texts) With(tag byte, name, value string) Texts {
	old, at, end := t.Find(tag, name)
	if old == value {
		return t
	}
	if value == "" {
		return Texts(strings.Clone(string(t[:at] + t[end:]))) // not a part of the old one
	}
	if Named(tag) {
		name += "\x00"
	}
	var head [1 + binary.MaxVarintLen64]byte
	start := binary.AppendUvarint(append(head[:0], tag), uint64(len(name)+len(value)))
	var b strings.Builder
	b.Grow(at + len(t) - end + len(start) + len(name) + len(value))
	b.WriteString(string(t[:at]))
	b.WriteString(string(t[end:]))
	b.Write(start)
	b.WriteString(name)
	b.WriteString(value)
	return Texts(b.String())
}

// Without returns t without the fields of a tag.
func (t Texts) Without(tag byte) Texts {
	var b strings.Builder
	gone := false
	for rest := t; len(rest) > 0; {
		is, _, n := rest.First()
		if gone = gone || is == tag; is != tag {
			b.WriteString(string(rest[:n]))
		}
		rest = rest[n:]
	}
	if !gone {
		return t
	}
	return Texts(b.String())
}

// Size returns the bytes of all names and values of a tag that has names.
func (t Texts) Size(tag byte) (n int) {
	for len(t) > 0 {
		is, body, end := t.First()
		if is == tag {
			n += len(body) - 1 // the NUL
		}
		t = t[end:]
	}
	return n
}

// Weight returns what the Texts weigh as fields of a record.
func (t Texts) Weight() (n int) {
	for len(t) > 0 {
		_, _, size := t.First()
		n += FieldWeight + size
		t = t[size:]
	}
	return n
}
