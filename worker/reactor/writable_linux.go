package reactor

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// writable tells when full sockets take bytes again. It is an epoll instance of
// its own, since gnet has no such event, with one-shot items: they are there
// only while somebody waits, and gone before the socket moves.
type writable struct {
	file    *os.File // the epoll instance, watched by the Go runtime's own poller
	fd      int
	waiting map[int32]waiter // by descriptor; the loop's
	asked   int32            // how often a socket has begun to wait; the loop's

	mu    sync.Mutex
	ready []unix.EpollEvent // found, not yet seen by the loop
	spare []unix.EpollEvent
}

// waiter is a socket that waits. The tag is in its events, so that one of a
// socket that has closed is not taken for one of its successor.
type waiter struct {
	h   Handle
	tag int32
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
	w := &writable{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, waiting: map[int32]waiter{}}
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

// await asks for one event of h, for the first time or again.
func (w *writable) await(h Handle) error {
	fd := int32(h.FD())
	op, name := unix.EPOLL_CTL_MOD, "epoll_ctl mod"
	at, waits := w.waiting[fd]
	if !waits {
		w.asked++
		at = waiter{h, w.asked}
		op, name = unix.EPOLL_CTL_ADD, "epoll_ctl add"
	}
	e := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: fd, Pad: at.tag}
	called.changes.Add(1)
	if err := unix.EpollCtl(w.fd, op, int(fd), &e); err != nil {
		return os.NewSyscallError(name, err)
	}
	w.waiting[fd] = at
	return nil
}

// forget takes h out; its socket is still open.
func (w *writable) forget(h Handle) {
	if len(w.waiting) == 0 || !h.Valid() {
		return
	}
	fd := int32(h.FD())
	if at, waits := w.waiting[fd]; waits && at.h == h {
		epollDelete(w.fd, int(fd))
		delete(w.waiting, fd)
	}
}

// flush calls fn for the sockets that have become writable; each stays until
// forget. fn may forget any.
func (w *writable) flush(fn func(Handle)) {
	w.mu.Lock()
	ready := w.ready
	w.ready = w.spare[:0]
	w.mu.Unlock()
	for _, e := range ready {
		if at, waits := w.waiting[e.Fd]; waits && at.tag == e.Pad {
			fn(at.h)
		}
	}
	w.spare = ready
}
