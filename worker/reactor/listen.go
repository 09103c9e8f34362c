package reactor

import (
	"fmt"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// gnet binds listeners of its own. It is given throw-away ones, and the sockets
// that somebody else has opened then take their descriptor numbers.

// listener is one of the inherited sockets.
type listener struct {
	Listener
	fd     int  // gnet's number for it
	placed bool // the socket is there
	heard  bool // it is in gnet's epoll: we accept
}

func (ln *listener) network() string {
	if ln.Datagrams {
		return "udp"
	}
	return "tcp"
}

// throwaway returns the address of gnet's listener i: loopback, any port, and an
// IP that tells i. The first is the reactor's own, ours follow.
func throwaway(i int) string { return fmt.Sprintf("127.0.%d.%d:0", 1+i/200, 1+i%200) }

// listenerOf undoes throwaway for a socket of that listener, -1 for strangers.
func listenerOf(s gnet.Conn) int {
	switch a := s.LocalAddr().(type) {
	case *net.TCPAddr:
		return numberIn(a.IP)
	case *net.UDPAddr:
		return numberIn(a.IP)
	}
	return -1
}

func numberIn(ip net.IP) int {
	ip = ip.To4()
	if ip == nil {
		return -1
	}
	return int(ip[2]-1)*200 + int(ip[3]-1)
}

// listenerFD returns the number of gnet's own descriptor of a listener.
func listenerFD(eng gnet.Engine, network, addr string) (int, error) {
	dup, err := eng.DupListener(network, addr)
	if err != nil {
		return -1, fmt.Errorf("find listener %s: %w", addr, err)
	}
	return twin(dup)
}

// Listen accepts clients from now on.
func (r *Reactor[C]) Listen() error {
	for _, ln := range r.listeners {
		if !ln.placed {
			if err := replace(ln.FD, ln.fd); err != nil {
				return err
			}
			ln.placed = true
		}
	}
	for _, ln := range r.listeners {
		if !ln.heard {
			if err := epollAdd(r.engine.epoll, ln.fd, eventsRead, 0); err != nil {
				return err
			}
			ln.heard = true
		}
	}
	return nil
}

// Waits reports whether a client waits to be accepted by listener i, whoever may
// do that.
func (r *Reactor[C]) Waits(i int) bool {
	ln := r.listeners[i]
	return ln.placed && readable(ln.fd)
}

// Hear is Listen for listener i alone.
func (r *Reactor[C]) Hear(i int) error {
	ln := r.listeners[i]
	if !ln.placed || ln.heard {
		return nil
	}
	if err := epollAdd(r.engine.epoll, ln.fd, eventsRead, 0); err != nil {
		return err
	}
	ln.heard = true
	return nil
}

// Deafen stops accepting, and datagrams too if it is told so. The socket is
// shared with other processes, so closing it would not end the events: it has to
// leave the epoll.
func (r *Reactor[C]) Deafen(datagrams bool) {
	for _, ln := range r.listeners {
		if ln.heard && (datagrams || !ln.Datagrams) {
			epollDelete(r.engine.epoll, ln.fd)
			ln.heard = false
		}
	}
}

// CloseListeners closes them for good, which frees their addresses should nobody
// else have them. Any goroutine but the loop.
func (r *Reactor[C]) CloseListeners() {
	for _, ln := range r.listeners {
		closeFD(ln.FD)
		_ = r.Do(func() { deafen(ln.fd) })
	}
}
