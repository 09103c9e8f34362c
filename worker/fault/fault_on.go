//go:build faults

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol/tls"
)

// FaultFile names the environment variable with the path of a file that says
// what is to fail: "POINT N SIGNAL PID" in four lines. Who passes the point for
// the Nth time in its life removes the file, so that it happens once, and sends
// the signal (a number) to the process, 0 being itself.
const FaultFile = "PUSHD_TEST_FAULT"

var faults struct {
	sync.Mutex
	passed map[string]int
}

// NonceFile names the environment variable with the path of a file to which each
// process appends what it has sealed TLS records under: 16 bytes each. None may be
// there twice, whichever processes a connection has been in.
const NonceFile = "PUSHD_TEST_NONCES"

// EarlyUpdates names the environment variable with the number of records after which
// keys of TLS change. Each time one has, a byte is appended to the file NonceFile
// with ".updates" behind it: 'c' for a client's, 's' for ours.
const EarlyUpdates = "PUSHD_TEST_EARLY_UPDATES"

func init() {
	path := os.Getenv(NonceFile)
	if path == "" {
		return
	}
	seals := appendTo(path)
	tls.OnSeal = func(u tls.Used) { seals(u[:]) }
	if n, err := strconv.ParseUint(os.Getenv(EarlyUpdates), 10, 32); err == nil {
		updates := appendTo(path + ".updates")
		tls.Early(uint32(n))
		tls.OnUpdate = func(clients bool) {
			if clients {
				updates([]byte("c"))
			} else {
				updates([]byte("s"))
			}
		}
	}
}

func appendTo(path string) func([]byte) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return func(b []byte) {
		if _, err := f.Write(b); err != nil {
			panic(err)
		}
	}
}

// Point marks a moment at which the tests make a process fail, on any goroutine.
func Point(point string) {
	faults.Lock()
	defer faults.Unlock()
	if faults.passed == nil {
		faults.passed = map[string]int{}
	}
	faults.passed[point]++
	path := os.Getenv(FaultFile)
	order, err := os.ReadFile(path)
	if err != nil {
		return
	}
	lines := strings.Split(string(order), "\n")
	var n, signal, pid int
	if len(lines) < 4 || lines[0] != point {
		return
	}
	if _, err := fmt.Sscan(strings.Join(lines[1:4], " "), &n, &signal, &pid); err != nil || n != faults.passed[point] || os.Remove(path) != nil {
		return
	}
	if pid == 0 {
		pid = os.Getpid()
	}
	if err := unix.Kill(pid, unix.Signal(signal)); err != nil {
		panic(err)
	}
	for pid == os.Getpid() && unix.Signal(signal) == unix.SIGKILL {
		time.Sleep(time.Second) // it comes at once, but nothing must happen before it
	}
	for pid != os.Getpid() && unix.Signal(signal) == unix.SIGSTOP && moves(pid) {
		time.Sleep(time.Millisecond) // it may still act
	}
}

// moves reports whether a thread of a process has not stopped yet: the signal reaches
// them one by one, and on a busy machine late.
func moves(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(tasks, func(task string) bool {
		stat, _ := os.ReadFile(task)
		_, rest, found := strings.Cut(string(stat), ") ")
		return found && !strings.HasPrefix(rest, "T")
	})
}
