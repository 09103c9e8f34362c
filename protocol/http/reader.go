package http

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Limits bound one request. Zero is no limit.
type Limits struct {
	MaxHeader  int // bytes of the header block; more is 431
	MaxHeaders int // lines of it; more is 431
	MaxBody    int // bytes; more is 413
}

// Reader takes one request out of the bytes of a connection, which come in
// pieces of any size, and looks at each byte once. The zero value stands before
// a request and needs no memory. First Head, then either the request is somebody
// else's, or Begin and Body.
//
// Its errors are *Error; the Reader cannot be used after one.
type Reader struct {
	head head

	request *http.Request // its header is read
	block   []byte        // the header block
	own     bool          // block is ours
	length  int           // of the body that is to come, if it is not chunked
	body    []byte        // what has come of that
	chunks  *chunks       // a chunked body
}

// Idle reports whether the Reader stands before a request: it may be thrown away.
func (r *Reader) Idle() bool { return r.request == nil && r.head.n == 0 && r.head.seen == 0 }

// Begun reports whether the header is read and the body on its way.
func (r *Reader) Begun() bool { return r.request != nil }

// Buffered returns how many bytes of a request the Reader holds, no less than
// what Append appends.
func (r *Reader) Buffered() int {
	n := len(r.block) + len(r.body)
	if r.chunks != nil {
		n += len(r.chunks.body) + len("3fffffff\r\n\r\n0\r\n")
	}
	return n
}

// Head looks for the end of the header block. n is its length, its empty line
// included, or 0 when more bytes are needed. skip bytes before it, empty lines,
// are of no request and to be dropped in either case. b begins with the bytes of
// the call before, less those.
func (r *Reader) Head(b []byte, lim *Limits) (skip, n int, err error) { return r.head.take(b, lim) }

// Begin parses the header block that Head has found. The block must not change
// until Body has returned a request, or Keep was called. expects says that the
// client waits for "100 Continue" before it sends the body.
func (r *Reader) Begin(block []byte, lim *Limits) (expects bool, err error) {
	if err := checkFraming(block); err != nil {
		return false, err
	}
	req, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(block), 16+len(block)))
	if err != nil {
		return false, fail(http.StatusBadRequest, "malformed request: "+quote(err))
	}
	if expects, err = check(req); err != nil {
		return false, err
	}
	length := req.ContentLength
	switch {
	case lim.MaxBody > 0 && length > int64(lim.MaxBody), int64(int(length)) != length:
		return false, errBodyTooLarge
	case length < 0:
		r.chunks = &chunks{}
	}
	r.request, r.length = req, int(max(length, 0))
	r.block, r.own = block, false
	return expects, nil
}

// Body uses up what it can of b, which follows the header or what the call
// before has left. It returns the request once it is complete, its body in memory
// of its own; then the Reader stands before the next one.
func (r *Reader) Body(b []byte, lim *Limits) (req *http.Request, used int, err error) {
	var body []byte
	var done bool
	if r.chunks != nil {
		used, err = r.chunks.take(b, lim.MaxBody)
		body, done = r.chunks.body, r.chunks.part == complete
	} else {
		used = min(len(b), r.length-len(r.body))
		r.body = append(r.body, b[:used]...)
		body, done = r.body, len(r.body) == r.length
	}
	if err != nil || !done {
		return nil, used, err
	}
	req = r.request
	req.Body, req.Trailer = io.NopCloser(bytes.NewReader(body)), nil
	*r = Reader{}
	return req, used, nil
}

// Keep makes the Reader independent of the block that Begin was given.
func (r *Reader) Keep() {
	if !r.own {
		r.block, r.own = bytes.Clone(r.block), true
	}
}

// Append appends what has been used up of a request whose body is on its way, as
// a client could have sent it, so that whoever reads that and what follows reads
// the same request. Before that it appends nothing, since all is still in Head's
// bytes.
func (r *Reader) Append(dst []byte) []byte {
	if r.request == nil {
		return dst
	}
	dst = append(dst, r.block...)
	if r.chunks != nil {
		return r.chunks.append(dst)
	}
	return append(dst, r.body...)
}

// quote keeps a client's bytes from forging log lines.
func quote(err error) string {
	s := strconv.Quote(err.Error())
	return s[1 : len(s)-1]
}
