package worker

import (
	"os"

	"golang.org/x/sys/unix"
)

func closeFD(fd int) { _ = unix.Close(fd) }

// neverBlock makes reads and writes of fd return at once.
func neverBlock(fd int) error { return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)) }
