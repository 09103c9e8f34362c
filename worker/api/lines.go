package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

const (
	shortLine = 64 << 10 // what each connection of ingest may hold
	maxLong   = 64 << 20 // what all of them may hold beyond it, in bytes
)

// lines reads lines from a connection of ingest.
type lines struct {
	conn net.Conn
	buf  []byte // read, not taken
	seen int    // bytes of buf without an end of line
	over error
	long *atomic.Int64 // shared by all connections: bytes beyond shortLine
	own  int64         // of them those of this one
}

var (
	errLineTooLong = errors.New("line is over 1 MiB")
	errLongLines   = fmt.Errorf("lines over %d KiB take %d MiB at the moment, which is all they may: try again", shortLine>>10, maxLong>>20)
)

// next returns the next line without its end; the last one may have none. It is
// valid until the next call.
func (l *lines) next() ([]byte, error) {
	for {
		for ; l.seen < len(l.buf); l.seen++ {
			if l.buf[l.seen] == '\n' {
				line := l.buf[:l.seen]
				l.buf, l.seen = l.buf[l.seen+1:], 0
				return line, nil
			}
		}
		if l.seen > maxBody+1 { // the line and "\r"
			return nil, errLineTooLong
		}
		if l.over != nil {
			rest := l.buf
			if len(rest) == 0 || !errors.Is(l.over, io.EOF) {
				return nil, l.over
			}
			l.buf, l.seen = nil, 0
			return rest, nil
		}
		if !l.fill() {
			return nil, errLongLines
		}
	}
}

// fill reads more; false means that there is no room for it.
func (l *lines) fill() bool {
	if len(l.buf) == 0 && l.own > 0 { // a long line is worked on
		l.buf = nil
		l.free()
	}
	if cap(l.buf)-len(l.buf) < 1024 {
		size := max(4096, 2*len(l.buf))
		if !l.hold(int64(max(size-shortLine, 0))) {
			return false
		}
		bigger := make([]byte, len(l.buf), size)
		copy(bigger, l.buf)
		l.buf = bigger
	}
	n, err := l.conn.Read(l.buf[len(l.buf):cap(l.buf)])
	l.buf, l.over = l.buf[:len(l.buf)+n], err
	return true
}

// hold counts n bytes as those of this connection, if all together stay within
// their bound.
func (l *lines) hold(n int64) bool {
	if l.long.Add(n-l.own) > maxLong && n > l.own {
		l.long.Add(l.own - n)
		return false
	}
	l.own = n
	return true
}

// free gives back what is held.
func (l *lines) free() { l.hold(0) }
