// Package client is a WebSocket client for load: many connections, one epoll
// loop, one goroutine, and next to nothing held for a connection that is idle.
package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Loop owns its connections. Everything but Post and Stop belongs to the
// goroutine that is in Run, or to the one that made the loop before Run.
type Loop struct {
	// Totals since the loop was made.
	BytesIn, BytesOut int64
	Messages, Pings   int64

	epoll, timer, wake int
	conns              []*Conn // by descriptor
	lives              int32
	dials, closings    deadlines
	timers             timers
	random             *rand.Rand
	buffer             []byte // shared by all reads
	plain              []byte // shared by all that decrypt
	frame              []byte // shared by all writes
	stopped            bool

	mu     sync.Mutex
	posted []func()
	over   bool // the descriptors are closed, and may be somebody else's by now
}

// NewLoop makes a loop; Run closes its descriptors when it returns.
func NewLoop() (*Loop, error) {
	l := &Loop{
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		buffer: make([]byte, 64<<10),
		plain:  make([]byte, 64<<10),
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		_ = unix.Close(l.epoll)
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		_, _ = unix.Close(l.epoll), unix.Close(l.timer)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	for _, fd := range []int{l.timer, l.wake} {
		if err := l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, 0); err != nil {
			l.release()
			return nil, err
		}
	}
	return l, nil
}

// Post runs f on the loop, soon. It may be called from any goroutine; after
// the loop has stopped it does nothing.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock() // after the write: release closes the descriptor under this lock
	if l.over {
		return
	}
	if l.posted = append(l.posted, f); len(l.posted) == 1 {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Stop makes Run return. It may be called from any goroutine.
func (l *Loop) Stop() { l.Post(func() { l.stopped = true }) }

// Run serves the connections until Stop, then closes those that are left
// without calling their handlers.
func (l *Loop) Run() error {
	defer l.release()
	l.sweep()
	events := make([]unix.EpollEvent, 1024)
	for !l.stopped {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			switch int(e.Fd) {
			case l.timer, l.wake:
				var eight [8]byte
				_, _ = unix.Read(int(e.Fd), eight[:])
			default:
				l.event(e)
			}
		}
		l.runPosted()
		l.runTimers()
	}
	return nil
}

// event serves one socket. The life in the event guards against a descriptor
// that was closed and given out again within the same batch.
func (l *Loop) event(e unix.EpollEvent) {
	c := l.conns[e.Fd]
	if c == nil || c.life != e.Pad {
		return
	}
	if c.state == dialing {
		l.connected(c)
		return
	}
	if e.Events&unix.EPOLLOUT != 0 {
		l.flush(c)
	}
	if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && c.state < gone {
		l.read(c, l.buffer)
	}
}

// Dial starts a connection. Its outcome, good or bad, comes to the handler
// later, never from within Dial.
func (l *Loop) Dial(t *Target, h Handler, tag uint32) *Conn {
	l.lives++
	c := &Conn{Tag: tag, fd: -1, life: l.lives, handler: h}
	fd, err := t.dial()
	if err != nil {
		l.dropLater(c, err)
		return c
	}
	c.fd = int32(fd)
	c.buffers().target = t
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	c.events = unix.EPOLLOUT
	if err := l.control(unix.EPOLL_CTL_ADD, fd, c.events, c.life); err != nil {
		l.dropLater(c, err)
		return c
	}
	l.dials.add(c, HandshakeTimeout)
	return c
}

// connected sends the request once the socket has its peer.
func (l *Loop) connected(c *Conn) {
	code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		l.drop(c, fmt.Errorf("connect %s: %w", c.target.address, err))
		return
	}
	if config := c.target.TLS; config != nil {
		l.shake(c, config)
		return
	}
	l.request(c)
}

// request asks for the upgrade.
func (l *Loop) request(c *Conn) {
	target := c.target
	c.target, c.key, c.state, c.way = nil, newKey(), handshaking, target.way
	switch target.way {
	case byWebSocket:
		l.frame = appendRequest(l.frame[:0], target, c.key)
	case byPolls:
		c.poll = &polling{target: target}
		fallthrough
	default:
		l.frame = appendGet(l.frame[:0], target, "")
	}
	l.write(c, l.frame)
	l.watch(c)
}

// watch tells epoll what the connection waits for, if that has changed.
func (l *Loop) watch(c *Conn) {
	if c.state == dialing || c.state == gone {
		return
	}
	var events uint32
	if !c.paused {
		events |= unix.EPOLLIN
	}
	if c.incomplete != nil && len(c.out) > 0 {
		events |= unix.EPOLLOUT
	}
	if events != c.events {
		c.events = events
		_ = l.control(unix.EPOLL_CTL_MOD, int(c.fd), events, c.life)
	}
}

// drop closes the socket and reports it. Once our close frame is out, any end
// but a time-out is the one we asked for.
func (l *Loop) drop(c *Conn, err error) {
	if c.state == gone {
		return
	}
	if c.state == closing && !errors.Is(err, ErrUnanswered) {
		err = nil
	}
	c.state = gone
	if c.fd >= 0 {
		l.conns[c.fd] = nil
		_ = unix.Close(int(c.fd))
	}
	if c.secure != nil {
		c.secure.fail()
	}
	c.incomplete = nil
	c.handler.Closed(c, err)
}

// Do runs a function on the loop and waits for it. Any other goroutine.
func (l *Loop) Do(fn func()) {
	done := make(chan struct{})
	l.Post(func() { fn(); close(done) })
	<-done
}

// dropLater is drop for callers that may be inside a handler.
func (l *Loop) dropLater(c *Conn, err error) {
	l.Post(func() { l.drop(c, err) })
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

func (l *Loop) control(op, fd int, events uint32, life int32) error {
	err := unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: life})
	return os.NewSyscallError("epoll_ctl", err)
}

func (l *Loop) release() {
	for _, c := range l.conns {
		if c != nil {
			_ = unix.Close(int(c.fd))
			if c.secure != nil {
				c.secure.fail()
			}
		}
	}
	l.conns = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	_, _, _ = unix.Close(l.timer), unix.Close(l.wake), unix.Close(l.epoll)
}
