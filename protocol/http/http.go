// Package http cuts requests out of a byte stream and formats responses, so
// that an event loop can serve HTTP/1.1 without a goroutine per connection.
// net/http's own reader does the parsing.
package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
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

// Head returns the length of the header block at the beginning of buf, its
// empty line included, or 0 when more bytes are needed. maxBytes and maxLines
// bound the block and its header lines; 0 is no limit. Errors are *Error: 431,
// or 400 for a line that does not end in CRLF or a byte that no header has.
func Head(buf []byte, maxBytes, maxLines int) (int, error) {
	start, lines := 0, 0
	for {
		i := bytes.IndexByte(buf[start:], '\n')
		if i < 0 {
			break
		}
		line := buf[start : start+i]
		start += i + 1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, fail(http.StatusBadRequest, "a header line does not end in CRLF")
		}
		if maxBytes > 0 && start > maxBytes {
			return 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header is over max_header")
		}
		if len(line) == 1 {
			if lines == 0 {
				return 0, fail(http.StatusBadRequest, "request begins with an empty line")
			}
			return start, nil
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return 0, fail(http.StatusBadRequest, "header has a NUL byte")
		}
		if lines++; maxLines > 0 && lines > maxLines+1 {
			return 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header has more lines than max_headers")
		}
	}
	if maxBytes > 0 && len(buf) > maxBytes {
		return 0, fail(http.StatusRequestHeaderFieldsTooLarge, "header is over max_header")
	}
	return 0, nil
}

// Read parses the request at the beginning of buf, whose header block is head
// bytes long. n is the length of the whole request, or 0 when more bytes are
// needed; then need is how many there must be at least, and expects says that
// the client waits for "100 Continue". The request's body is a copy. maxBody
// bounds it; 0 is no limit. Errors are *Error.
func Read(buf []byte, head, maxBody int) (r *http.Request, n, need int, expects bool, err error) {
	src := bytes.NewReader(buf)
	br := bufio.NewReaderSize(src, 16+head)
	r, err = http.ReadRequest(br)
	if err != nil {
		return nil, 0, 0, false, fail(http.StatusBadRequest, "malformed request: "+quote(err))
	}
	if err := check(r); err != nil {
		return nil, 0, 0, false, err
	}
	expects = strings.EqualFold(r.Header.Get("Expect"), "100-continue")
	if maxBody > 0 && r.ContentLength > int64(maxBody) {
		return nil, 0, 0, false, fail(http.StatusRequestEntityTooLarge, "body is over max_message")
	}
	if r.ContentLength >= 0 {
		if need = head + int(r.ContentLength); len(buf) < need {
			return nil, 0, need, expects, nil
		}
	}
	body, err := readBody(r.Body, maxBody)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		if maxBody > 0 && len(buf)-head > 2*maxBody+4096 {
			return nil, 0, 0, false, fail(http.StatusRequestEntityTooLarge, "chunks of the body are over max_message")
		}
		return nil, 0, len(buf) + 1, expects, nil
	case err != nil:
		return nil, 0, 0, false, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r, len(buf) - src.Len() - br.Buffered(), 0, expects, nil
}

func readBody(body io.Reader, limit int) ([]byte, error) {
	if limit > 0 {
		body = io.LimitReader(body, int64(limit)+1)
	}
	b, err := io.ReadAll(body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	case err != nil:
		return nil, fail(http.StatusBadRequest, "malformed body: "+quote(err))
	case limit > 0 && len(b) > limit:
		return nil, fail(http.StatusRequestEntityTooLarge, "body is over max_message")
	}
	return b, nil
}

// check refuses what net/http's reader lets through to its server.
func check(r *http.Request) error {
	switch {
	case r.ProtoMajor != 1:
		return fail(http.StatusHTTPVersionNotSupported, "not HTTP/1")
	case r.Host == "" && r.ProtoAtLeast(1, 1):
		return fail(http.StatusBadRequest, "no Host header")
	case len(r.TransferEncoding) > 0 && !r.ProtoAtLeast(1, 1):
		return fail(http.StatusBadRequest, "Transfer-Encoding in HTTP/1.0")
	}
	if e := r.Header.Get("Expect"); e != "" && !strings.EqualFold(e, "100-continue") {
		return fail(http.StatusExpectationFailed, "unknown Expect header")
	}
	return nil
}

// quote keeps a client's bytes from forging log lines.
func quote(err error) string { return strings.Trim(strconv.Quote(err.Error()), `"`) }

// Continue is the interim response to "Expect: 100-continue".
const Continue = "HTTP/1.1 100 Continue\r\n\r\n"

// AppendHead appends a status line and header block. length is the body's, or
// -1 for chunks. date is the Date header's value.
func AppendHead(dst []byte, status int, h http.Header, length int, closing bool, date string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\nDate: "...)
	dst = append(dst, date...)
	for name, values := range h {
		if framing(name) {
			continue
		}
		for _, v := range values {
			dst = append(append(append(append(dst, "\r\n"...), clean(name)...), ": "...), clean(v)...)
		}
	}
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified || status < 200:
	case length < 0:
		dst = append(dst, "\r\nTransfer-Encoding: chunked"...)
	default:
		dst = append(dst, "\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(length), 10)
	}
	if closing {
		dst = append(dst, "\r\nConnection: close"...)
	}
	return append(dst, "\r\n\r\n"...)
}

// framing reports whether a header is ours to write.
func framing(name string) bool {
	switch name {
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

// AppendChunk appends p as a chunk. An empty p appends nothing, since it would
// end the body.
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(p)), 16)
	dst = append(append(append(dst, "\r\n"...), p...), "\r\n"...)
	return dst
}

// LastChunk ends a chunked body.
const LastChunk = "0\r\n\r\n"

// AppendError appends a whole response that ends the connection.
func AppendError(dst []byte, status int, text, date string) []byte {
	body := fmt.Sprintf("%d %s: %s\n", status, http.StatusText(status), text)
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
	if status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
	}
	return append(AppendHead(dst, status, h, len(body), true, date), body...)
}
