package worker

import (
	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/protocol/websocket"
)

// input is what a connection has received and not worked off: a message or a
// request that is not whole, and bytes that wait. A connection between two
// messages has none.
type input struct {
	dec    websocket.Decoder
	http   *http.Reader // of a request whose header or body is on its way
	wait   backlog
	sealed []byte // of a TLS record that has not come whole
	seen   int    // bytes of wait in which a packet protocol has found no end
	need   int    // bytes of wait that the packet has at least
}

// size returns how many bytes are held.
func (in *input) size() int { return in.request() + in.dec.Buffered() }

// weight returns no less than what the record of a connection has of it.
func (in *input) weight() int { return in.request() + in.dec.StateSize() }

// request returns how many bytes are held, frames apart.
func (in *input) request() int {
	n := in.wait.len() + len(in.sealed)
	if in.http != nil {
		n += in.http.Buffered()
	}
	return n
}

// unread returns what has been received of something that is not whole, frames
// apart, as the client has sent it or could have.
func (in *input) unread() (b []byte) {
	if in.http != nil {
		b = in.http.Append(nil)
	}
	return append(b, in.wait.bytes()...)
}

// input returns the connection's input, made when there is none.
func (c *Conn) input() *input {
	if c.in == nil {
		c.in = &input{}
	}
	return c.in
}

// emptied lets go of the input when nothing is unfinished.
func (c *Conn) emptied() {
	if in := c.in; in != nil && in.wait.len() == 0 && in.dec.Idle() && in.http == nil && len(in.sealed) == 0 {
		c.in = nil
	}
	c.heardAll()
}

// backlog are bytes that wait. To add or drop some costs as much as they are
// many, not as much as waits.
type backlog struct {
	b   []byte
	off int // bytes of b that are dropped
}

func (k *backlog) bytes() []byte { return k.b[k.off:] }
func (k *backlog) len() int      { return len(k.b) - k.off }
func (k *backlog) add(p []byte)  { k.b = append(k.b, p...) }

// drop drops the first n bytes. What is left is moved to memory of its own size
// once less is left than was dropped.
func (k *backlog) drop(n int) {
	if k.off += n; k.off > len(k.b)/2 {
		*k = backlog{b: append([]byte(nil), k.bytes()...)}
	}
}
