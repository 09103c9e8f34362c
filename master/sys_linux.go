package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// supported says whether a master can run on this system.
func supported() error { return nil }

// redirect makes descriptor to the same as from.
func redirect(from, to int) error { return unix.Dup3(from, to, 0) }

// dupAbove duplicates fd to the first free number from least on.
func dupAbove(fd, least int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least)
}

// setUserTimeout bounds how long data that the peer does not acknowledge may
// stay unsent; sockets accepted from fd inherit it.
func setUserTimeout(fd int, ms int64) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ms))
}

// setKeepAlive lets the kernel look for peers that have been silent for so long,
// where the protocol has no ping of its own: it finds them gone a fifth of that
// time later. 0 = never. Sockets accepted from fd inherit it.
func setKeepAlive(fd int, ms int64) error {
	on, idle := 0, min(max(int(ms/1000), 1), 32767) // what the kernel takes
	if ms > 0 {
		on = 1
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, on),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(idle/5, 1)))
}

// dropsOf returns how many datagrams found no room in the socket's buffer.
func dropsOf(fd int) uint64 {
	var info [unix.SK_MEMINFO_DROPS + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0
	}
	return uint64(info[unix.SK_MEMINFO_DROPS])
}

// peerOf returns the user and group that the other end of c connected with.
func peerOf(c *net.UnixConn) (uid, gid uint32, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(cerr, err); err != nil {
		return 0, 0, fmt.Errorf("read peer credentials: %w", err)
	}
	return cred.Uid, cred.Gid, nil
}

// acceptWaiting accepts all who wait at ln now, and waits for nobody.
func acceptWaiting(ln *net.UnixListener) (all []*net.UnixConn) {
	rc, err := ln.SyscallConn()
	if err != nil {
		return nil // closed
	}
	_ = rc.Control(func(door uintptr) {
		for {
			fd, _, err := unix.Accept4(int(door), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != nil { // as a rule EAGAIN
				return
			}
			f := os.NewFile(uintptr(fd), controlSock)
			c, err := net.FileConn(f) // a duplicate
			f.Close()
			if err == nil {
				all = append(all, c.(*net.UnixConn))
			}
		}
	})
	return all
}

// handle refers to a process that need not be a child, and never to another
// one that got its number.
type handle struct{ fd int }

// openProcess returns a handle of the process that has pid and started at
// start; errGone if there is none.
func openProcess(pid int, start uint64) (*handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	// The start time is compared after the handle was taken: now it is either
	// of this process or of one that came later.
	if !aliveSince(pid, start) {
		unix.Close(fd)
		return nil, errGone
	}
	return &handle{fd}, nil
}

func (h *handle) signal(sig unix.Signal) error {
	return unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

// wait returns true once the process has exited, false after timeout.
func (h *handle) wait(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n == 1 || err != nil && !errors.Is(err, unix.EINTR) {
			return n == 1
		}
		if left == 0 {
			return false
		}
	}
}

func (h *handle) close() { unix.Close(h.fd) }

// asUser runs do with the rights of cred on files.
func asUser(cred *syscall.Credential, do func() error) error {
	over := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends, and its rights with it
		groups := append([]uint32{}, cred.Groups...)
		_, _, _ = unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
		_, _ = unix.SetfsgidRetGid(int(cred.Gid))
		_, _ = unix.SetfsuidRetUid(int(cred.Uid)) // which takes root's rights, too
		over <- do()
	}()
	return <-over
}

// mayWrite says why this process could make no file in dir. Folders that the kernel
// makes up let root write, and take nothing.
func mayWrite(dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err == nil && (s.Type == unix.PROC_SUPER_MAGIC || s.Type == unix.SYSFS_MAGIC) {
		return syscall.EROFS
	}
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// tryBind binds a socket of that type for a moment, without listening: another
// socket that is about to be bound there does not notice. ip nil = all addresses.
func tryBind(typ int, ip net.IP, port int) error {
	var addr unix.Sockaddr
	family := unix.AF_INET6
	switch v4 := ip.To4(); {
	case v4 != nil && !v4.IsUnspecified():
		family = unix.AF_INET
		addr = &unix.SockaddrInet4{Port: port, Addr: [4]byte(v4)}
	case ip == nil || ip.IsUnspecified():
		addr = &unix.SockaddrInet6{Port: port}
	default:
		addr = &unix.SockaddrInet6{Port: port, Addr: [16]byte(ip.To16())}
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && (ip == nil || ip.IsUnspecified()) { // a kernel without IPv6
		addr = &unix.SockaddrInet4{Port: port}
		fd, err = unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, addr)
}

// monotonicMicros is CLOCK_MONOTONIC in microseconds.
func monotonicMicros() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // never fails
	return t.Nano() / 1000
}

// changed returns when a file's inode was last written, in ns.
func changed(st *syscall.Stat_t) int64 { return st.Ctim.Nano() }
