//go:build linux

package master

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// killMaster leaves the master's processes behind.
func (i *instance) killMaster() {
	i.r.t.Helper()
	i.signal(syscall.SIGKILL)
	_ = i.cmd.Wait()
}

func TestOrphansLeaveByThemselves(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	i.killMaster()
	testkit.Eventually(t, "nothing is left", func() bool {
		orphans, err := FindOrphans(r.path("run"))
		return err == nil && len(orphans) == 0 && len(r.processes()) == 0
	})
	if _, err := Dial(r.path("run")); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := ClearOrphans(ctxFor(t), r.path("run"), time.Second); err != nil {
		t.Error(err)
	}
	r.nothingLeft()
}

func TestClearOrphans(t *testing.T) {
	r := newRig(t, 2)
	r.plan.DrainMS = time.Hour.Milliseconds()
	r.savePlan()
	r.behave("worker.1", "stubborn")
	i := r.start()
	i.killMaster()
	orphans, err := FindOrphans(r.path("run"))
	if err != nil || len(orphans) != 3 {
		t.Fatalf("FindOrphans: %+v, %v", orphans, err)
	}
	if n, err := ClearOrphans(ctxFor(t), r.path("run"), 300*time.Millisecond); n != 3 || err != nil {
		t.Errorf("ClearOrphans: %d, %v", n, err)
	}
	testkit.Eventually(t, "the killed are reaped by their new parent", func() bool { return len(r.processes()) == 0 })
	r.nothingLeft()
}

// A start succeeds while the processes of a killed master drain, and its stop
// clears them.
func TestStartBesideOrphans(t *testing.T) {
	r := newRig(t, 2)
	r.plan.DrainMS = bound.Milliseconds()
	r.savePlan()
	first := r.start()
	p := dialPeer(t, r.addr)
	p.ask("who")
	first.killMaster()
	second := r.start()
	if got := p.ask("still served"); got != "still served" {
		t.Errorf("the orphan answers %q", got)
	}
	st := second.status()
	if len(st.Workers) != 2 || st.Workers[0].State != Ready {
		t.Errorf("status: %+v", st)
	}
	if !strings.Contains(r.read("log"), "a process of a killed master still drains its clients") {
		t.Error("the log does not mention them")
	}
	second.stop()
}

// A port that a stranger has is not waited for when no orphan can have it.
func TestBindWaitsOnlyForOrphans(t *testing.T) {
	l := Listener{Address: "tcp://127.0.0.1:" + freePort(t)}
	held, err := bind(t.Context(), l, 0)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := bind(t.Context(), l, 0); !errors.Is(err, syscall.EADDRINUSE) || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	time.AfterFunc(100*time.Millisecond, held.close)
	got, err := bind(t.Context(), l, bound)
	if err != nil {
		t.Fatal(err)
	}
	got.close()
}

func TestHandleIsNeverOfAStranger(t *testing.T) {
	me, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openProcess(os.Getpid(), me.start+1); !errors.Is(err, errGone) {
		t.Errorf("another start time: %v", err)
	}
	if _, err := openProcess(1<<22+1, 0); !errors.Is(err, errGone) {
		t.Errorf("no such pid: %v", err)
	}
	h, err := openProcess(os.Getpid(), me.start)
	if err != nil {
		t.Fatal(err)
	}
	if h.wait(time.Millisecond) {
		t.Error("a live process is reported as gone")
	}
	h.close()
}
