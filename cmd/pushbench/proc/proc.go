// Package proc measures processes from outside: memory, processor time and
// context switches of a process and all its descendants, and what the kernel
// holds, from /proc.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc: USER_HZ is 100 on every Linux port.
const tick = 10 * time.Millisecond

// Sample is the state of a process tree at one time.
type Sample struct {
	Processes int
	PSS       int64            // bytes; memory shared by n processes counts 1/n for each
	CPU       time.Duration    // user and system time, in steps of 10 ms, of those that live and of children that ended and were waited for
	Switches  int64            // context switches of the threads that live
	Roles     map[string]int64 // PSS by role, of processes that call themselves "program: role …"
}

// Tree reads the tree under the process root. Processes that end meanwhile are
// left out.
func Tree(root int) (Sample, error) {
	parents, err := parents()
	if err != nil {
		return Sample{}, err
	}
	if _, ok := parents[root]; !ok {
		return Sample{}, fmt.Errorf("process %d is not running: give the server's root process with --pid", root)
	}
	var s Sample
	for pid := range parents {
		if !under(pid, root, parents) {
			continue
		}
		if err := s.add(pid); err != nil && !os.IsNotExist(err) {
			return Sample{}, fmt.Errorf("measure process %d: %w", pid, err)
		}
	}
	return s, nil
}

// parents maps every process to its parent.
func parents() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields, err := stat(pid); err == nil {
			all[pid], _ = strconv.Atoi(fields[1])
		}
	}
	return all, nil
}

func under(pid, root int, parents map[int]int) bool {
	for pid != root {
		parent, ok := parents[pid]
		if !ok || parent == pid || parent == 0 {
			return false
		}
		pid = parent
	}
	return true
}

func (s *Sample) add(pid int) error {
	fields, err := stat(pid)
	if err != nil {
		return err
	}
	pss, err := keyed(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	if err != nil {
		return err
	}
	// utime, stime, cutime, cstime
	for _, ticks := range fields[11:15] {
		n, err := strconv.ParseInt(ticks, 10, 64)
		if err != nil {
			return err
		}
		s.CPU += time.Duration(n) * tick
	}
	s.Processes++
	s.PSS += pss * 1024
	if role := role(pid); role != "" {
		if s.Roles == nil {
			s.Roles = map[string]int64{}
		}
		s.Roles[role] += pss * 1024
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, status := range tasks {
		voluntary, _ := keyed(status, "voluntary_ctxt_switches:")
		forced, _ := keyed(status, "nonvoluntary_ctxt_switches:")
		s.Switches += voluntary + forced
	}
	return nil
}

// role is the second word of a process that calls itself "program: role …".
func role(pid int) string {
	title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Fields(strings.ReplaceAll(string(title), "\x00", " "))
	if len(words) < 2 || !strings.HasSuffix(words[0], ":") {
		return ""
	}
	return words[1]
}

// stat returns the fields of /proc/PID/stat from the state on; the name before
// it may contain anything.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// keyed returns the number behind a key at the start of a line.
func keyed(path, key string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, nil // a kernel thread or a zombie has no such line
}
