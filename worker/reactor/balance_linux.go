package reactor

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenBalance maps the table in the file fd, which it closes. place is this
// process's, from 0; who comes after it at the same place takes over its line. The
// file must be zero at first and must not shrink. Any goroutine.
func OpenBalance(fd, place int) (*Balance, error) {
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	n := int(st.Size / lineSize)
	if place < 0 || place+1 >= n {
		return nil, fmt.Errorf("a table of %d places has none for number %d", n-1, place)
	}
	m, err := unix.Mmap(fd, 0, n*lineSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return newBalance(unsafe.Slice((*line)(unsafe.Pointer(&m[0])), n), place, uint32(os.Getpid())), nil
}
