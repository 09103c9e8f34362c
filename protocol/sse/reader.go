package sse

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// Reader reads a stream as a browser does. It belongs to one goroutine.
type Reader struct {
	LastID   string // what the client would come back with
	Comments int    // that have come so far

	r     *bufio.Reader
	limit int
	begun bool // the place of a byte order mark is behind us
	cr    bool // the line before has ended with "\r": a "\n" belongs to it
}

// NewReader returns a Reader of events of up to limit bytes each.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReader(r), limit: limit}
}

// ErrTooLarge is returned for an event over the limit.
var ErrTooLarge = errors.New("sse: event is larger than the limit")

// Next returns the next event; one with nil Data has an id or a time to wait
// alone. What is not finished when the stream ends is dropped, as the
// specification wants it.
func (d *Reader) Next() (e Event, err error) {
	known, size := false, 0 // fields that mean something; bytes
	for {
		text, err := d.line(d.limit - size)
		switch {
		case err != nil:
			return Event{}, err
		case text != "":
			size += len(text)
			known = d.field(&e, text) || known
		case known:
			return e, nil
		default: // comments, or nothing
			e, size = Event{}, 0
		}
	}
}

// field takes one line, and reports whether it means something.
func (d *Reader) field(e *Event, text string) bool {
	name, value, found := strings.Cut(text, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case name == "" && found:
		d.Comments++
		return false
	case name == "data" && e.Data == nil:
		e.Data = append([]byte{}, value...)
	case name == "data":
		e.Data = append(append(e.Data, '\n'), value...)
	case name == "event":
		e.Type = value
	case name == "id" && !strings.Contains(value, "\x00"):
		e.ID, d.LastID = value, value
	case name == "retry":
		ms, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return false
		}
		e.Retry = time.Duration(ms) * time.Millisecond
	default:
		return false
	}
	return true
}

// line returns the next line of up to limit bytes, without its end.
func (d *Reader) line(limit int) (string, error) {
	if !d.begun {
		d.begun = true
		if mark, err := d.r.Peek(3); err == nil && string(mark) == "\ufeff" {
			_, _ = d.r.Discard(3)
		}
	}
	var b []byte
	for {
		c, err := d.r.ReadByte()
		if err != nil {
			return "", err
		}
		after := d.cr
		d.cr = c == '\r'
		switch {
		case c == '\n' && after:
		case c == '\n', c == '\r':
			return string(b), nil
		case len(b) >= limit:
			return "", ErrTooLarge
		default:
			b = append(b, c)
		}
	}
}
