package compare

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestLaunch: a server is ready when it says so, and has a session of its own; when it
// is stopped nothing is left.
func TestLaunch(t *testing.T) {
	p, err := Launch(t.Context(), Program{Args: []string{"sh", "-c", `echo "not yet"; echo "ready: $COLOUR"; echo >&2 red; exec sleep 1000`}, Env: []string{"COLOUR=blue"}})
	if err != nil {
		t.Fatal(err)
	}
	if of, ours := session(t, p.PID()), session(t, os.Getpid()); of != p.PID() || of == ours {
		t.Errorf("process %d is in session %d, we in %d", p.PID(), of, ours)
	}
	pushdtest.Eventually(t, "what it printed", func() bool { // the two streams come by pipes of their own
		before, after, ready := strings.Cut(p.said.String(), "ready: blue")
		return ready && strings.Contains(before, "not yet") && strings.Contains(before+after, "red")
	})
	p.Stop()
	p.Stop()
	if err := syscall.Kill(p.PID(), 0); err == nil {
		t.Error("it still runs")
	}
}

// TestLaunchByAddress: one that says nothing is ready when somebody accepts.
func TestLaunchByAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	p, err := Launch(t.Context(), Program{Args: []string{"sleep", "1000"}, Address: ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
}

func TestLaunchThatFails(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:1"} {
		_, err := Launch(t.Context(), Program{Args: []string{"sh", "-c", "echo broken config; exit 3"}, Address: address})
		if err == nil || !strings.Contains(err.Error(), "broken config") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("%v", err)
		}
	}
	if _, err := Launch(t.Context(), Program{Args: []string{"/nonsense"}, Cores: []int{0}}); err == nil {
		t.Error("a program that is not there was started")
	}
}

// TestPinned: a program gets the cores that it is given, and this process keeps its own.
func TestPinned(t *testing.T) {
	before := allowed(t, os.Getpid())
	server, client, err := Apart()
	if err != nil {
		t.Skip(err)
	}
	if all := append(slices.Clone(client), server...); !slices.IsSorted(all) || len(server) > len(client) || len(client) > len(server)+1 {
		t.Errorf("servers on %v, client on %v", server, client)
	}
	for _, cores := range [][]int{server, client} {
		p, err := Launch(t.Context(), Program{Args: []string{"sh", "-c", "echo ready; exec sleep 1000"}, Cores: cores})
		if err != nil {
			t.Fatal(err)
		}
		if got := allowed(t, p.PID()); !slices.Equal(got, cores) {
			t.Errorf("it runs on %v, not on %v", got, cores)
		}
		p.Stop()
	}
	if after := allowed(t, os.Getpid()); !slices.Equal(before, after) {
		t.Errorf("this process had cores %v, and has %v", before, after)
	}
}

// session is that of a process.
func session(t *testing.T, pid int) int {
	t.Helper()
	sid, err := unix.Getsid(pid)
	if err != nil {
		t.Fatal(err)
	}
	return sid
}

// allowed are the cores that every thread of a process may use.
func allowed(t *testing.T, pid int) (cores []int) {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for i, task := range tasks {
		var set unix.CPUSet
		var tid int
		_, _ = fmt.Sscan(filepath.Base(task), &tid)
		if err := unix.SchedGetaffinity(tid, &set); err != nil {
			continue // it has ended
		}
		var of []int
		for core := range 1024 {
			if set.IsSet(core) {
				of = append(of, core)
			}
		}
		if i > 0 && cores != nil && !slices.Equal(of, cores) {
			t.Errorf("threads of %d have cores %v and %v", pid, cores, of)
		}
		cores = of
	}
	return cores
}

// TestTail: of what somebody writes the end is kept.
func TestTail(t *testing.T) {
	var end tail
	for i := range 10_000 {
		_, _ = fmt.Fprintln(&end, i)
	}
	if s := end.String(); len(s) > tailBytes || !strings.HasSuffix(s, "\n9998\n9999") {
		t.Errorf("%d bytes, the last %q", len(s), s[max(len(s)-20, 0):])
	}
}

// TestNote: the report says what the run was.
func TestNote(t *testing.T) {
	r := &Result{Started: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), Rounds: 1, CPUs: 4, Kernel: "6.1", Seconds: 61, Scheduling: "S"}
	if want := "29 November 2026, 1 round, 4 CPUs, Linux 6.1, 2 minutes in all; servers and client on the same cores, S.\n"; r.note() != want {
		t.Errorf("%q, want %q", r.note(), want)
	}
	r.ServerCores, r.ClientCores = []int{3}, []int{0, 1, 2}
	if want := "; pinned: servers on core 3, client on cores 0, 1 and 2, S.\n"; !strings.HasSuffix(r.note(), want) {
		t.Errorf("%q, want %q at its end", r.note(), want)
	}
}
