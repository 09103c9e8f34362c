package reactor

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// While only settled sockets and the wake-up are ready, the reactor waits and
// reads by itself, without going back to gnet. gnet yields to Go's scheduler
// after each poll that found nothing, which wakes another thread that takes the
// loop's goroutine away: up to a third of what an echo costs. Whatever gnet alone
// can do makes spin return to it; its next poll finds the same events again,
// since they are level-triggered.

// poller is what spin needs of memory.
type poller struct {
	events []unix.EpollEvent
	inner  []unix.EpollEvent
	buf    []byte
}

// Sizes of a poll. Any event of gnet's instance but the wake-up needs gnet, so
// that two of them tell.
const pollEvents, innerEvents = 512, 2

// linger is how long a wait is that Go does not know of, in ms. For a longer one
// the scheduler is told: its monitor would else look again and again after a
// goroutine that never seems to move.
const linger = 1

func newEpoll() (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return fd, os.NewSyscallError("epoll_create1", err)
}

func (p *poller) init() {
	if p.events == nil {
		p.events, p.inner = make([]unix.EpollEvent, pollEvents), make([]unix.EpollEvent, innerEvents)
		p.buf = make([]byte, ReadChunk)
	}
}

// spin runs in gnet's callback for the wake-up until gnet is needed. It leaves
// with the wake-up rung, so that gnet comes back once its sockets have had their
// turn.
func (r *Reactor[C]) spin() {
	o := &r.own
	if o.n == 0 {
		o.busy, o.yield = false, false
		return
	}
	o.poll.init()
	if o.busy || o.yield { // gnet has more to do: one look at ours, and back
		o.busy, o.yield = false, false
		r.serve(epollNow(o.epoll, o.poll.events, 0))
		r.tasks.ring()
		return
	}
	r.spinning = true
	for err := r.attend(); err == nil && o.n > 0 && !r.engine.leave; {
		n := epollNow(o.epoll, o.poll.events, linger)
		if n == 0 {
			called.waits.Add(1)
			n, _ = unix.EpollWait(o.epoll, o.poll.events, -1)
		}
		if client, inner := r.serve(n); client || inner && r.gnetIsNeeded() {
			break
		}
	}
	r.spinning = false
	if r.attend() != nil {
		r.rest() // and try again
	}
	r.tasks.ring()
}

// serve reads the sockets of the first n events, and reports whether a client is
// there to be accepted, and whether gnet's instance has events.
func (r *Reactor[C]) serve(n int) (client, inner bool) {
	r.round.serving = n > 0
	for i := range max(n, 0) {
		e := &r.own.poll.events[i]
		if e.Pad == 0 {
			gnets := int(e.Fd) == r.engine.epoll
			client, inner = client || !gnets, inner || gnets
			continue
		}
		r.read(e.Fd, uint32(e.Pad))
	}
	r.endRound()
	return client, inner
}

// gnetIsNeeded looks at what gnet watches. The wake-up is answered here, unless
// gnet may have fetched what must be seen before.
func (r *Reactor[C]) gnetIsNeeded() bool {
	o := &r.own
	n := epollNow(r.engine.epoll, o.poll.inner, 0)
	for _, e := range o.poll.inner[:n] {
		if int(e.Fd) != r.engine.wake.Fd() {
			return true
		}
	}
	if n > 0 && !o.yield {
		called.reads.Add(1)
		_, _ = unix.Read(r.engine.wakeFD, o.poll.buf[:8])
		r.wakened()
	}
	return o.yield
}

// read reads what a settled socket has.
func (r *Reactor[C]) read(fd int32, gen uint32) {
	p := r.own.find(fd, gen)
	if p == nil || p.deaf {
		return
	}
	h := Handle{fd: fd, gen: gen}
	n, errno := recvNow(int(fd), r.own.poll.buf)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		r.closeOwn(h, os.NewSyscallError("read", errno))
	case n == 0:
		r.closeOwn(h, io.EOF)
	default:
		r.enter(h)
		r.h.Readable(p.c, r.own.poll.buf[:n])
		r.exit()
	}
}
