//go:build linux

package master

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
)

// TestHeirOfOneThatDies: a new process that has been told of connections to come
// waits for them, and for what a program carries. Its old one dies before it has
// handed over any, and what is started in its place hangs: the new one is told
// that nothing comes, and serves.
func TestHeirOfOneThatDies(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	old := i.worker(0).PID
	r.behave("worker", "hang") // whatever is to serve until the new one is ready
	r.behave("next", "await="+r.path("go-on"))
	r.plan.Workers[0].Spec = r.spec("next", "")
	r.savePlan()
	reloaded := make(chan error, 1)
	go func() {
		_, err := i.client.Reload(ctxFor(t), nil)
		reloaded <- err
	}()
	testkit.Eventually(t, "the new process waits", func() bool { return r.read("awaiting") != "" })
	kill(t, old, syscall.SIGKILL)
	testkit.Eventually(t, "the old one is known to be dead", func() bool { return strings.Contains(r.read("log"), "process died") })
	r.write("go-on", "")
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	next := strings.TrimSpace(r.read("awaiting"))
	if w := i.worker(0); w.State != Ready || strconv.Itoa(w.PID) != next {
		t.Errorf("%+v serves, wants the process %s", w, next)
	}
	if got := r.read(control.TypeImport); strings.Count(got, "\n") != 1 || r.read(control.TypeExport) != "" {
		t.Errorf("imports were %q, exports %q: wants one that ends before it begins", got, r.read(control.TypeExport))
	}
	i.stop()
}

// TestAnotherServesMeanwhile: what serves when a new process is ready need not be what
// served when the reload came to the slot. It is told to leave, whatever it is, and the
// clients of one that has died in the reload are counted.
func TestAnotherServesMeanwhile(t *testing.T) {
	for name, c := range map[string]struct{ before, none bool }{
		"it dies before the reload":              {before: true},
		"it dies in the reload":                  {},
		"it dies in the reload, and none serves": {none: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			i := r.start()
			old := i.worker(0).PID
			dialPeer(t, r.addr).ask("who")
			awaiting := func(n int) {
				t.Helper()
				testkit.Eventually(t, "it waits", func() bool { return strings.Count(r.read("awaiting"), "\n") == n })
			}
			r.behave("worker", "await="+r.path("respawned"))
			if c.before {
				kill(t, old, syscall.SIGKILL)
				awaiting(1)
			}
			r.behave("next", "await="+r.path("go-on"))
			r.plan.Workers[0].Spec = r.spec("next", "")
			r.savePlan()
			type result struct {
				report *ReloadReport
				err    error
			}
			reloaded := make(chan result, 1)
			go func() {
				report, err := i.client.Reload(ctxFor(t), nil)
				reloaded <- result{report, err}
			}()
			if !c.before {
				awaiting(1)
				kill(t, old, syscall.SIGKILL)
			}
			awaiting(2)
			last, stopped := old, ""
			if !c.none {
				r.write("respawned", "")
				testkit.Eventually(t, "another one serves", func() bool { w := i.worker(0); return w.State == Ready && w.PID != old })
				last, stopped = i.worker(0).PID, "push/0/1 code=1012 graceful=false drain=200\n"
			}
			r.write("go-on", "")
			got := <-reloaded
			if got.err != nil {
				t.Fatal(got.err)
			}
			w := i.worker(0)
			if s := got.report.Slots[0]; w.State != Ready || s.OldPID != last || s.NewPID != w.PID || r.read("stop") != stopped {
				t.Errorf("%+v serves, the report is %+v, stopped were %q; %d was there before", w, s, r.read("stop"), last)
			}
			if want := map[bool]int{true: 0, false: 1}[c.before]; got.report.Drained != want {
				t.Errorf("%d clients were counted, want %d", got.report.Drained, want)
			}
			if n := len(r.processes()); n != 3 { // master, broker process, worker
				t.Errorf("%d processes", n)
			}
			i.stop()
		})
	}
}
