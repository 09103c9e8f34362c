//go:build linux

package master

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// worker returns the status of a slot of the group "push".
func (i *instance) worker(slot int) WorkerStatus {
	i.r.t.Helper()
	for _, w := range i.status().Workers {
		if w.Slot == slot && w.Name == "push" && w.State != Draining {
			return w
		}
	}
	i.r.t.Fatalf("no slot %d", slot)
	return WorkerStatus{}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("no process to send %s to", sig) // 0 would be the test's own group
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func TestKilledWorkerIsReplaced(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	before := i.status()
	kill(t, before.Workers[0].PID, syscall.SIGKILL)
	testkit.Eventually(t, "slot 0 has a new process", func() bool {
		w := i.worker(0)
		return w.State == Ready && w.PID != before.Workers[0].PID && w.Restarts == 1
	})
	if w := i.worker(1); w.PID != before.Workers[1].PID || w.Restarts != 0 {
		t.Errorf("slot 1 was touched: %+v", w)
	}
	if !strings.Contains(r.read("log"), `exit="signal: killed"`) {
		t.Error("the log does not say how it ended")
	}
	testkit.Eventually(t, "the roster has both", func() bool { return strings.HasSuffix(r.read("roster"), rosterLine("push/0/1", "push/1/1")) })
	i.stop()
}

// rosterLine is the note of a roster of these workers.
func rosterLine(a, b string) string {
	return fmt.Sprintf(`{"workers":[%q,%q],"groups":["push"]}`+"\n", a, b)
}

func TestBackOffAndDegraded(t *testing.T) {
	r := newRig(t, 2)
	r.args.Timing["delayMin"] = 10 * time.Millisecond
	r.args.Timing["delayMax"] = 400 * time.Millisecond
	i := r.start()
	before := i.status()
	r.behave("worker.0", "exit")
	start := time.Now()
	kill(t, before.Workers[0].PID, syscall.SIGKILL)
	testkit.Eventually(t, "slot 0 is degraded", func() bool { return i.worker(0).State == Degraded })
	// Six deaths lie five delays apart: 10, 20, 40, 80 and 160 ms.
	if took := time.Since(start); took < 310*time.Millisecond {
		t.Errorf("degraded after %s: it was respawned without back-off", took)
	}
	if w := i.worker(1); w.PID != before.Workers[1].PID || w.State != Ready {
		t.Errorf("slot 1 was touched: %+v", w)
	}
	if got := dialPeer(t, r.addr).ask("who"); !strings.HasPrefix(got, "push/1/1 ") {
		t.Errorf("served by %q", got)
	}
	deaths := i.worker(0).Restarts
	r.behave("worker.0", "")
	testkit.Eventually(t, "slot 0 is tried again and serves", func() bool { return i.worker(0).State == Ready })
	if n := i.worker(0).Restarts - deaths; n > 3 {
		t.Errorf("%d more deaths while it was degraded", n)
	}
	if !strings.Contains(r.read("log"), "slot is degraded") {
		t.Error("the log does not say so")
	}
	i.stop()
}

func TestHealthForgetsDeaths(t *testing.T) {
	s := &slot{unit: &unit{}}
	m := newMaster(Options{}, defaultTiming)
	m.log = slog.New(slog.DiscardHandler)
	for range 3 {
		m.died(s, 0)
	}
	if s.delay != 400*time.Millisecond {
		t.Errorf("third delay is %s", s.delay)
	}
	m.died(s, defaultTiming.window)
	if s.delay != 100*time.Millisecond || len(s.recent) != 1 || s.restarts != 4 {
		t.Errorf("after health: delay %s, %d deaths, %d restarts", s.delay, len(s.recent), s.restarts)
	}
	for range 10 {
		m.died(s, 0)
	}
	if !s.degraded || s.delay != defaultTiming.delayMax || s.state() != Degraded {
		t.Errorf("after 10 deaths: degraded %v, delay %s, state %s", s.degraded, s.delay, s.state())
	}
	s.forget()
}

func TestDieWhenReadyIsSupervised(t *testing.T) {
	r := newRig(t, 1)
	r.args.Timing["delayMin"] = 5 * time.Millisecond
	i := r.start()
	r.behave("worker", "die-when-ready")
	kill(t, i.worker(0).PID, syscall.SIGKILL)
	testkit.Eventually(t, "the slot is degraded", func() bool { return i.worker(0).State == Degraded })
	i.stop()
}

func TestHangingRespawnIsBounded(t *testing.T) {
	r := newRig(t, 1)
	r.args.Timing["boot"] = 3 * time.Second
	i := r.start()
	r.behave("worker", "hang")
	kill(t, i.worker(0).PID, syscall.SIGKILL)
	testkit.Eventually(t, "an attempt hangs", func() bool { return r.read("hang") != "" })
	w := i.worker(0)
	if w.State != Starting {
		t.Errorf("while it hangs: %+v", w)
	}
	hung := w.PID
	r.behave("worker", "")
	testkit.Eventually(t, "the next attempt serves", func() bool { w := i.worker(0); return w.State == Ready && w.PID != hung })
	i.stop()
}

func TestKilledBrokerIsReplaced(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	before := i.status()
	p := dialPeer(t, r.addr)
	p.ask("who")
	kill(t, before.Broker.PID, syscall.SIGKILL)
	testkit.Eventually(t, "a new broker process", func() bool {
		b := i.status().Broker
		return b.State == Ready && b.PID != before.Broker.PID
	})
	if got := p.ask("bus"); !strings.HasPrefix(got, "broker/0/1 ") { // same worker, same socket
		t.Errorf("through the bus: %q", got)
	}
	testkit.Eventually(t, "the new broker process has the roster, too", func() bool { return strings.Count(r.read("roster"), "\n") >= 2 })
	if got, want := r.read("heard"), "broker/1 []\nbroker/1 [push/0/1 push/1/1]\n"; got != want { // before it says anything
		t.Errorf("named to the broker processes at their start:\n%swant:\n%s", got, want)
	}
	i.stop()
}

func TestWatchdog(t *testing.T) {
	for name, hang := range map[string]func(r *rig, pid int){
		"stopped":        func(r *rig, pid int) { kill(r.t, pid, syscall.SIGSTOP) },
		"broker stopped": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			r.plan.WatchdogMS = 2000
			r.savePlan()
			i := r.start()
			before := i.status()
			victim := before.Workers[0].PID
			if hang == nil {
				victim = before.Broker.PID
			}
			kill(t, victim, syscall.SIGSTOP)
			testkit.Eventually(t, "it is replaced", func() bool {
				st := i.status()
				return st.Workers[0].State == Ready && st.Broker.State == Ready && st.Workers[0].PID != victim && st.Broker.PID != victim
			})
			log := r.read("log")
			if !strings.Contains(log, "does not answer") || !strings.Contains(log, "SIGABRT: abort") {
				t.Error("no stacks in the log")
			}
			if w := i.worker(1); w.PID != before.Workers[1].PID {
				t.Error("slot 1 was touched")
			}
			i.stop()
		})
	}
}

// A process that catches SIGABRT, here by being deaf to everything but the
// loop's own thread, still ends by SIGKILL.
func TestWatchdogOnDeafWorker(t *testing.T) {
	r := newRig(t, 1)
	r.plan.WatchdogMS = 3000
	r.args.Timing["query"] = 200 * time.Millisecond // the reload asks it, too
	r.savePlan()
	i := r.start()
	r.behave("worker", "deaf")
	deaf := i.reload().Slots[0].NewPID
	r.behave("worker", "")
	testkit.Eventually(t, "it is replaced", func() bool { w := i.worker(0); return w.State == Ready && w.PID != deaf })
	i.stop()
}

// The machine stalls as a whole: master and worker stop, the master wakes first.
func TestStalledMasterShootsNobody(t *testing.T) {
	r := newRig(t, 2)
	r.plan.WatchdogMS = 2000
	r.savePlan()
	i := r.start()
	before := i.status()
	i.signal(syscall.SIGSTOP)
	time.Sleep(4 * time.Second) // the stall itself
	i.signal(syscall.SIGCONT)
	after := i.status()
	for n := range before.Workers {
		if before.Workers[n].PID != after.Workers[n].PID {
			t.Errorf("slot %d was shot", n)
		}
	}
	if strings.Contains(r.read("log"), "does not answer") {
		t.Error("somebody was suspected")
	}
	i.stop()
}

// Whatever the lateness of a turn, it counts for one interval.
func TestPatrolCountsItsOwnLateness(t *testing.T) {
	m := newMaster(Options{}, defaultTiming)
	m.log = slog.New(slog.DiscardHandler)
	m.plan.WatchdogMS = 5000
	p := &process{readySince: time.Now(), out: make(chan outgoing, outMax), unit: &unit{}, slot: &slot{}}
	m.live[p] = true
	w := newWatch()
	defer w.timer.Stop()
	for range 4 {
		w.last = time.Now().Add(-time.Hour)
		m.patrol(w)
	}
	if silent := time.Duration(p.silent.Load()); silent != 4*time.Second || p.aborted {
		t.Errorf("after four late turns: silent %s, aborted %v", silent, p.aborted)
	}
	if len(p.out) != 4 {
		t.Errorf("%d pings", len(p.out))
	}
}

func TestChildThatTalksNonsense(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	r.behave("worker", "babble")
	if e := i.failedReload(); e.Step != "start" || e.Worker != "push" {
		t.Errorf("reload: %+v", e)
	}
	i.stop()
}

// Nothing waits for a process that does not read.
func TestStoppedWorkerDoesNotBlockStatus(t *testing.T) {
	r := newRig(t, 2)
	r.args.Timing["query"], r.args.Timing["leave"] = 200*time.Millisecond, 500*time.Millisecond
	i := r.start()
	testkit.Eventually(t, "the master has its last numbers", func() bool { return strings.Contains(string(i.worker(0).Stats), `"messages_in":7`) })
	stopped := i.worker(0).PID
	kill(t, stopped, syscall.SIGSTOP)
	for range 5 {
		start := time.Now()
		w := i.worker(0)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("status took %s", took)
		}
		if w.PID != stopped || !strings.Contains(string(w.Stats), `"messages_in":7`) {
			t.Errorf("shown without its last numbers: %s", w.Stats)
		}
	}
	i.stop()
}

func TestNoRespawnFromAnUnapprovedFile(t *testing.T) {
	r := newRig(t, 1)
	prog := r.path("prog")
	copyProgram(t, r.args.Options.Program, prog, "")
	r.args.Options.Program = prog
	i := r.start()
	old := i.worker(0)
	replaceFile(t, prog, "not a program") // a deploy in the middle of its work
	kill(t, old.PID, syscall.SIGKILL)
	testkit.Eventually(t, "the slot serves again", func() bool { w := i.worker(0); return w.State == Ready && w.PID != old.PID })
	if e := i.failedReload(); e.Step != "plan" || !strings.Contains(e.Error(), "exec format error") {
		t.Errorf("reload: %v", e)
	}
	if i.worker(0).Generation != 1 {
		t.Error("a failed plan touched a slot")
	}
	i.stop()
}

func copyProgram(t *testing.T, from, to, tail string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteProgram(t, to, append(data, tail...), 0o755)
}

func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	testkit.WriteProgram(t, path, []byte(text), 0o755)
}

// TestCalm: some time after its start the master has the memory of it given back.
func TestCalm(t *testing.T) {
	calm := make(chan struct{})
	bounds := defaultTiming
	bounds.calm = time.Millisecond
	m := newMaster(Options{Calm: func() { close(calm) }}, bounds)
	m.verbs, m.cancel = context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); m.serve() }()
	<-calm // once: a second time would panic
	m.cancel()
	<-over
}
