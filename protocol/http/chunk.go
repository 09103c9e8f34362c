package http

import (
	"bytes"
	"net/http"
	"strconv"
)

// chunks walks over the chunked body at the beginning of b and calls keep, if
// it is not nil, with the data of each chunk. n is the body's length on the
// wire, or 0 when more bytes are needed; then need is how many there must be at
// least. limit bounds the data; 0 is no limit. Extensions are passed over,
// trailers checked and dropped (RFC 9112, section 7.1).
func chunks(b []byte, limit int, keep func(data []byte)) (n, need int, err error) {
	for size := 0; ; {
		line, used, err := cutLine(b[n:])
		if err != nil || used == 0 {
			return 0, len(b) + 1, err
		}
		length, err := chunkSize(line)
		if err != nil {
			return 0, 0, err
		}
		if n += used; length == 0 {
			return trailers(b, n)
		}
		if size += length; limit > 0 && size > limit {
			return 0, 0, errBodyTooLarge
		}
		end := n + length
		if len(b) < end+len("\r\n") {
			return 0, end + len("\r\n"+LastChunk), nil
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, 0, fail(http.StatusBadRequest, "a chunk is longer than its size says")
		}
		if keep != nil {
			keep(b[n:end])
		}
		n = end + len("\r\n")
	}
}

// chunkSize reads "size;extensions". A chunk has less than 1 GiB.
func chunkSize(line []byte) (int, error) {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseUint(string(bytes.TrimRight(digits, " \t")), 16, 30)
	if err != nil || !validValue(line) {
		return 0, fail(http.StatusBadRequest, "malformed chunk size")
	}
	return int(size), nil
}

// trailers passes over the lines behind the last chunk, which end with an
// empty one.
func trailers(b []byte, start int) (n, need int, err error) {
	for n = start; ; {
		line, used, err := cutLine(b[n:])
		if err != nil || used == 0 {
			return 0, len(b) + 1, err
		}
		if n += used; len(line) == 0 {
			return n, 0, nil
		}
		if !validField(line) {
			return 0, 0, fail(http.StatusBadRequest, "malformed trailer")
		}
	}
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
