package reactor

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls that gnet does not offer: descriptors put in place of its
// own, and its epoll instance.

// twin returns the other descriptor of the socket behind dup, and closes dup.
func twin(dup int) (int, error) {
	defer unix.Close(dup)
	var want, st unix.Stat_t
	if err := unix.Fstat(dup, &want); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err == nil && fd != dup && unix.Fstat(fd, &st) == nil && st.Ino == want.Ino && st.Dev == want.Dev {
			return fd, nil
		}
	}
	return -1, errors.New("gnet's listener is not among our descriptors")
}

// boundAddr returns the address that a TCP socket is bound to.
func boundAddr(fd int) (net.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	in, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return nil, fmt.Errorf("getsockname: unexpected %T", sa)
	}
	return &net.TCPAddr{IP: in.Addr[:], Port: in.Port}, nil
}

// epollOf finds the epoll instance of this process that watches fd.
func epollOf(fd int) (int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, err
	}
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); target != "anon_inode:[eventpoll]" {
			continue
		}
		if watches("/proc/self/fdinfo/"+e.Name(), fd) {
			return strconv.Atoi(e.Name())
		}
	}
	return -1, fmt.Errorf("no epoll instance watches descriptor %d", fd)
}

func watches(fdinfo string, fd int) bool {
	f, err := os.Open(fdinfo)
	if err != nil {
		return false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if w := strings.Fields(sc.Text()); len(w) > 1 && w[0] == "tfd:" && w[1] == strconv.Itoa(fd) {
			return true
		}
	}
	return false
}

// installWake puts an eventfd at the number fd, where gnet has a connection,
// and returns the epoll instance that now watches it.
func installWake(fd int) (epoll, event int, err error) {
	if epoll, err = epollOf(fd); err != nil {
		return -1, -1, err
	}
	event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return -1, -1, os.NewSyscallError("eventfd", err)
	}
	if err = replace(event, fd); err == nil {
		err = epollAdd(epoll, fd, unix.EPOLLIN, 0)
	}
	if err != nil {
		unix.Close(event)
		return -1, -1, err
	}
	return epoll, event, nil
}

// blank returns an eventfd: no process has the other end, and it takes little.
func blank() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return fd, os.NewSyscallError("eventfd", err)
}

// signal makes the eventfd readable; a full counter already is.
func signal(fd int) {
	called.rings.Add(1)
	_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// replace makes the number fd refer to what from refers to. The epoll item of
// what was there is gone unless another descriptor shares it.
func replace(from, fd int) error {
	return os.NewSyscallError("dup3", unix.Dup3(from, fd, unix.O_CLOEXEC))
}

// deafen closes the socket at a number that gnet still believes to be its
// listener, and leaves /dev/null there for gnet to close.
func deafen(fd int) {
	if null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		_ = replace(null, fd)
		unix.Close(null)
	}
}

// epollAdd watches fd; its events carry the number and the tag.
func epollAdd(epoll, fd int, events, tag uint32) error {
	called.changes.Add(1)
	return os.NewSyscallError("epoll_ctl add",
		unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Fd: int32(fd), Pad: int32(tag), Events: events}))
}

func epollModify(epoll, fd int, events, tag uint32) error {
	called.changes.Add(1)
	return os.NewSyscallError("epoll_ctl mod",
		unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Fd: int32(fd), Pad: int32(tag), Events: events}))
}

func epollDelete(epoll, fd int) {
	called.changes.Add(1)
	_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

const (
	eventsRead = unix.EPOLLIN | unix.EPOLLPRI // what gnet watches
	eventsNone = 0

	// For a listener that processes share: a client wakes one of those that sleep.
	eventsAccept = unix.EPOLLIN | unix.EPOLLEXCLUSIVE
)

// OpenFiles returns the soft limit of descriptors, raised to the hard one. Any
// goroutine.
func OpenFiles() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1024
	}
	if lim.Cur < lim.Max {
		raised := unix.Rlimit{Cur: lim.Max, Max: lim.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			return int(raised.Cur)
		}
	}
	return int(lim.Cur)
}

// LowestFree returns the number that the next descriptor will get, -1 when
// there is none left. Any goroutine.
func LowestFree() int {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	unix.Close(fd)
	return fd
}

// For a statx(2) that allocates nothing.
var descriptorsPath = [...]byte{'/', 'p', 'r', 'o', 'c', '/', 's', 'e', 'l', 'f', '/', 'f', 'd', 0}

const atCWD = ^uintptr(99) // AT_FDCWD, -100

// Descriptors returns how many descriptors this process has open. The kernel
// keeps count (Linux 6.2); where it does not they are listed, unless list is
// false: then it is -1. Any goroutine.
func Descriptors(list bool) int {
	var st unix.Statx_t
	if _, _, e := unix.RawSyscall6(unix.SYS_STATX, atCWD, uintptr(unsafe.Pointer(&descriptorsPath[0])), 0, unix.STATX_SIZE,
		uintptr(unsafe.Pointer(&st)), 0); e == 0 && st.Size > 0 {
		return int(st.Size)
	}
	if !list {
		return -1
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries) - 1 // the folder itself
}

// Spare reports whether n more descriptors could be opened. Any goroutine.
func Spare(n int) bool {
	var opened []int
	defer func() {
		for _, fd := range opened {
			unix.Close(fd)
		}
	}()
	for range n {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		opened = append(opened, fd)
	}
	return true
}

// sendNow is a send(2) that cannot block, so that Go's scheduler need not hear
// of it. Beside that it saves the file layer that a write(2) goes through: in
// all a tenth of the CPU of an echo or a delivery.
func sendNow(fd int, p []byte) (int, unix.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	called.writes.Add(1)
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

// recvNow is a recv(2) of the same kind.
func recvNow(fd int, p []byte) (int, unix.Errno) {
	called.reads.Add(1)
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// epollNow is an epoll_wait(2) of at most ms milliseconds of which Go's scheduler
// does not hear: a wait that short is the usual one under load. A signal ends it,
// so that the collector does not wait for it. It returns the number of events, 0
// also for an error.
func epollNow(epoll int, events []unix.EpollEvent, ms int) int {
	called.waits.Add(1)
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(ms), 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

func shutWrite(fd int) bool { return unix.Shutdown(fd, unix.SHUT_WR) == nil }

// readable reports whether a read, or an accept, would not block.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

func unread(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// silence asks TCP for the bytes that are out and not acknowledged, and for the
// time since the last acknowledgement.
func silence(fd int) time.Duration {
	if n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ); err != nil || n == 0 {
		return 0
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond
}

// Duplicate returns another descriptor of what fd refers to. Any goroutine.
func Duplicate(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("dup", err)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// address is that of a unix socket.
type address = unix.SockaddrUnix

// listenAbstract opens a listener at an abstract address of random name.
func listenAbstract() (fd int, to *address, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	name := make([]byte, 16)
	if _, err = rand.Read(name); err == nil {
		to = &address{Name: fmt.Sprintf("@pushd-%x", name)}
		if err = os.NewSyscallError("bind", unix.Bind(fd, to)); err == nil {
			err = os.NewSyscallError("listen", unix.Listen(fd, 4096))
		}
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, to, err
}

// connectAbstract makes a connection and leaves it at once; it can still be
// accepted.
func connectAbstract(to *address) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("connect", unix.Connect(fd, to))
}

// ourOwn reports whether this process is at the other end of a unix socket.
func ourOwn(fd int) bool {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(cred.Pid) == os.Getpid()
}

// peerOf returns the address at the other end of a socket; invalid for unix
// sockets and closed ones.
func peerOf(fd int) netip.AddrPort {
	sa, err := syscall.Getpeername(fd) // that of unix asks for the protocol too
	if err != nil {
		return netip.AddrPort{}
	}
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
