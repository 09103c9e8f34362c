//go:build linux

package master

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// balancesOf names the memory that a process has for its group, by inode.
func balancesOf(t *testing.T, pid int) (list []uint64) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if to, _ := os.Readlink(dir + e.Name()); strings.HasPrefix(to, "/memfd:pushd-balance") && unix.Stat(dir+e.Name(), &st) == nil {
			list = append(list, st.Ino)
		}
	}
	return list
}

// TestBalanceOutlivesProcesses: the workers of a group share memory, which stays
// the same one through a reload, a death and the master's own replacement, and goes
// with the group.
func TestBalanceOutlivesProcesses(t *testing.T) {
	r := newUpgradable(t, 2)
	i := r.start()
	st := i.status()
	first := balancesOf(t, st.Master.PID)
	if len(first) != 1 {
		t.Fatalf("the master has %d", len(first))
	}
	same := func(when string) {
		t.Helper()
		st := i.status()
		for _, pid := range []int{st.Master.PID, st.Workers[0].PID, st.Workers[1].PID} {
			if got := balancesOf(t, pid); !slices.Equal(got, first) {
				t.Errorf("%s process %d has %v, not %v", when, pid, got, first)
			}
		}
		if got := balancesOf(t, st.Broker.PID); len(got) > 0 {
			t.Errorf("%s the broker process has one", when)
		}
	}
	same("at first")
	i.reload()
	same("after a reload")
	r.deploy("another build")
	i.reload()
	same("after the master was replaced")
	r.plan.Workers[0].Name = "other"
	r.savePlan()
	i.reload()
	if got := balancesOf(t, i.status().Master.PID); len(got) != 1 || got[0] == first[0] {
		t.Errorf("a group in the place of another has %v, the other had %v", got, first)
	}
	i.stop()
}
