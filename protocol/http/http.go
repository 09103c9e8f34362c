// Package http cuts requests out of a byte stream and formats responses, so
// that an event loop can serve HTTP/1.1 without a goroutine per connection.
// net/http's own reader parses the header; where a request ends is decided
// here, more strictly (RFC 9112, section 11.2: request smuggling).
package http

import (
	"bytes"
	"net/http"
	"strings"
)

// Error is a request that cannot be served, with the status that says so. The
// connection cannot be used afterwards, since the end of the request is not
// known.
type Error struct {
	Status int
	Cause  string // for logs and counters
}

// Error names the cause.
func (e *Error) Error() string { return e.Cause }

func fail(status int, cause string) error { return &Error{status, cause} }

var errBodyTooLarge = fail(http.StatusRequestEntityTooLarge, "body is over max_body")

// Continue is the interim response to "Expect: 100-continue".
const Continue = "HTTP/1.1 100 Continue\r\n\r\n"

// checkFraming refuses a header from which two readers could conclude
// different lengths of the body, or different hosts. net/http's reader lets
// some of them through.
func checkFraming(block []byte) error {
	var hosts, lengths, codings int
	line, fields, _ := bytes.Cut(block, []byte("\r\n"))
	for field := range bytes.SplitSeq(fields, []byte("\r\n")) {
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch strings.ToLower(string(name)) {
		case "host":
			hosts++
		case "content-length":
			lengths++
		case "transfer-encoding":
			codings++
			if !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return fail(http.StatusNotImplemented, "Transfer-Encoding other than chunked")
			}
		}
	}
	modern := bytes.HasSuffix(line, []byte(" HTTP/1.1"))
	switch {
	case hosts > 1 || hosts == 0 && modern:
		return fail(http.StatusBadRequest, "exactly one Host header is needed")
	case lengths+codings > 1:
		return fail(http.StatusBadRequest, "more than one Content-Length or Transfer-Encoding")
	case codings > 0 && !modern:
		return fail(http.StatusBadRequest, "Transfer-Encoding before HTTP/1.1")
	}
	return nil
}

// check refuses what else net/http's reader leaves to its server, and reports
// whether the client waits for "100 Continue". HTTP/1.0 has no such thing, and
// its connections end with the response.
func check(r *http.Request) (expects bool, err error) {
	modern := r.ProtoAtLeast(1, 1)
	r.Close = r.Close || !modern
	expect := r.Header.Get("Expect")
	switch {
	case r.ProtoMajor != 1:
		return false, fail(http.StatusHTTPVersionNotSupported, "not HTTP/1")
	case r.Host == "" && modern:
		return false, fail(http.StatusBadRequest, "no Host header")
	case r.Host != "" && !validHost(r.Host):
		return false, fail(http.StatusBadRequest, "malformed Host header")
	case !modern || expect == "":
		return false, nil
	case !strings.EqualFold(expect, "100-continue"):
		return false, fail(http.StatusExpectationFailed, "unknown Expect header")
	}
	return true, nil
}
