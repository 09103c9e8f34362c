package http

import (
	"bytes"
	"net/http"
	"strconv"
)

const (
	maxChunkLine = 256      // bytes of a chunk's size and extensions
	maxOverhead  = 16 << 10 // bytes that chunk lines and trailers may have beyond those of the data
)

// chunks is a chunked body on its way (RFC 9112, section 7.1). It goes on where
// it stopped and keeps nothing but the data: extensions are passed over,
// trailers checked and dropped.
type chunks struct {
	lines
	body     []byte
	overhead int // bytes on the wire that were no data
	left     int // data of the chunk that is to come
	part     part
}

type part uint8

const (
	sizeLine part = iota
	data
	dataEnd // the CRLF behind the data
	trailer
	complete
)

// take uses up what it can of b, which begins with what the call before has left
// of its own. limit bounds the data; 0 is no limit.
func (c *chunks) take(b []byte, limit int) (used int, err error) {
	for c.part != complete {
		n := 0
		if c.part == data {
			n = c.data(b[used:])
		} else {
			n, err = c.line(b[used:], limit)
		}
		if err != nil || n == 0 {
			return used, err
		}
		used += n
	}
	return used, nil
}

// data takes data of the chunk.
func (c *chunks) data(b []byte) (n int) {
	n = min(c.left, len(b))
	c.body = append(c.body, b[:n]...)
	if c.left -= n; c.left == 0 {
		c.part = dataEnd
	}
	return n
}

// line takes a line: a chunk's first, the empty one behind its data, a trailer.
func (c *chunks) line(b []byte, limit int) (n int, err error) {
	most := maxOverhead + len(c.body) - c.overhead
	switch c.part {
	case sizeLine:
		most = min(most, maxChunkLine)
	case dataEnd:
		if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return 0, fail(http.StatusBadRequest, "a chunk is longer than its size says")
		}
	}
	line, n, err := c.cut(b)
	switch {
	case err != nil:
		return 0, err
	case n > most || n == 0 && len(b) >= most:
		return 0, fail(http.StatusRequestEntityTooLarge, "chunk lines of the body are too long")
	case n == 0:
		return 0, nil
	}
	c.overhead += n
	switch {
	case c.part == dataEnd:
		c.part = sizeLine
	case c.part == trailer && len(line) == 0:
		c.part = complete
	case c.part == trailer && !validField(line):
		return 0, fail(http.StatusBadRequest, "malformed trailer")
	case c.part == sizeLine:
		return n, c.begin(line, limit)
	}
	return n, nil
}

// begin begins the chunk whose first line this is.
func (c *chunks) begin(line []byte, limit int) (err error) {
	if c.left, err = chunkSize(line); err != nil {
		return err
	}
	switch c.part = data; {
	case c.left == 0:
		c.part = trailer
	case limit > 0 && c.left > limit-len(c.body):
		return errBodyTooLarge
	}
	return nil
}

// append appends what c has taken as a client could have sent it.
func (c *chunks) append(dst []byte) []byte {
	if n := len(c.body) + c.left; n > 0 {
		dst = append(strconv.AppendInt(dst, int64(n), 16), "\r\n"...)
	}
	dst = append(dst, c.body...)
	if len(c.body) > 0 && (c.part == sizeLine || c.part == trailer) {
		dst = append(dst, "\r\n"...)
	}
	if c.part == trailer {
		dst = append(dst, "0\r\n"...)
	}
	return dst
}

var errChunkLine = fail(http.StatusBadRequest, "malformed chunk size or extension")

// chunkSize reads "size;name=value;…". A chunk has less than 1 GiB.
func chunkSize(line []byte) (int, error) {
	n := 0
	for n < len(line) && isHex[line[n]] {
		n++
	}
	size, err := strconv.ParseUint(string(line[:n]), 16, 30)
	if err != nil || !validExtensions(line[n:]) {
		return 0, errChunkLine
	}
	return int(size), nil
}

// validExtensions reports whether b is a list of ";name" and ";name=value" whose
// values are tokens or quoted strings, with spaces only before ";" and around
// "=" and names.
func validExtensions(b []byte) bool {
	for len(b) > 0 {
		b = trimSpace(b)
		if len(b) == 0 || b[0] != ';' {
			return false
		}
		name, rest := cutToken(trimSpace(b[1:]))
		if len(name) == 0 {
			return false
		}
		b = rest
		if rest = trimSpace(rest); len(rest) == 0 || rest[0] != '=' {
			continue
		}
		var ok bool
		if b, ok = cutValue(trimSpace(rest[1:])); !ok {
			return false
		}
	}
	return true
}

func trimSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

func cutToken(b []byte) (token, rest []byte) {
	n := 0
	for n < len(b) && isToken[b[n]] {
		n++
	}
	return b[:n], b[n:]
}

// cutValue cuts off a token or a quoted string.
func cutValue(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		token, rest := cutToken(b)
		return rest, len(token) > 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[i+1:], true
		case c < ' ' && c != '\t' || c == 0x7f:
			return nil, false
		case c == '\\':
			if i++; i < len(b) && (b[i] < ' ' && b[i] != '\t' || b[i] == 0x7f) {
				return nil, false
			}
		}
	}
	return nil, false
}

// LastChunk ends a chunked body.
const LastChunk = "0\r\n\r\n"

// AppendChunk appends p as a chunk. An empty p appends nothing, since it would
// end the body.
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(p)), 16)
	return append(append(append(dst, "\r\n"...), p...), "\r\n"...)
}
