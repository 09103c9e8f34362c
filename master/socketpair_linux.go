package master

import (
	"os"

	"golang.org/x/sys/unix"
)

// socketpair returns the two ends of a stream channel.
func socketpair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "hand-over"), os.NewFile(uintptr(fds[1]), "hand-over"), nil
}

// sever ends the conversation over a channel at both ends, whoever holds them.
func sever(end *os.File) {
	raw, err := end.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	_ = err // closed: there is no conversation
}
