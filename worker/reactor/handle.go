package reactor

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// Handle is the loop's name of a socket: two words to keep and to compare. The
// zero one is none. It is good from Opened, Settled or Landed to Closed or Lost.
type Handle struct {
	front *front // gnet has the socket; nil: it is in our own set
	fd    int32
	gen   uint32 // in our own set: which of those that have had the number
}

// front is a socket that gnet has.
type front struct{ conn gnet.Conn }

// guest is what gnet keeps with a socket of ours.
type guest[C any] struct {
	front
	c C
}

func (g *guest[C]) handle() Handle { return Handle{front: &g.front, fd: int32(g.conn.Fd())} }

// Valid reports whether it is a socket's.
func (h Handle) Valid() bool { return h != Handle{} }

// FD returns the descriptor, -1 for the zero handle. It must not be closed, and
// may be another one after an adoption.
func (h Handle) FD() int {
	if !h.Valid() {
		return -1
	}
	return int(h.fd)
}

// Peer returns the address at the other end; it is not valid for unix sockets
// and where the peer has left.
func (h Handle) Peer() netip.AddrPort {
	if !h.Valid() {
		return netip.AddrPort{}
	}
	if h.front != nil {
		if a, ok := h.front.conn.RemoteAddr().(*net.UDPAddr); ok {
			ap := a.AddrPort()
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	return peerOf(h.FD())
}

// Write writes what the socket takes now, which may be nothing. It never blocks
// and keeps nothing: the rest is the caller's, who may AwaitWritable. An error
// says that the socket is broken.
func (h Handle) Write(p []byte) (int, error) {
	if m := h.pipe(); m != nil {
		return m.write(p), nil
	}
	for {
		n, err := sendNow(h.FD(), p)
		switch err {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// Unread reports whether there are bytes that have not been read yet.
func (h Handle) Unread() bool {
	if m := h.pipe(); m != nil {
		return m.unread()
	}
	return unread(h.FD())
}

// Silence returns for how long the peer's system has acknowledged nothing, while
// there is something that it has not; else 0, and where the kernel does not tell.
// So it speaks of the network and the machine at its other end, and of no reader.
func (h Handle) Silence() time.Duration {
	if m := h.pipe(); m != nil {
		return m.silence()
	}
	return silence(h.FD())
}

// ErrFull says that a socket takes no datagram now; this one is lost.
var ErrFull = errors.New("socket is full")

// Reply sends a datagram to the sender of the one that the handle stands for.
func (h Handle) Reply(p []byte) error {
	if m := h.pipe(); m != nil {
		m.write(p)
		return nil
	}
	_, err := h.front.conn.Write(p)
	if errors.Is(err, unix.EAGAIN) {
		return ErrFull
	}
	return err
}

// ShutWrite ends our side of a stream and reports whether the peer's is still
// worth waiting for.
func (h Handle) ShutWrite() bool {
	if m := h.pipe(); m != nil {
		m.ended = true
		return true
	}
	return shutWrite(h.FD())
}

// Close closes the socket: at once, or at the end of the turn if that is about
// it. Closed follows, with nil. The zero handle and a closed one are no matter.
func (r *Reactor[C]) Close(h Handle) {
	switch {
	case !h.Valid():
	case h.front == nil:
		r.closeOwn(h, nil)
	case h == r.current:
		r.doomed = true
	default:
		before := r.closing
		r.closing = h
		_ = h.front.conn.EventLoop().Close(h.front.conn)
		r.closing = before
	}
}

// Mute stops reading, or goes on with it. Meanwhile what the peer sends waits in
// the kernel, and that it leaves orderly is not noticed.
func (r *Reactor[C]) Mute(h Handle, mute bool) error {
	events := uint32(eventsRead)
	if mute {
		events = eventsNone
	}
	return epollModify(r.epollOf(h), h.FD(), events, h.gen)
}

// Duplicate implements Engine.
func (r *Reactor[C]) Duplicate(h Handle) (int, error) { return Duplicate(h.FD()) }

// Detach takes a socket out of the loop's sight, as long as its descriptor is in
// two processes. What gnet has fetched already may still come in this turn.
// It forgets AwaitWritable too.
func (r *Reactor[C]) Detach(h Handle) {
	r.writable.forget(h)
	r.Ignore(h)
}

// Ignore takes a socket's input out of the loop's sight, its end too, however
// that comes.
func (r *Reactor[C]) Ignore(h Handle) {
	if !h.Valid() {
		return
	}
	epollDelete(r.epollOf(h), h.FD())
	if h.front == nil {
		r.own.deafen(h, true)
		return
	}
	r.own.yield = true // gnet may have fetched an event of it
}

// Attach undoes Detach and Ignore; the socket is not muted.
func (r *Reactor[C]) Attach(h Handle) error {
	if h.front == nil {
		r.own.deafen(h, false)
	}
	return epollAdd(r.epollOf(h), h.FD(), eventsRead, h.gen)
}

func (r *Reactor[C]) epollOf(h Handle) int {
	if h.front == nil {
		return r.own.epoll
	}
	return r.engine.epoll
}

// AwaitWritable asks for one call of Writable, when the socket takes bytes again.
func (r *Reactor[C]) AwaitWritable(h Handle) error { return r.writable.await(h) }

// ForgetWritable takes that back.
func (r *Reactor[C]) ForgetWritable(h Handle) { r.writable.forget(h) }

// AwaitsWritable returns how many sockets are waited for.
func (r *Reactor[C]) AwaitsWritable() int { return len(r.writable.waiting) }
