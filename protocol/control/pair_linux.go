package control

import "golang.org/x/sys/unix"

// socketpair keeps message boundaries and reports the other end's death.
func socketpair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}
