package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPHeir: a full reload, in which the worker is replaced too, takes along the
// maps and names that a program keeps; one that fails half-way leaves them with
// the worker before, whose PHP starts anew.
func TestPHPHeir(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "start.php")
	phpWrite(t, file, phpRoom)
	fault := filepath.Join(t.TempDir(), "fault")
	s := pushdtest.Start(t, pushdtest.Options{
		Manual: true, Prefix: []string{"php", file}, Flags: []string{"-tags", "faults"},
		Env: []string{"PUSHD_DRAIN=0s", "PUSHD_ALLOW_ROOT=1", "PUSHD_TEST_FAULT=" + fault},
	})
	s.MustRun("start", "-d")
	const n = 12
	clients := phpUsers(s, n)
	all := func(when string) {
		t.Helper()
		for i, c := range clients {
			phpAsk(c, "who", fmt.Sprintf("1 u%d %d", i, n))
		}
		phpAsk(clients[0], "to u0 "+when, when)
	}
	pid := func() int { return s.Status().Workers[0].PID }

	for _, point := range []string{"import carry", "import batch"} {
		before := pid()
		phpMust(t, os.WriteFile(fault, fmt.Appendf(nil, "%s\n1\n%d\n0\n", point, unix.SIGKILL), 0o600))
		if r := s.Run("reload", "--all"); r.Code == 0 || pid() != before {
			t.Errorf("a reload whose new worker dies at %q: %+v", point, r)
		}
		if _, err := os.Stat(fault); err == nil {
			t.Fatalf("nobody has passed %q", point)
		}
		all("rolled back")
	}
	before := pid()
	if s.MustRun("reload", "--all"); pid() == before {
		t.Error("reload --all has left the worker")
	}
	all("replaced")
	s.MustRun("reload") // PHP alone, in the new worker
	all("again")
}
