package pushdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// DialEach connects n WebSocket clients to each worker process of the server's
// group, of the one with this name where there are several. The processes
// accept from one queue, and the kernel wakes whom it likes: to dial until each
// has a client may take for ever.
func (s *Server) DialEach(path string, n int, group ...string) (bySlot [][]*Client) {
	s.t.Helper()
	for slot := range s.slots(group) {
		var clients []*Client
		s.Alone(slot, func() {
			for range n {
				clients = append(clients, s.Dial(path))
			}
		}, group...)
		bySlot = append(bySlot, clients)
	}
	return bySlot
}

// Alone runs fn while of the worker processes of a group only that of slot
// runs: whoever connects meanwhile is accepted there. The others are stopped, so
// fn is short, or the server has no watchdog.
func (s *Server) Alone(slot int, fn func(), group ...string) {
	s.t.Helper()
	for i, pid := range s.slots(group) {
		if i == slot {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			s.t.Fatalf("stop the worker process %d: %v", pid, err)
		}
		defer syscall.Kill(pid, syscall.SIGCONT)
		AwaitStopped(s.t, pid)
	}
	fn()
}

// slots are the processes of a worker group, in order.
func (s *Server) slots(group []string) (pids []int) {
	s.t.Helper()
	for _, w := range s.Status().Workers {
		if len(group) == 0 || w.Name == group[0] {
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// AwaitStopped waits until all threads of a process that was sent SIGSTOP stand
// still. The signal stops them one by one.
func AwaitStopped(t testing.TB, pid int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("process %d stands still", pid), func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			_, state, ok := strings.Cut(string(stat), ") ")
			if err != nil || !ok || state[0] != 'T' {
				return false
			}
		}
		return len(threads) > 0
	})
}
