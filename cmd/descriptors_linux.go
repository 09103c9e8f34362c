package cmd

import (
	"math"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sealDescriptors keeps what this process has open beyond stdin, stdout and
// stderr from the processes that it will start. It returns what came from
// whoever started this one: all that Go opens is sealed anyway.
func sealDescriptors() (inherited []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // without it: as before
		return nil
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			syscall.CloseOnExec(fd)
			inherited = append(inherited, fd)
		}
	}
	return inherited
}

// closeInherited closes what the shell, or a script that holds a lock, had open
// when it started this master: it would stay open, and locked, for the life of
// the server. The sockets of a service manager stay.
func closeInherited(fds []int) {
	manager := 3
	if pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID")); pid == os.Getpid() {
		n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
		manager += n
	}
	for _, fd := range fds {
		if fd >= manager {
			syscall.Close(fd)
		}
	}
}
