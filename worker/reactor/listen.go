package reactor

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// gnet binds listeners of its own. It is given throw-away ones, and the sockets
// that somebody else has opened then take their descriptor numbers.

// listener is one of the inherited sockets.
type listener struct {
	Listener
	fd     int  // gnet's number for it
	placed bool // the socket is there
	heard  bool // we accept
	in     int  // the epoll instance that watches it, or nowhere
}

// nowhere is no epoll instance.
const nowhere = -1

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
		ln.heard = true
	}
	return r.attend()
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
	ln.heard = ln.placed
	return r.attend()
}

// Deafen stops accepting, and datagrams too if it is told so. The socket is
// shared with other processes, so closing it would not end the events: it has to
// leave the epoll.
func (r *Reactor[C]) Deafen(datagrams bool) {
	for _, ln := range r.listeners {
		ln.heard = ln.heard && ln.Datagrams && !datagrams
	}
	_ = r.attend() // adds nothing
}

// CloseListeners closes them for good, which frees their addresses should nobody
// else have them. Any goroutine but the loop.
func (r *Reactor[C]) CloseListeners() {
	_ = r.Do(func() { r.Deafen(true) })
	for _, ln := range r.listeners {
		closeFD(ln.FD)
		_ = r.Do(func() { deafen(ln.fd) })
	}
}

// Share makes the reactor heed how many sockets the others have that accept from
// the same listeners; nil changes nothing.
func (r *Reactor[C]) Share(b *Balance) {
	if b != nil {
		r.balance = b
		_ = r.attend()
	}
}

// attend watches each listener where it is to be watched now. Of the processes
// that share one, the kernel wakes one that sleeps for each client, if it waits for
// the very epoll instance that has the listener: so that is gnet's while gnet runs,
// and our own while spin does. Whoever comes anew stands at the end of the queue.
func (r *Reactor[C]) attend() (err error) {
	accepts := false
	for _, ln := range r.listeners {
		accepts = accepts || ln.heard && !ln.Datagrams
		epoll := r.watcher(ln)
		if epoll == ln.in {
			continue
		}
		if ln.in != nowhere {
			epollDelete(ln.in, ln.fd)
			ln.in = nowhere
		}
		if epoll == nowhere {
			continue
		}
		if e := ln.watch(epoll); e != nil {
			err = e
			continue
		}
		ln.in = epoll
	}
	if accepts {
		r.balance.join(r.sockets())
	} else {
		r.balance.leave()
	}
	return err
}

// watcher is the epoll instance that is to have the listener.
func (r *Reactor[C]) watcher(ln *listener) int {
	switch {
	case !ln.heard, r.resting && !ln.Datagrams:
		return nowhere
	case r.spinning && !ln.Datagrams:
		return r.own.epoll
	}
	return r.engine.epoll
}

func (ln *listener) watch(epoll int) error {
	if !ln.Datagrams {
		err := epollAdd(epoll, ln.fd, eventsAccept, 0)
		if !errors.Is(err, unix.EINVAL) { // a kernel that does not know how to wake one alone
			return err
		}
	}
	return epollAdd(epoll, ln.fd, eventsRead, 0)
}

// sockets is how many this process has.
func (r *Reactor[C]) sockets() int { return r.own.n + r.fronts }

// rest leaves clients to the other processes for a moment.
func (r *Reactor[C]) rest() {
	r.resting = true
	_ = r.attend() // adds nothing
	called.rests.Add(1)
	time.AfterFunc(r.balance.restTime(), func() { _ = r.Post(r.rested, 0) })
}

// rested goes on accepting, unless there are clients who are still better left to
// others.
func (r *Reactor[C]) rested() {
	for i, ln := range r.listeners {
		if ln.heard && !ln.Datagrams && r.Waits(i) && r.balance.rested(r.sockets()) {
			r.rest()
			return
		}
	}
	r.resting = false
	if r.attend() != nil {
		r.rest() // and try again
	}
}
