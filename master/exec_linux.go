package master

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setName sets the name that ps and top show. Nothing depends on it.
func setName(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte(strings.TrimSuffix(name, " (deleted)")), 0)
}

// newMemory returns a file in memory that holds data, to be read from its start.
func newMemory(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// newSealed is newMemory of data that nobody can change any more.
func newSealed(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(data); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// newShared returns a file in memory of that many zeros, whose size nobody can
// change: whoever has mapped it would die of that.
func newShared(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err = f.Truncate(size); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// setInherited says whether fd survives an execve.
func setInherited(fd int, is bool) error {
	flag := unix.FD_CLOEXEC
	if is {
		flag = 0
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag)
	return err
}

// sigaction is the kernel's: the handler comes first wherever pushd runs, and
// what follows is only kept.
type sigaction struct {
	handler uintptr
	rest    [7]uintptr
}

// sigIgn as a handler makes the kernel drop the signal (SIG_IGN).
const sigIgn = 1

// ignoreInKernel makes the kernel drop sigs, now and in a program that is executed,
// while the runtime is still ready for those that are on their way to a handler.
// What it returns puts back what was.
func ignoreInKernel(sigs []os.Signal) (restore func()) {
	old := make(map[syscall.Signal]*sigaction)
	for _, s := range sigs {
		if sig, ok := s.(syscall.Signal); ok {
			old[sig] = new(sigaction)
			setAction(sig, &sigaction{handler: sigIgn}, old[sig])
		}
	}
	return func() {
		for sig, action := range old {
			setAction(sig, action, nil)
		}
	}
}

// setAction is rt_sigaction, which fails only for signals that do not exist.
func setAction(sig syscall.Signal, action, old *sigaction) {
	const maskSize = 8 // bytes of the kernel's signal set
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), maskSize, 0, 0)
}

// forkUnprivileged is syscall.ForkExec for a process that, with all that it will
// start, can gain no privilege by executing a file: programs that are setuid, or
// have capabilities, run as the user they are started by. The flag is a thread's
// and goes to what it starts, so a thread that ends with this carries it. The main
// thread never ends, and its flags are shown as those of the process: while it is
// held here, another one is taken.
func forkUnprivileged(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			pid, err = forkUnprivileged(path, argv, attr)
			runtime.UnlockOSThread()
			return
		}
		// Never unlocked: the thread ends with this.
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err == nil {
			pid, err = syscall.ForkExec(path, argv, attr)
		}
	}()
	<-done
	return pid, err
}
