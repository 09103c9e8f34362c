package worker

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// writable tells when full sockets take bytes again. It is an epoll instance of
// its own, since gnet has no such event, with one-shot items: they are there
// only while a connection has a queue, and gone before a connection moves.
type writable struct {
	file    *os.File // the epoll instance, watched by the Go runtime's own poller
	fd      int
	waiting map[int32]*Conn // by descriptor; the loop's

	mu    sync.Mutex
	ready []unix.EpollEvent // found, not yet seen by the loop
	spare []unix.EpollEvent
}

func newWritable(ring func()) (*writable, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("set epoll non-blocking", err)
	}
	w := &writable{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, waiting: map[int32]*Conn{}}
	rc, err := w.file.SyscallConn()
	if err != nil {
		w.file.Close()
		return nil, err
	}
	go w.collect(rc, ring)
	return w, nil
}

// collect waits for events and rings the loop, on a goroutine of its own, until
// close.
func (w *writable) collect(rc syscall.RawConn, ring func()) {
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		err := rc.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return
		}
		if n > 0 {
			w.mu.Lock()
			w.ready = append(w.ready, events[:n]...)
			w.mu.Unlock()
			ring()
		}
	}
}

func (w *writable) close() { w.file.Close() }

// event is the item of c: its descriptor, and bits of its id, so that an event
// of a connection that has closed is not taken for one of its successor.
func event(c *Conn) *unix.EpollEvent {
	return &unix.EpollEvent{
		Events: unix.EPOLLOUT | unix.EPOLLONESHOT,
		Fd:     int32(c.sock.Fd()),
		Pad:    tag(c),
	}
}

func tag(c *Conn) int32 {
	return int32(c.id[0]) | int32(c.id[1])<<8 | int32(c.id[2])<<16 | int32(c.id[3])<<24
}

// watch asks for one event; it runs when a queue begins.
func (w *writable) watch(l *loop, c *Conn) {
	e := event(c)
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, int(e.Fd), e); err != nil {
		l.destroy(c, os.NewSyscallError("epoll_ctl add", err))
		return
	}
	c.out.watched = true
	w.waiting[e.Fd] = c
}

// rearm asks for the next event.
func (w *writable) rearm(l *loop, c *Conn) {
	e := event(c)
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_MOD, int(e.Fd), e); err != nil {
		l.destroy(c, os.NewSyscallError("epoll_ctl mod", err))
	}
}

// forget takes c out; its socket is still open.
func (w *writable) forget(_ *loop, c *Conn) {
	if c.out != nil && c.out.watched {
		epollDelete(w.fd, c.sock.Fd())
		delete(w.waiting, int32(c.sock.Fd()))
		c.out.watched = false
	}
}

// flush drains the queues of the sockets that have become writable.
func (w *writable) flush(l *loop) {
	w.mu.Lock()
	ready := w.ready
	w.ready = w.spare[:0]
	w.mu.Unlock()
	for _, e := range ready {
		if c := w.waiting[e.Fd]; c != nil && tag(c) == e.Pad && c.out != nil {
			l.drain(c)
		}
	}
	w.spare = ready
}
