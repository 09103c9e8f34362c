package worker

import "golang.org/x/sys/unix"

// Flags of unix.Socket and unix.Socketpair.
const (
	closeOnExec = unix.SOCK_CLOEXEC
	nonBlocking = unix.SOCK_NONBLOCK
)
