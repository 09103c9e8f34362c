// Package text is the line protocol: a message ends with "\n" or "\r\n", and
// "\n" is added to what is sent.
package text

import (
	"bytes"

	"github.com/pushd/pushd/protocol"
)

func init() { protocol.Register("text", Protocol{}) }

// Protocol implements protocol.Protocol. It holds no state.
type Protocol struct{}

// Input returns the length of the first line, its end included, which does not
// count against limit.
func (p Protocol) Input(buf []byte, limit int) (int, error) { return p.InputFrom(buf, 0, limit) }

// InputFrom implements protocol.Seeker.
func (Protocol) InputFrom(buf []byte, seen, limit int) (int, error) {
	n, line := 0, buf
	if i := bytes.IndexByte(buf[seen:], '\n'); i >= 0 {
		n = seen + i + 1
		line = buf[:n-1]
	}
	if limit > 0 && len(bytes.TrimSuffix(line, []byte("\r"))) > limit {
		return 0, protocol.ErrTooLong
	}
	return n, nil
}

// Decode strips the end of the line.
func (Protocol) Decode(line []byte) ([]byte, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// Encode appends payload and "\n".
func (Protocol) Encode(dst, payload []byte) []byte {
	return append(append(dst, payload...), '\n')
}
