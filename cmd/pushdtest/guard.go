package pushdtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// A test program may be killed, or panic when its time is over, and then runs no
// cleanup. So a process of its own outlives it by a moment and ends whatever it
// has left.

// guardEnv makes the test program that process. Its value is the variable by
// which all processes of the run are known, and after it, on further lines,
// folders to remove.
const guardEnv = "PUSHDTEST_GUARD"

// runMark is that variable's name.
const runMark = "PUSHDTEST_RUN"

// startGuard starts the guard: it acts when the pipe that is returned is closed,
// as the kernel does at the end of this process, however that comes.
func startGuard(mark, dir string) (io.Closer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := exec.Command(self)
	c.Stdin = r
	c.Env = append(os.Environ(), guardEnv+"="+mark+"\n"+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // signals to our group are not for it
	if err := c.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return w, nil
}

// guard is the life of that process.
func guard(what string) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	_, _ = io.Copy(io.Discard, os.Stdin)
	mark, dir, _ := strings.Cut(what, "\n")
	for range 100 { // a killed master's children may start no more
		left := Processes(mark)
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
	os.RemoveAll(dir)
}
