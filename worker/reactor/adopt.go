package reactor

import (
	"time"

	"github.com/panjf2000/gnet/v2"
)

// A socket that gnet did not accept itself gets into gnet by way of its accept
// path: a dummy connection to a listener of our own is accepted, and before gnet
// looks at it the real socket takes its descriptor number. That costs no more
// than an accept, in time and in memory.
//
// The descriptor that was given is the reactor's from the call of Adopt on: it is
// closed when its socket has the dummy's number. Order is kept, as dummies are
// accepted in the order in which they were made, and any of them will do for the
// next socket: so it does not matter which dummy is which, and a stranger's cannot
// take a place.

// adoptions are the sockets on that way, in order. The first sent of them have a
// dummy in the listener's accept queue, which must not overflow.
type adoptions[C any] struct {
	to    *address // the dummies' listener, in the abstract namespace
	queue []adoption[C]
	sent  int
}

// adoption is a socket that waits for its dummy to be accepted.
type adoption[C any] struct {
	c       C
	fd      int
	rescued bool
}

// maxDummies is well below the shortest accept queue that a system may have.
const maxDummies = 64

// dummyDelay is when a dummy is tried again that could not be made.
const dummyDelay = time.Millisecond

// Adopt brings the socket fd, a stream, into the loop as c's, and owns it from
// then on. Landed follows in a later turn, in the order of the calls; an engine
// that dies meanwhile only delays it.
func (r *Reactor[C]) Adopt(c C, fd int) { r.adopt(adoption[C]{c: c, fd: fd}) }

func (r *Reactor[C]) adopt(a adoption[C]) {
	r.adopting.queue = append(r.adopting.queue, a)
	r.sendDummies()
}

// openAdoptions puts the listener of the dummies at gnet's first descriptor.
func (r *Reactor[C]) openAdoptions() error {
	fd, to, err := listenAbstract()
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if err := replace(fd, r.engine.first); err != nil {
		return err
	}
	// After a restart of gnet those that were on their way still are.
	r.adopting = adoptions[C]{to: to, queue: r.adopting.queue}
	r.sendDummies()
	return epollAdd(r.engine.epoll, r.engine.first, eventsRead, 0)
}

// sendDummies keeps the accept queue supplied.
func (r *Reactor[C]) sendDummies() {
	a := &r.adopting
	for a.sent < min(len(a.queue), maxDummies) {
		if err := connectAbstract(a.to); err != nil {
			if a.sent == 0 { // nothing on its way would make us try again
				time.AfterFunc(dummyDelay, func() { _ = r.Post(r.sendDummies, 0) })
			}
			return
		}
		a.sent++
	}
}

// arrived puts the next socket in the place of the dummy s.
func (r *Reactor[C]) arrived(s gnet.Conn) gnet.Action {
	q := &r.adopting
	if !ourOwn(s.Fd()) || len(q.queue) == 0 {
		return gnet.Close // a stranger has found the listener
	}
	a := q.queue[0]
	q.queue = q.queue[1:]
	q.sent--
	if len(q.queue) == 0 {
		q.queue = nil
	}
	g := &guest[C]{front: front{s}, c: a.c}
	h := g.handle()
	r.own.busy = true
	r.enter(h)
	r.sendDummies()
	s.SetContext(g)
	r.fronts++
	r.balance.note(r.sockets())
	r.trim(s)
	err := replace(a.fd, s.Fd())
	closeFD(a.fd)
	if err == nil {
		err = epollAdd(r.engine.epoll, s.Fd(), eventsRead, 0)
	}
	if a.rescued {
		r.returned()
	}
	r.h.Landed(a.c, h, err)
	return r.exit()
}
