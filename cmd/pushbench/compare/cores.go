package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Apart shares the cores that this process may use out to a server and its client,
// so that neither takes time from the other: the lower half, and a core in the
// middle, is the client's.
func Apart() (server, client []int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, nil, fmt.Errorf("which cores may be used: %w", err)
	}
	var all []int
	for core := 0; len(all) < set.Count(); core++ {
		if set.IsSet(core) {
			all = append(all, core)
		}
	}
	if len(all) < 2 {
		return nil, nil, errors.New("a server and its client need a core each, and there is one: leave --pinned out")
	}
	half := (len(all) + 1) / 2
	return all[half:], all[:half], nil
}

// startOn starts a program on these cores: it inherits those of the thread that
// starts it.
func startOn(cmd *exec.Cmd, cores []int) error {
	if len(cores) == 0 {
		return cmd.Start()
	}
	var ours, its unix.CPUSet
	for _, core := range cores {
		its.Set(core)
	}
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &ours); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("which cores may be used: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &its); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("run on cores %v: %w", cores, err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &ours); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// Grouped says whether the kernel schedules each session as one (autogroup), so
// that a server gets the same share whatever else runs. A cgroup with a share of
// its own comes before that.
func Grouped() bool {
	if on, ok := sysctl("kernel.sched_autogroup_enabled"); !ok || on == 0 {
		return false
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return true // no cgroups
	}
	for line := range strings.Lines(string(text)) {
		// 0::/path is that of version 2, 1:cpu,cpuacct:/path of version 1.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) < 3:
		case f[1] == "":
			if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", f[2], "cpu.weight")); err == nil {
				return false
			}
		case slices.Contains(strings.Split(f[1], ","), "cpu") && f[2] != "/":
			return false
		}
	}
	return true
}
