package http

import (
	"bytes"
	"net/http"
)

// lines cuts lines off the beginning of bytes that come in pieces, and looks at
// each byte once, however small the pieces are.
type lines struct {
	seen   int // bytes of the unfinished line that were looked at: no "\n" in them
	looked int // bytes in all, for the tests that hold the work to what has come
}

// cut returns the first line of b without its CRLF, and its length with it, 0
// when b has no whole line. b begins with the bytes of the call before, unless
// that returned a line.
func (l *lines) cut(b []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(b[l.seen:], '\n')
	if i < 0 {
		l.looked += len(b) - l.seen
		l.seen = len(b)
		return nil, 0, nil
	}
	l.looked += i + 1
	n, l.seen = l.seen+i+1, 0
	if n == 1 || b[n-2] != '\r' {
		return nil, 0, fail(http.StatusBadRequest, "a line does not end in CRLF")
	}
	return b[:n-2], n, nil
}
