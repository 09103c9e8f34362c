// Package http cuts requests out of a byte stream and formats responses, so
// that an event loop can serve HTTP/1.1 without a goroutine per connection.
// net/http's own reader parses the header; where a request ends is decided
// here, more strictly (RFC 9112, section 11.2: request smuggling).
package http

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"net/http"
	"strconv"
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

// Read parses the request at the beginning of buf, whose header block is head
// bytes long as Head said. n is the length of the whole request, or 0 when more
// bytes are needed; then need is how many there must be at least, and expects
// says that the client waits for "100 Continue". The request's body is a copy.
// maxBody bounds it; 0 is no limit. Errors are *Error.
func Read(buf []byte, head, maxBody int) (r *http.Request, n, need int, expects bool, err error) {
	if err := checkFraming(buf[:head]); err != nil {
		return nil, 0, 0, false, err
	}
	r, err = http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(buf[:head]), 16+head))
	if err != nil {
		return nil, 0, 0, false, fail(http.StatusBadRequest, "malformed request: "+quote(err))
	}
	if expects, err = check(r); err != nil {
		return nil, 0, 0, false, err
	}
	body, n, need, err := readBody(buf[head:], r.ContentLength, maxBody)
	if err != nil {
		return nil, 0, 0, false, err
	}
	if n < 0 {
		return nil, 0, head + min(need, math.MaxInt-head), expects, nil
	}
	r.Body, r.Trailer = io.NopCloser(bytes.NewReader(body)), nil
	return r, head + n, 0, expects, nil
}

// readBody copies the body at the beginning of b, which is length bytes long or,
// if negative, chunked. n is its length on the wire, or -1 when more bytes are
// needed, need at least.
func readBody(b []byte, length int64, limit int) (body []byte, n, need int, err error) {
	switch {
	case length < 0:
		return readChunks(b, limit)
	case limit > 0 && length > int64(limit):
		return nil, 0, 0, errBodyTooLarge
	case int64(len(b)) < length:
		return nil, -1, int(min(length, math.MaxInt)), nil
	}
	return bytes.Clone(b[:length]), int(length), 0, nil
}

func readChunks(b []byte, limit int) (body []byte, n, need int, err error) {
	n, need, err = chunks(b, limit, nil)
	switch {
	case err != nil:
		return nil, 0, 0, err
	case n == 0 && limit > 0 && len(b)/2-2048 > limit: // tiny chunks, endless extensions or trailers
		return nil, 0, 0, fail(http.StatusRequestEntityTooLarge, "chunks of the body are over max_body")
	case n == 0:
		return nil, -1, need, nil
	}
	_, _, err = chunks(b, limit, func(data []byte) { body = append(body, data...) })
	return body, n, 0, err
}

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

// quote keeps a client's bytes from forging log lines.
func quote(err error) string { return strings.Trim(strconv.Quote(err.Error()), `"`) }
