package client

import (
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a connection.
const (
	HandshakeTimeout = 30 * time.Second // from the dial to the 101
	CloseTimeout     = 5 * time.Second  // from our close frame to the server's end
	maxUnsent        = 16 << 20         // bytes waiting for a server that does not read
)

// Causes for which a connection ends.
var (
	ErrTimeout    = errors.New("handshake unanswered for 30 s")
	ErrUnanswered = errors.New("close frame unanswered for 5 s")
	ErrUnread     = errors.New("server leaves more than 16 MiB of ours unread")
)

// Handler is what a group of connections does with its events. All methods run
// on the loop. Opened may be missed (the dial failed), Closed comes exactly
// once for every Dial and ends it.
type Handler interface {
	Opened(c *Conn)
	// Message is a whole message; data is valid until the method returns.
	Message(c *Conn, op Opcode, data []byte)
	// Closed has a nil error when this side asked for it, with Conn.Close or Conn.Abort.
	Closed(c *Conn, err error)
}

// Event is one of a stream that is more than a sign of life.
type Event struct {
	ID, Type string // "" where it has none
	Retry    time.Duration
	Data     []byte // valid until the method returns
}

// EventHandler is a Handler that wants the events of a stream as they are: they are
// no messages then, and none of them ends the stream.
type EventHandler interface {
	Event(c *Conn, e Event)
}

type state uint8

const (
	dialing state = iota
	shaking       // hands, of TLS
	handshaking
	open
	closing // our close frame is on its way
	gone
)

// Conn is one client connection. It belongs to its loop. While idle it is 64
// bytes, and what crypto/tls keeps of one to a wss address; buffers exist only while something is incomplete.
type Conn struct {
	Tag     uint32 // free for the handler
	state   state
	paused  bool
	way     way
	fd      int32
	life    int32 // tells apart two connections that had the same descriptor
	events  uint32
	handler Handler
	secure  *secure  // nil: to a ws address
	poll    *polling // nil: it does not
	*incomplete
}

// incomplete holds what a connection has begun and not finished.
type incomplete struct {
	target  *Target         // until the request is sent
	key     [keyLength]byte // until the answer is read
	in      []byte          // undecoded input
	out     []byte          // unsent output
	message []byte          // fragments so far
	op      Opcode          // of the message they belong to; 0 when there is none
}

// Open says whether messages may be sent.
func (c *Conn) Open() bool { return c.state == open }

func (c *Conn) buffers() *incomplete {
	if c.incomplete == nil {
		c.incomplete = &incomplete{}
	}
	return c.incomplete
}

// slim lets the buffers go when nothing is incomplete.
func (c *Conn) slim() {
	if p := c.incomplete; p != nil && c.state >= open && len(p.in) == 0 && len(p.out) == 0 && p.op == 0 {
		c.incomplete = nil
	}
}

// Send writes one message, or queues what the socket does not take. The
// payload is copied. It does nothing unless the connection is open.
func (l *Loop) Send(c *Conn, op Opcode, payload []byte) {
	if c.state == open && c.way == byWebSocket {
		l.sendFrame(c, op, payload)
	}
}

// Close starts the close handshake with code 1000; Closed follows, at the
// latest after CloseTimeout.
func (l *Loop) Close(c *Conn) {
	if c.way != byWebSocket {
		l.Abort(c)
		return
	}
	switch c.state {
	case open:
		l.sendFrame(c, Close, []byte{1000 >> 8, 1000 & 0xff})
		c.state = closing
		l.closings.add(c, CloseTimeout)
		l.Resume(c)
	case dialing, shaking, handshaking:
		l.Abort(c)
	}
}

// Abort closes the socket at once, without a word to the server.
func (l *Loop) Abort(c *Conn) {
	l.drop(c, nil)
}

// Pause stops reading until Resume; the peer's own buffers fill up.
func (l *Loop) Pause(c *Conn) {
	c.paused = true
	l.watch(c)
}

// Resume undoes Pause.
func (l *Loop) Resume(c *Conn) {
	c.paused = false
	l.watch(c)
}

// ReadSome reads at most n bytes (and at most 64 KiB) of a paused connection.
// It must not be called from within a Handler's Message.
func (l *Loop) ReadSome(c *Conn, n int) {
	if c.state < gone {
		l.read(c, l.buffer[:min(n, len(l.buffer))])
	}
}

func (l *Loop) sendFrame(c *Conn, op Opcode, payload []byte) {
	l.frame = appendFrame(l.frame[:0], op, payload, l.random.Uint32())
	l.write(c, l.frame)
}

// write sends b behind what is already waiting. A broken connection is not
// reported here but by the next epoll_wait, so that no handler is entered twice.
func (l *Loop) write(c *Conn, b []byte) { l.put(c, c.seal(b)) }

// put is write of what the socket is to take.
func (l *Loop) put(c *Conn, b []byte) {
	l.BytesOut += int64(len(b))
	if c.incomplete == nil || len(c.out) == 0 {
		n, _ := unix.Write(int(c.fd), b)
		b = b[max(n, 0):]
	}
	if len(b) == 0 {
		return
	}
	p := c.buffers()
	p.out = append(p.out, b...)
	if len(p.out) > maxUnsent {
		l.dropLater(c, ErrUnread)
		return
	}
	l.watch(c)
}

// flush sends what is waiting, when the socket has room.
func (l *Loop) flush(c *Conn) {
	if c.incomplete == nil || len(c.out) == 0 {
		return
	}
	n, _ := unix.Write(int(c.fd), c.out)
	c.out = append(c.out[:0], c.out[max(n, 0):]...)
	if len(c.out) == 0 {
		c.out = nil
		c.slim()
		l.watch(c)
	}
}

// read takes what the socket has, up to len(b).
func (l *Loop) read(c *Conn, b []byte) {
	n, err := unix.Read(int(c.fd), b)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
	case err != nil:
		l.drop(c, err)
	case n == 0:
		l.drop(c, io.ErrUnexpectedEOF)
	default:
		l.BytesIn += int64(n)
		switch {
		case c.secure == nil:
			l.input(c, b[:n])
		case c.state == shaking:
			c.secure.feed(b[:n])
		default:
			l.unseal(c, b[:n])
		}
	}
}

// input decodes b behind what was left undecoded, and keeps the new rest.
func (l *Loop) input(c *Conn, b []byte) {
	kept := c.incomplete != nil && len(c.in) > 0
	if kept {
		c.in = append(c.in, b...)
		b = c.in
	}
	used := l.decode(c, b)
	switch rest := b[used:]; {
	case c.state == gone:
		return
	case len(rest) == 0 && kept:
		c.in = nil
	case len(rest) > 0 && kept:
		c.in = append(c.in[:0], rest...)
	case len(rest) > 0:
		c.buffers().in = append([]byte(nil), rest...)
	}
	c.slim()
}

// decode handles every whole answer and frame at the start of b and returns
// how many bytes they had.
func (l *Loop) decode(c *Conn, b []byte) (used int) {
	switch c.way {
	case byEvents:
		return l.decodeEvents(c, b)
	case byPolls:
		return l.decodePolls(c, b)
	}
	if c.state == handshaking {
		n, err := parseResponse(b, c.key)
		if err != nil {
			l.drop(c, err)
		}
		if n == 0 {
			return 0
		}
		used, c.state = n, open
		c.slim()
		c.handler.Opened(c)
	}
	for c.state < gone {
		f, ok, err := parseFrame(b[used:])
		if err != nil {
			l.drop(c, err)
		}
		if !ok || len(b)-used < f.head+f.length {
			return used
		}
		payload := b[used+f.head : used+f.head+f.length]
		used += f.head + f.length
		l.frameIn(c, f, payload)
	}
	return used
}
