// Package sse is the format of server-sent events (WHATWG HTML, section 9.2): an
// event is some lines and an empty one.
package sse

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Event is one event of a stream.
type Event struct {
	// ID is what the client sends as Last-Event-ID when it comes back; "" leaves
	// the one before. One with a line's end or a NUL is left out, since no client
	// would remember it as it is.
	ID string
	// Type is what the page listens to; "" is "message". One with a line's end is
	// left out.
	Type string
	// Retry is how long the client waits before it comes back, from now on; 0
	// leaves it. It is told in whole milliseconds.
	Retry time.Duration
	// Data is what the page gets, with "\n" for each end of a line. nil: no event
	// happens there, the client only takes note of ID and Retry.
	Data []byte
}

// Append appends e.
func Append(dst []byte, e Event) []byte {
	start := len(dst)
	if e.Type != "" && !strings.ContainsAny(e.Type, "\r\n") {
		dst = line(dst, "event: ", e.Type)
	}
	if e.ID != "" && !strings.ContainsAny(e.ID, "\r\n\x00") {
		dst = line(dst, "id: ", e.ID)
	}
	if ms := e.Retry.Milliseconds(); ms > 0 {
		dst = append(strconv.AppendInt(append(dst, "retry: "...), ms, 10), '\n')
	}
	if e.Data != nil {
		dst = appendLines(dst, e.Data)
	}
	if len(dst) == start {
		return dst
	}
	return append(dst, '\n')
}

// AppendData appends an event that has data only. Without any it is one of "".
func AppendData(dst, data []byte) []byte { return append(appendLines(dst, data), '\n') }

// AppendBinary appends an event of the type "binary" with data in base64, since a
// stream is text.
func AppendBinary(dst, data []byte) []byte {
	dst = append(dst, "event: binary\ndata: "...)
	return append(base64.StdEncoding.AppendEncode(dst, data), "\n\n"...)
}

// Comment is a line that clients skip.
const Comment = ":\n"

func line(dst []byte, field, value string) []byte {
	return append(append(append(dst, field...), value...), '\n')
}

// appendLines appends a line of data for each line of p, which "\n", "\r" and
// "\r\n" end.
func appendLines(dst, p []byte) []byte {
	for {
		dst = append(dst, "data: "...)
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			return append(append(dst, p...), '\n')
		}
		dst = append(append(dst, p[:i]...), '\n')
		if p[i] == '\r' && i+1 < len(p) && p[i+1] == '\n' {
			i++
		}
		p = p[i+1:]
	}
}
