//go:build linux

package master

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestReloadReplacesEverySlot(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	before := i.status()
	p := dialPeer(t, r.addr)
	p.ask("who")
	var steps []Progress
	report, err := i.client.Reload(ctxFor(t), func(p Progress) { steps = append(steps, p) })
	if err != nil {
		t.Fatal(err)
	}
	if got := p.line(); got != "bye" {
		t.Errorf("the old worker's client reads %q", got)
	}
	after := i.status()
	if !report.OK || report.Drained != 1 || len(report.Slots) != 2 {
		t.Errorf("report: %+v", report)
	}
	for n, s := range report.Slots {
		if s.OldPID != before.Workers[n].PID || s.NewPID != after.Workers[n].PID || s.Slot != n || s.Worker != "push" {
			t.Errorf("report of slot %d: %+v", n, s)
		}
		if w := after.Workers[n]; w.Generation != 2 || w.State != Ready || w.Restarts != 0 {
			t.Errorf("slot %d: %+v", n, w)
		}
	}
	if want := (ReloadStatus{OK: 1, PauseMaxMS: 1.5}); before.Reloads != (ReloadStatus{}) || after.Reloads != want {
		t.Errorf("reloads: %+v, then %+v, want %+v", before.Reloads, after.Reloads, want)
	}
	if after.Broker.PID != before.Broker.PID {
		t.Error("an unchanged broker process was replaced")
	}
	if last := steps[len(steps)-1]; len(steps) != 4 || last != (Progress{"push", 1, "done", 2, 2}) {
		t.Errorf("progress: %+v", steps)
	}
	if !strings.Contains(r.read("stop"), "push/0/1 code=1012 graceful=false drain=200") {
		t.Errorf("stop messages: %q", r.read("stop"))
	}
	testkit.Eventually(t, "the roster has the new ones", func() bool { return strings.HasSuffix(r.read("roster"), rosterLine("push/0/2", "push/1/2")) })
	i.stop()
}

// While a slot is replaced its new process serves before the old one leaves.
func TestReloadLeavesNoGap(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	done := make(chan error, 1)
	go func() {
		_, err := i.client.Reload(ctxFor(t), nil)
		done <- err
	}()
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			if n == 0 {
				t.Error("no client came during the reload")
			}
			i.stop()
			return
		default:
			e, _ := endpointOf(r.addr)
			c, err := net.Dial("tcp", e.address)
			if err != nil {
				t.Fatalf("refused during the reload: %v", err)
			}
			c.Close()
		}
	}
}

func TestFailedReloads(t *testing.T) {
	for name, c := range map[string]struct {
		break_     func(*rig)
		step, want string
		slot       int
		replaced   int // slots that are new nonetheless
	}{
		"plan fails":  {func(r *rig) { r.write("plan", "fail push.toml:3: unknown key") }, "plan", "plan: push.toml:3: unknown key", 0, 0},
		"plan hangs":  {func(r *rig) { r.write("plan", "hang ") }, "plan", "not finished within 3s", 0, 0},
		"runtime dir": {func(r *rig) { r.plan.RuntimeDir = "/elsewhere"; r.savePlan() }, "plan", "use restart", 0, 0},
		"user":        {func(r *rig) { r.plan.Workers[0].User = "no-such-user"; r.savePlan() }, "user", "no-such-user", 0, 0},
		"log file":    {func(r *rig) { r.plan.LogFile = r.path("none/log"); r.savePlan() }, "reopen log", "none/log", 0, 0},
		"bind": {func(r *rig) {
			r.plan.Listeners = append(r.plan.Listeners, Listener{Address: "unix://" + r.path("new.sock")}, Listener{Address: "tcp://203.0.113.1:1"})
			r.savePlan()
		}, "bind", "no interface of this machine has it", 0, 0},
		"first fails":   {func(r *rig) { r.behave("worker.0", "fail") }, "load handlers", "planted", 0, 0},
		"second fails":  {func(r *rig) { r.behave("worker.1", "fail") }, "load handlers", "planted", 1, 1},
		"second exits":  {func(r *rig) { r.behave("worker.1", "exit") }, "start", "exit status 3", 1, 1},
		"second panics": {func(r *rig) { r.behave("worker.1", "panic") }, "start", "exit status 2", 1, 1},
		"second hangs":  {func(r *rig) { r.behave("worker.1", "hang") }, "start", "not ready within 3s", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			if strings.Contains(name, "hang") {
				r.args.Timing["boot"], r.args.Timing["plan"] = 3*time.Second, 3*time.Second
			}
			i := r.start()
			before := i.status()
			good := r.read("plan")
			c.break_(r)
			e := i.failedReload()
			if e.Step != c.step || e.Slot != c.slot || !strings.Contains(e.Error(), c.want) || e.Done != c.replaced || (e.Worker == "push") != (c.step == "load handlers" || c.step == "start") {
				t.Errorf("reload: %+v: %v", *e, e)
			}
			for n, w := range i.status().Workers {
				if (w.PID != before.Workers[n].PID) != (n < c.replaced) || w.State != Ready {
					t.Errorf("slot %d: %+v", n, w)
				}
			}
			if _, err := os.Lstat(r.path("new.sock")); err == nil {
				t.Error("a socket of the failed generation is left")
			}
			if got := dialPeer(t, r.addr).ask("who"); !strings.HasPrefix(got, "push/") {
				t.Errorf("served by %q", got)
			}
			r.behave("worker.0", "")
			r.behave("worker.1", "")
			r.write("plan", good)
			i.reload() // and then it works again
			for n, w := range i.status().Workers {
				if w.Generation != 3 {
					t.Errorf("after the next reload slot %d: %+v", n, w)
				}
			}
			if got := i.status().Reloads; got.OK != 1 || got.Failed != 1 {
				t.Errorf("reloads: %+v", got)
			}
			i.stop()
		})
	}
}

func TestReloadChangesGroupsCountsAndListeners(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	old := r.addr
	fresh := "text://127.0.0.1:" + freePort(t)
	sock := "unix://" + r.path("chat.sock")
	r.plan.Listeners = []Listener{{Address: fresh}, {Address: sock}}
	r.plan.Workers = []Group{
		{Name: "chat", Listen: []string{sock, fresh}, Count: 2, Spec: r.spec("worker", "")},
		{Name: "push", Listen: []string{fresh}, Count: 1, Spec: r.spec("worker", "")},
	}
	r.savePlan()
	report := i.reload()
	if len(report.Slots) != 4 { // two new, one replaced, one removed
		t.Errorf("report: %+v", report)
	}
	var shape []string
	for _, w := range i.status().Workers {
		shape = append(shape, fmt.Sprintf("%s/%d/%d %s", w.Name, w.Slot, w.Generation, w.State))
	}
	if got := strings.Join(shape, ", "); got != "chat/0/2 ready, chat/1/2 ready, push/0/2 ready" {
		t.Errorf("after the reload: %s", got)
	}
	if got := dialPeer(t, sock).ask("who"); !strings.HasPrefix(got, "chat/") {
		t.Errorf("on the new unix socket: %q", got)
	}
	dialPeer(t, fresh).ask("who")
	e, _ := endpointOf(old)
	if c, err := net.Dial("tcp", e.address); err == nil {
		c.Close()
		t.Error("the dropped listener still accepts")
	}
	r.plan.Listeners = []Listener{{Address: fresh}}
	r.plan.Workers = r.plan.Workers[1:]
	r.savePlan()
	i.reload()
	if n := len(i.status().Workers); n != 1 {
		t.Errorf("%d workers after the group was removed", n)
	}
	if _, err := os.Lstat(r.path("chat.sock")); err == nil {
		t.Error("the dropped unix socket is left")
	}
	i.stop()
}

// TestRosterNamesGroups: one is there until a reload has removed it, whether any of
// its processes lives or not; the broker process hears of all that and stays.
func TestRosterNamesGroups(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	broker := i.status().Broker.PID
	told := func(roster string) {
		t.Helper()
		testkit.Eventually(t, roster, func() bool { return strings.HasSuffix(r.read("roster"), roster+"\n") })
	}
	told(`{"workers":["push/0/1"],"groups":["push"]}`)
	r.plan.Workers = append(r.plan.Workers, Group{Name: "chat", Count: 1, Spec: r.spec("chat", "")})
	r.savePlan()
	i.reload()
	told(`{"workers":["chat/0/2","push/0/2"],"groups":["chat","push"]}`)
	r.behave("chat", "panic")
	for _, w := range i.status().Workers {
		if w.Name == "chat" {
			if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	told(`{"workers":["push/0/2"],"groups":["chat","push"]}`)
	r.plan.Workers = r.plan.Workers[:1]
	r.savePlan()
	i.reload()
	told(`{"workers":["push/0/3"],"groups":["push"]}`)
	if pid := i.status().Broker.PID; pid != broker {
		t.Errorf("the broker process %d was replaced by %d", broker, pid)
	}
	i.stop()
}

// TestLostSocketIsBoundAnew: by a reload, whoever removed its file; who is connected
// stays, and a folder that is gone too is named.
func TestLostSocketIsBoundAnew(t *testing.T) {
	r := newRig(t, 1)
	folder := r.path("sockets")
	sock := "text://" + folder + "/x.sock"
	api := "unix://" + folder + "/api.sock"
	r.plan.Listeners = []Listener{{Address: sock}, {Address: api}}
	r.plan.Workers[0].Listen, r.plan.Broker.Listen = []string{sock}, []string{api}
	r.savePlan()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	i := r.start()
	for range 2 { // the second time beside the socket that was lost before
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if gone := i.status().SocketsGone; len(gone) != 2 || gone[1] != folder+"/x.sock" {
			t.Errorf("status says %q are gone", gone)
		}
		if e := i.failedReload(); e.Step != "bind" || !strings.Contains(e.Error(), "its folder is not there") {
			t.Errorf("reload without the folder: %v", e)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		i.reload()
		if got := dialPeer(t, sock).ask("who"); !strings.HasPrefix(got, "push/") {
			t.Errorf("on the new socket: %q", got)
		}
		if got := dialPeer(t, api).ask("who"); !strings.HasPrefix(got, "broker/") {
			t.Errorf("on the broker process's new socket: %q", got)
		}
		if gone := i.status().SocketsGone; len(gone) != 0 {
			t.Errorf("status says %q are gone", gone)
		}
	}
	i.stop()
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReloadOfBroker(t *testing.T) {
	r := newRig(t, 1)
	prog := r.path("prog")
	copyProgram(t, r.args.Options.Program, prog, "")
	r.args.Options.Program = prog
	api := "http://127.0.0.1:" + freePort(t)
	r.plan.Listeners = append(r.plan.Listeners, Listener{Address: api})
	r.plan.Broker.Listen = []string{api}
	r.savePlan()
	i := r.start()
	pid := i.status().Broker.PID
	changed := func(what string, want bool) {
		t.Helper()
		i.reload()
		now := i.status().Broker
		if now.State != Ready || (now.PID != pid) != want {
			t.Errorf("%s: broker process %d became %+v", what, pid, now)
		}
		pid = now.PID
		if got := dialPeer(t, api).ask("who"); !strings.HasPrefix(got, "broker/0/") {
			t.Errorf("%s: API answers %q", what, got)
		}
		if got := dialPeer(t, r.addr).ask("bus"); !strings.Contains(got, fmt.Sprintf(" %d ", pid)) {
			t.Errorf("%s: through the bus: %q", what, got)
		}
	}
	changed("nothing changed", false)
	copyProgram(t, prog, prog, "")
	changed("equal copy of the program", false)
	r.plan.Broker.Spec = r.spec("broker", "changed")
	r.savePlan()
	changed("spec changed", true)
	copyProgram(t, prog, prog, "another build")
	changed("program changed", true)

	r.behave("broker", "fail")
	r.plan.Broker.Spec = r.spec("broker", "broken")
	r.savePlan()
	if e := i.failedReload(); e.Worker != "broker" || e.Step != "load handlers" {
		t.Errorf("reload: %+v", e)
	}
	if b := i.status().Broker; b.PID != pid || b.State != Ready {
		t.Errorf("one that does not start has replaced %d: %+v", pid, b)
	}
	r.behave("broker", "closed")
	if e := i.failedReload(); e.Worker != "broker" || e.Step != "open" || !strings.Contains(e.Error(), "it stays closed") {
		t.Errorf("reload: %+v", e)
	}
	r.behave("broker", "")
	testkit.Eventually(t, "the old version of the broker process is back", func() bool {
		b := i.status().Broker
		return b.State == Ready && b.PID != pid
	})
	i.stop()
}

// The bus is at a stand when the old broker process leaves, and runs again only
// when all are at the new one.
func TestStepsOfTheBrokersReplacement(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	r.plan.Broker.Spec = r.spec("broker", "changed")
	r.savePlan()
	i.reload()
	want := "broker/2 receive\nbroker/1 pause\npush/2 pause\nbroker/1 drain\npush/2 drain\nbroker/2 open\npush/2 rejoin\npush/2 proceed\n"
	if got := r.read("bus"); got != want {
		t.Errorf("steps:\n%swant:\n%s", got, want)
	}
	if got := r.read("heard"); !strings.HasSuffix(got, "broker/2 [push/0/2]\n") {
		t.Errorf("named to the broker processes at their start:\n%s", got)
	}
	i.stop()
}

func TestReloadAddsAndRemovesBroker(t *testing.T) {
	r := newRig(t, 1)
	b := r.plan.Broker
	r.plan.Broker = nil
	r.savePlan()
	i := r.start()
	r.plan.Broker = b
	r.savePlan()
	i.reload()
	if got := dialPeer(t, r.addr).ask("bus"); !strings.HasPrefix(got, "broker/0/2 ") {
		t.Errorf("through the bus: %q", got)
	}
	r.plan.Broker = nil
	r.savePlan()
	i.reload()
	if b := i.status().Broker; b.PID != 0 {
		t.Errorf("broker process: %+v", b)
	}
	i.stop()
}

func TestStubbornWorkerIsKilledInReload(t *testing.T) {
	r := newRig(t, 1)
	r.args.Timing["leave"] = 100 * time.Millisecond
	r.behave("worker", "stubborn")
	i := r.start()
	old := i.worker(0).PID
	r.behave("worker", "")
	i.reload()
	if aliveSince(old, startOf(old)) {
		t.Error("the old worker lives")
	}
	if !strings.Contains(r.read("log"), "did not leave in time") {
		t.Error("the log does not say so")
	}
	i.stop()
}

// TestBrokerThatWritesIsWaitedFor: a broker process that is at work leaves its
// history to the next one in a reload, and to the next start in a stop.
func TestBrokerThatWritesIsWaitedFor(t *testing.T) {
	r := newRig(t, 1)
	r.args.Timing["leaveBus"], r.args.Timing["leaveData"] = 50*time.Millisecond, time.Minute
	r.behave("broker", "writes=400ms")
	i := r.start()
	r.plan.Broker.Spec = r.spec("broker", "changed")
	r.savePlan()
	i.reload()
	i.stop()
	if written := strings.Fields(r.read("written")); len(written) != 2 || strings.Contains(r.read("log"), "did not leave in time") {
		t.Errorf("written by %v\n%s", written, r.read("log"))
	}
}

func startOf(pid int) uint64 { s, _ := readStat(pid); return s.start }

// A storm of signals and requests makes two reloads at most: the running one
// and one more.
func TestReloadStormCoalesces(t *testing.T) {
	r := newRig(t, 1)
	r.behave("worker", "slow-start=2s")
	i := r.start()
	first := make(chan error, 1)
	go func() {
		_, err := i.client.Reload(ctxFor(t), nil)
		first <- err
	}()
	testkit.Eventually(t, "a reload runs", func() bool { return strings.Contains(r.read("log"), "reload begins") })
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			i.signal(syscall.SIGUSR1)
			c, err := Dial(r.args.Options.RuntimeDir)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Reload(ctxFor(t), nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if g := i.worker(0).Generation; g != 3 {
		t.Errorf("generation %d after one reload and a storm", g)
	}
	i.stop()
	if n := strings.Count(r.read("log"), "reload begins"); n != 2 {
		t.Errorf("%d reloads began", n)
	}
}

func TestDaemonReloadsAndReopensLogOnHangUp(t *testing.T) {
	r := newRig(t, 1)
	r.args.Options.Foreground = false
	r.plan.LogFile = r.path("pushd.log")
	r.savePlan()
	i := r.start()
	if err := os.Rename(r.path("pushd.log"), r.path("pushd.log.1")); err != nil {
		t.Fatal(err)
	}
	i.signal(syscall.SIGHUP)
	testkit.Eventually(t, "a reload is written to the new file", func() bool { return strings.Contains(r.read("pushd.log"), "reload done") })
	testkit.Eventually(t, "the kept broker process writes there too", func() bool {
		return strings.Contains(r.read("pushd.log"), fmt.Sprintf("reopened by %d", i.status().Broker.PID))
	})
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", i.cmd.Process.Pid))
	if err != nil || target != r.path("pushd.log") {
		t.Errorf("the master's stderr is %s, %v", target, err)
	}
	r.plan.LogFile = r.path("other.log")
	r.savePlan()
	i.reload()
	if !strings.Contains(r.read("other.log"), "reload done") {
		t.Error("the new log file is not used")
	}
	if err := i.client.Stop(ctxFor(t), StopOptions{}); err != nil { // its stdout is the log
		t.Fatal(err)
	}
	_ = i.cmd.Wait()
	r.nothingLeft()
}

func TestReloadLeaksNothing(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	i.reload()
	count := func() int {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	for n := range 10 {
		r.plan.Broker.Spec = r.spec("broker", fmt.Sprint(n))
		if n%2 == 0 {
			r.plan.Listeners = append(r.plan.Listeners[:1:1], Listener{Address: "unix://" + r.path("x.sock")})
		} else {
			r.plan.Listeners = r.plan.Listeners[:1]
		}
		r.savePlan()
		i.reload()
	}
	testkit.Eventually(t, "as many descriptors as before", func() bool { return count() <= before })
	if n := len(r.processes()); n != 4 { // master, broker process, two workers
		t.Errorf("%d processes", n)
	}
	i.stop()
}
