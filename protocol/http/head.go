package http

import (
	"bytes"
	"net/http"
)

// head is a header block on its way.
type head struct {
	lines
	n      int // bytes of its whole lines
	fields int // of these, those behind the request line
	blank  int // empty lines before it
}

// maxBlank is how many empty lines may stand before a request (RFC 9112, section
// 2.2): some clients send one behind a body.
const maxBlank = 4

// take returns the length of the header block in b, its empty line included, or
// 0 when more bytes are needed. It stands behind skip bytes that are of no
// request. b begins with the bytes of the call before, less what that skipped.
// Errors are 431 for a limit, 400 for what two readers could take for different
// requests: a line that does not end in CRLF or goes on in the next one, a name
// that is no token, a control character. A TLS handshake is ErrTLS.
func (h *head) take(b []byte, lim *Limits) (skip, n int, err error) {
	if beginsTLS(b) {
		return 0, 0, ErrTLS
	}
	for {
		line, n, err := h.cut(b[skip+h.n:])
		size := h.n + n
		if n == 0 {
			size = len(b) - skip // of an incomplete line all counts
		}
		switch {
		case err != nil:
			return skip, 0, err
		case lim.MaxHeader > 0 && size > lim.MaxHeader:
			return skip, 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header is over max_header")
		case n == 0:
			return skip, 0, nil
		case h.n == 0 && len(line) == 0:
			skip += n
			if h.blank++; h.blank > maxBlank {
				return skip, 0, fail(http.StatusBadRequest, "there are empty lines before the request")
			}
			continue
		}
		if h.n = size; len(line) == 0 {
			return skip, size, nil
		}
		if err := h.line(line, size == n, lim.MaxHeaders); err != nil {
			return skip, 0, err
		}
	}
}

// line checks a line.
func (h *head) line(line []byte, first bool, most int) error {
	if first && !validRequestLine(line) {
		return fail(http.StatusBadRequest, "the request line is not METHOD target HTTP/d.d in permitted characters")
	}
	if first {
		return nil
	}
	h.fields++
	switch {
	case most > 0 && h.fields > most:
		return fail(http.StatusRequestHeaderFieldsTooLarge, "header has more lines than max_headers")
	case !validField(line):
		return fail(http.StatusBadRequest, "a header line is not Name: value in permitted characters")
	}
	return nil
}

// validRequestLine reports whether line is "METHOD target HTTP/d.d" (RFC 9112,
// section 3). What the version must be, and what a target's parts, is for others
// to say.
func validRequestLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	return validName(method) && validTarget(string(method), target) &&
		len(version) == 8 && string(version[:5]) == "HTTP/" && isDigit(version[5]) && version[6] == '.' && isDigit(version[7])
}

// validTarget reports whether target has one of the four forms: a path with a
// query, a URL of a web server, for CONNECT host and port, for OPTIONS "*".
func validTarget(method string, target []byte) bool {
	for _, c := range target {
		if !isTarget[c] {
			return false
		}
	}
	switch {
	case len(target) == 0:
		return false
	case method == http.MethodConnect:
		return target[0] != '/' && bytes.IndexByte(target, ':') > 0
	case target[0] == '/':
		return true
	case string(target) == "*":
		return method == http.MethodOptions || method == "PRI" // as HTTP/2 begins, which is answered
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	return ok && len(rest) > 0 && rest[0] != '/' && (bytes.EqualFold(scheme, []byte("http")) || bytes.EqualFold(scheme, []byte("https")))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

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

// Some of what may stand in a target is in no grammar, but browsers send it.
var (
	isToken  = class(alphanumeric + "!#$%&'*+-.^_`|~")
	isHost   = class(alphanumeric + "!$%&'()*+,-.:;=[]_~")
	isTarget = class(alphanumeric + "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
	isHex    = class("0123456789abcdefABCDEF")
)

// IsPath reports whether clients can ask for path.
func IsPath(path string) bool {
	for i := range len(path) {
		if c := path[i]; !isTarget[c] || c == '?' {
			return false
		}
	}
	return path != ""
}

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
