package pushdtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Process is a process that was found in /proc.
type Process struct {
	PID  int
	Args string
}

// String returns pid and command line.
func (p Process) String() string { return fmt.Sprintf("%d %q", p.PID, p.Args) }

// Processes returns the live processes whose environment holds the variable
// "KEY=value". Children inherit it, whatever else they do.
func Processes(variable string) (out []Process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !hasVariable(pid, variable) || isZombie(pid) {
			continue
		}
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		out = append(out, Process{pid, strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))})
	}
	return out
}

func hasVariable(pid int, variable string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if string(kv) == variable {
			return true
		}
	}
	return false
}

// Freeze makes a process stand still until it gets SIGCONT. When it returns, each
// thread stands: the signal stops them one by one, and on a busy machine late.
func Freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("stop the process %d: %v", pid, err)
	}
	Eventually(t, fmt.Sprintf("process %d stands still", pid), func() bool { return Stands(pid) })
}

// Stands reports whether each thread of a process that was sent SIGSTOP has stopped:
// until then it may still do something.
func Stands(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		stat, _ := os.ReadFile(task)
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) && stat[i+2] != 'T' {
			return false
		}
	}
	return len(tasks) > 0
}

// isZombie: its parent has not been told yet, but it runs no more.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(stat, ')')
	return i < 0 || i+2 >= len(stat) || stat[i+2] == 'Z' || stat[i+2] == 'X'
}
