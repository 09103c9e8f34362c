package cmd

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// title sets the name that ps and top show: children run from a numbered
// descriptor. Nothing depends on it.
func title(name string) { os.WriteFile("/proc/self/comm", []byte(name), 0) }

// redirect makes f this process's stdout and stderr.
func redirect(f *os.File) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := rc.Control(func(fd uintptr) {
		for _, std := range []int{1, 2} {
			if e := unix.Dup3(int(fd), std, 0); e != nil {
				err = os.NewSyscallError("dup3", e)
			}
		}
	})
	return errors.Join(err, ctlErr)
}
