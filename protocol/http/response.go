package http

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// HasBody reports whether a response with this status has a body. To the
// others nothing may be sent behind the header, as to any answer to HEAD: it
// would be read as the next response.
func HasBody(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// Lengths that are no number of bytes.
const (
	Chunked = -1
	Untold  = -2
)

// AppendHead appends the status line and header block of a final response; a
// status that is none, below 200 or over 999, becomes 500. length is the
// body's in bytes, or Chunked, or Untold, which only an answer to HEAD may be and
// one that ends with the connection. date is the Date header's value. Headers that
// frame the response are ours; others whose name is no token are left out.
func AppendHead(dst []byte, status int, h http.Header, length int, closing bool, date string) []byte {
	if status < 200 || status > 999 {
		status = http.StatusInternalServerError
	}
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(status), 10)
	dst = append(append(dst, ' '), http.StatusText(status)...)
	dst = append(append(dst, "\r\nDate: "...), date...)
	for name, values := range h {
		if !validName(name) || framing(name) {
			continue
		}
		for _, v := range values {
			dst = append(append(append(append(dst, "\r\n"...), name...), ": "...), clean(v)...)
		}
	}
	switch {
	case !HasBody(status), length == Untold:
	case length < 0:
		dst = append(dst, "\r\nTransfer-Encoding: chunked"...)
	default:
		dst = strconv.AppendInt(append(dst, "\r\nContent-Length: "...), int64(length), 10)
	}
	return append(append(dst, connection(closing, h.Get("Upgrade") != "")...), "\r\n\r\n"...)
}

// connection is the Connection header: whoever sends Upgrade must name it there.
func connection(closing, upgrade bool) string {
	switch {
	case closing && upgrade:
		return "\r\nConnection: close, Upgrade"
	case closing:
		return "\r\nConnection: close"
	case upgrade:
		return "\r\nConnection: Upgrade"
	}
	return ""
}

// framing reports whether a header is ours to write.
func framing(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length", "Transfer-Encoding", "Connection", "Date":
		return true
	}
	return false
}

// clean keeps a handler's value from adding lines of its own.
func clean(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") {
		return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s)
	}
	return s
}

// AppendError appends a whole response that ends the connection.
func AppendError(dst []byte, status int, text, date string) []byte {
	body := fmt.Sprintf("%d %s: %s\n", status, http.StatusText(status), text)
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
	if status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
	}
	return append(AppendHead(dst, status, h, len(body), true, date), body...)
}
