package reactor

import (
	"errors"
	"net"
	"net/netip"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// Handle is the loop's name of a socket: two words to keep and to compare. The
// zero one is none. It is good from Opened or Landed to Closed or Lost.
type Handle struct{ conn gnet.Conn }

// Valid reports whether it is a socket's.
func (h Handle) Valid() bool { return h.conn != nil }

// FD returns the descriptor, -1 for the zero handle. It must not be closed, and
// may be another one after an adoption.
func (h Handle) FD() int {
	if h.conn == nil {
		return -1
	}
	return h.conn.Fd()
}

// Peer returns the address at the other end; it is not valid for unix sockets
// and where the peer has left.
func (h Handle) Peer() netip.AddrPort {
	if h.conn == nil {
		return netip.AddrPort{}
	}
	if a, ok := h.conn.RemoteAddr().(*net.UDPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return peerOf(h.conn.Fd())
}

// Write writes what the socket takes now, which may be nothing. It never blocks
// and keeps nothing: the rest is the caller's, who may AwaitWritable. An error
// says that the socket is broken.
func (h Handle) Write(p []byte) (int, error) {
	for {
		n, err := sendNow(h.conn.Fd(), p)
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
func (h Handle) Unread() bool { return unread(h.conn.Fd()) }

// ErrFull says that a socket takes no datagram now; this one is lost.
var ErrFull = errors.New("socket is full")

// Reply sends a datagram to the sender of the one that the handle stands for.
func (h Handle) Reply(p []byte) error {
	_, err := h.conn.Write(p)
	if errors.Is(err, unix.EAGAIN) {
		return ErrFull
	}
	return err
}

// ShutWrite ends our side of a stream and reports whether the peer's is still
// worth waiting for.
func (h Handle) ShutWrite() bool { return shutWrite(h.conn.Fd()) }

// Close closes the socket: at once, or at the end of the turn if that is about
// it. Closed follows, with nil. The zero handle and a closed one are no matter.
func (r *Reactor[C]) Close(h Handle) {
	switch {
	case !h.Valid():
	case h == r.current:
		r.doomed = true
	default:
		before := r.closing
		r.closing = h
		_ = h.conn.EventLoop().Close(h.conn)
		r.closing = before
	}
}

// Mute stops reading, or goes on with it. Meanwhile what the peer sends waits in
// the kernel, and that it leaves orderly is not noticed.
func (r *Reactor[C]) Mute(h Handle, mute bool) error {
	if mute {
		return epollModify(r.engine.epoll, h.FD(), eventsNone)
	}
	return epollModify(r.engine.epoll, h.FD(), eventsRead)
}

// Detach takes a socket out of the loop's sight, as long as its descriptor is in
// two processes. What gnet has fetched already may still come in this turn.
// It forgets AwaitWritable too.
func (r *Reactor[C]) Detach(h Handle) {
	r.writable.forget(h)
	r.Ignore(h)
}

// Ignore takes a socket's input out of the loop's sight, its end too, however
// that comes.
func (r *Reactor[C]) Ignore(h Handle) { epollDelete(r.engine.epoll, h.FD()) }

// Attach undoes Detach and Ignore; the socket is not muted.
func (r *Reactor[C]) Attach(h Handle) error { return epollAdd(r.engine.epoll, h.FD(), eventsRead) }

// AwaitWritable asks for one call of Writable, when the socket takes bytes again.
func (r *Reactor[C]) AwaitWritable(h Handle) error { return r.writable.await(h) }

// ForgetWritable takes that back.
func (r *Reactor[C]) ForgetWritable(h Handle) { r.writable.forget(h) }

// AwaitsWritable returns how many sockets are waited for.
func (r *Reactor[C]) AwaitsWritable() int { return len(r.writable.waiting) }
