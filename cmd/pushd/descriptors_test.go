package main_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// starve leaves a process without a descriptor more, until feed is called.
func starve(t *testing.T, pid int) (feed func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrdersWithoutDescriptors: an order that comes with a file which a process
// has no descriptor for is refused, by name, and nobody takes its master for
// dead: clients stay, and the same order is obeyed when there are some again.
func TestOrdersWithoutDescriptors(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoProcesses, "count = 2", "count = 1", 1)})
	c := s.Dial("/echo")
	worker := s.Status().Workers[0].PID
	const says = "out of descriptors (limit 3)"
	for name, order := range map[string]func(){
		"reload": func() {
			if f := refusedReload(t, s); !strings.Contains(f.Error, says) || f.Lost != 0 {
				t.Errorf("%+v", f)
			}
		},
		"reopen": func() {
			s.MustRun("reopen")
			pushdtest.Eventually(t, "the worker says why it still writes to the old log", func() bool { return strings.Contains(s.Log(), `\"reopen\": its files were cut off`) })
		},
	} {
		feed := starve(t, worker)
		order()
		feed()
		c.SendText("after " + name)
		c.WantText("after " + name)
	}
	if now := s.Status().Workers[0].PID; now != worker {
		t.Errorf("worker %d is now %d", worker, now)
	}
	if r := reload(t, s); !r.OK || r.Moved != 1 {
		t.Errorf("%+v", r)
	}
}
