package reactor

import (
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// Socket is a connection of a Memory, seen from the client.
type Socket[C any] struct {
	front
	m      *Memory[C]
	c      C
	pipe   pipe
	in     []byte // sent by the client and not read yet
	left   bool   // the client has hung up
	deaf   bool   // muted or ignored
	waits  bool   // for room to write
	closed bool
	given  bool // to another Memory

	since time.Duration // of Vanish
}

// pipe is what Handle's methods know of a Socket: it stands in for gnet's
// connection there.
type pipe struct {
	gnet.Conn // none: nothing asks for it
	peer      netip.AddrPort
	out       []byte
	room      int // bytes that the client still takes; below 0: any number
	unread    func() bool
	silence   func() time.Duration
	lost      bool // its machine is gone: nothing arrives
	owed      int  // bytes that have not
	ended     bool // the worker has ended its side
}

// RemoteAddr has the type that Handle.Peer looks for.
func (p *pipe) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(p.peer) }

func (p *pipe) write(b []byte) int {
	n := len(b)
	if p.room >= 0 {
		n = min(n, p.room)
		p.room -= n
	}
	if p.lost {
		p.owed += n
		return n
	}
	p.out = append(p.out, b[:n]...)
	return n
}

// pipe returns what h is of a Memory, nil if it is a socket.
func (h Handle) pipe() *pipe {
	if h.front == nil {
		return nil
	}
	p, _ := h.front.conn.(*pipe)
	return p
}

func (s *Socket[C]) handle() Handle { return Handle{front: &s.front, fd: -1} }

// Send is what the client sends. What is not read now waits.
func (s *Socket[C]) Send(b []byte) {
	s.in = append(s.in, b...)
	s.read()
}

// HangUp ends the client's side, behind what it has sent.
func (s *Socket[C]) HangUp() {
	s.left = true
	s.read()
}

// Vanish takes the client's machine off the network: what it is sent from now on
// is acknowledged by nobody.
func (s *Socket[C]) Vanish() { s.pipe.lost, s.since = true, s.m.now }

func (s *Socket[C]) silence() time.Duration {
	if s.pipe.owed == 0 {
		return 0
	}
	return s.m.now - s.since
}

// read gives the worker what it reads.
func (s *Socket[C]) read() {
	for len(s.in) > 0 && !s.deaf && !s.closed {
		p := s.in[:min(len(s.in), ReadChunk)]
		s.in = s.in[len(p):]
		s.m.turn(func() { s.m.h.Readable(s.c, p) })
	}
	if s.left && len(s.in) == 0 && !s.deaf && !s.closed {
		s.m.turn(func() { s.end(io.EOF) })
	}
}

func (s *Socket[C]) end(err error) {
	s.closed = true
	delete(s.m.sockets, &s.front)
	s.m.h.Closed(s.c, err)
}

// Take returns what the client has got since the last call.
func (s *Socket[C]) Take() []byte {
	out := s.pipe.out
	s.pipe.out = nil
	return out
}

// Closed reports whether the worker has closed the connection, or its side of it.
func (s *Socket[C]) Closed() bool { return s.closed || s.pipe.ended }

// Room lets the client take no more than n further bytes, until the next call; below 0: any number.
func (s *Socket[C]) Room(n int) {
	if s.pipe.room = n; n != 0 && s.waits && !s.closed {
		s.waits = false
		s.m.turn(func() { s.m.h.Writable(s.c) })
	}
}
