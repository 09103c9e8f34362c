package http

import (
	"bytes"
	"net/http"
)

// Head returns the length of the header block at the beginning of buf, its
// empty line included, or 0 when more bytes are needed. maxBytes and maxLines
// bound the block and its header lines; 0 is no limit. Errors are *Error: 431
// for a limit, 400 for what two readers could take for different requests: a
// line that does not end in CRLF or goes on in the next one, a name that is no
// token, a control character. A TLS handshake is ErrTLS.
func Head(buf []byte, maxBytes, maxLines int) (int, error) {
	if beginsTLS(buf) {
		return 0, ErrTLS
	}
	for start, lines := 0, 0; ; lines++ {
		line, n, err := cutLine(buf[start:])
		if start += n; n == 0 {
			start = len(buf) // of an incomplete line all counts
		}
		switch {
		case err != nil:
			return 0, err
		case maxBytes > 0 && start > maxBytes:
			return 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header is over max_header")
		case n == 0:
			return 0, nil
		case lines == 0 && !validRequestLine(line):
			return 0, fail(http.StatusBadRequest, "the request line is empty or has a control character")
		case len(line) == 0:
			return start, nil
		case maxLines > 0 && lines > maxLines:
			return 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header has more lines than max_headers")
		case lines > 0 && !validField(line):
			return 0, fail(http.StatusBadRequest, "a header line is not Name: value in permitted characters")
		}
	}
}

// cutLine returns the first line of b without its CRLF, and its length with
// it, 0 when b has no whole line.
func cutLine(b []byte) (line []byte, n int, err error) {
	n = bytes.IndexByte(b, '\n') + 1
	switch {
	case n == 0:
		return nil, 0, nil
	case n == 1 || b[n-2] != '\r':
		return nil, 0, fail(http.StatusBadRequest, "a line does not end in CRLF")
	}
	return b[:n-2], n, nil
}

func validRequestLine(line []byte) bool {
	return len(line) > 0 && validValue(line) && bytes.IndexByte(line, '\t') < 0
}

// validField reports whether line is "Name: value". A line that continues the
// one before it (obs-fold) has no name and is refused with the rest.
func validField(line []byte) bool {
	name, value, colon := bytes.Cut(line, []byte(":"))
	return colon && validName(name) && validValue(value)
}

// validName reports whether name is a token (RFC 9110, section 5.6.2).
func validName[T string | []byte](name T) bool {
	for i := range len(name) {
		if !isToken[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// validValue reports whether value has no control character but tabs.
func validValue[T string | []byte](value T) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var (
	isToken = class(alphanumeric + "!#$%&'*+-.^_`|~")
	isHost  = class(alphanumeric + "!$%&'()*+,-.:;=[]_~")
)

func class(members string) (is [256]bool) {
	for i := range len(members) {
		is[members[i]] = true
	}
	return is
}

func validHost(host string) bool {
	for i := range len(host) {
		if !isHost[host[i]] {
			return false
		}
	}
	return len(host) > 0
}
