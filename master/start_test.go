//go:build linux

package master

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestStartServesAndStops(t *testing.T) {
	r := newRig(t, 2)
	i := r.start()
	st := i.status()
	if len(st.Workers) != 2 || st.Broker.State != Ready || st.Version != "test" || st.Master.PID != i.cmd.Process.Pid {
		t.Fatalf("status: %+v", st)
	}
	who := dialPeer(t, r.addr).ask("who")
	served := false
	for n, w := range st.Workers {
		if w.Name != "push" || w.Slot != n || w.State != Ready || w.Generation != 1 || w.RSSBytes == 0 || w.Listen[0] != r.addr {
			t.Errorf("worker %d: %+v", n, w)
		}
		served = served || strings.Contains(who, " "+strconv.Itoa(w.PID)+" ")
	}
	if !served {
		t.Errorf("%q is none of the workers", who)
	}
	if got := dialPeer(t, r.addr).ask("bus"); !strings.HasPrefix(got, "broker/0/1 ") {
		t.Errorf("through the bus: %q", got)
	}
	if g := i.started.Groups; len(g) != 1 || g[0].Name != "push" || g[0].Count != 2 || g[0].Listen[0] != r.addr {
		t.Errorf("announced: %+v", i.started)
	}
	start := time.Now()
	i.stop()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("stop took %s", took)
	}
	for _, want := range []string{"code=1001 graceful=false drain=200", "push/0/1", "push/1/1"} {
		if !strings.Contains(r.read("stop"), want) {
			t.Errorf("stop messages lack %q: %q", want, r.read("stop"))
		}
	}
}

func TestProcessNames(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	for pid, want := range map[int]string{i.status().Workers[0].PID: "pushd: worker push/0", i.status().Broker.PID: "pushd: broker"} {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || strings.TrimRight(string(line), "\x00") != want {
			t.Errorf("ps shows %q, %v; want %q", line, err, want)
		}
	}
	i.stop()
}

func TestSecondStartNamesTheFirst(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	before := i.status()
	start := time.Now()
	reason := r.failedStart()
	if took := time.Since(start); took > 10*time.Second { // at once, whatever else the machine does
		t.Errorf("second start took %s", took)
	}
	if want := "already running with pid " + strconv.Itoa(i.cmd.Process.Pid); !strings.Contains(reason, want) {
		t.Errorf("second start says %q, want %q", reason, want)
	}
	if after := i.status(); after.Workers[0].PID != before.Workers[0].PID || after.Broker.PID != before.Broker.PID {
		t.Error("the running instance was touched")
	}
	if pid, ok := MasterPID(r.args.Options.RuntimeDir); !ok || pid != i.cmd.Process.Pid {
		t.Errorf("MasterPID = %d, %v", pid, ok)
	}
	if _, err := FindOrphans(r.args.Options.RuntimeDir); err == nil {
		t.Error("FindOrphans works beside a running master")
	}
	i.stop()
	if _, ok := MasterPID(r.args.Options.RuntimeDir); ok {
		t.Error("MasterPID finds a stopped master")
	}
}

// A lock file that names a live stranger is what remains after a crash and a
// reused pid.
func TestStaleLockWithReusedPID(t *testing.T) {
	r := newRig(t, 1)
	if err := os.MkdirAll(r.path("run"), 0o750); err != nil {
		t.Fatal(err)
	}
	stale, err := json.Marshal(owner{PID: os.Getpid(), Start: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.write("run/"+lockFile, string(stale))
	left, err := json.Marshal(savedState{Children: []Orphan{{PID: os.Getpid(), Start: 1, Name: "push"}}})
	if err != nil {
		t.Fatal(err)
	}
	r.write("run/"+stateFile, string(left))
	if pid, ok := MasterPID(r.path("run")); ok {
		t.Errorf("MasterPID takes the stranger %d for a master", pid)
	}
	if n, err := ClearOrphans(ctxFor(t), r.path("run"), time.Second); n != 0 || err != nil {
		t.Errorf("ClearOrphans signalled a stranger: %d, %v", n, err)
	}
	r.start().stop()
}

// TestLockOfOneWhoDies: a master that was killed may hold its lock for a moment
// yet, and so may a child that it was about to start.
func TestLockOfOneWhoDies(t *testing.T) {
	path := t.TempDir()
	held, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		err = syscall.Flock(int(held.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		_, err = held.WriteString(`{"pid":1,"start":1}`) // is another process now
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := OpenShared(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	time.AfterFunc(time.Second, func() { held.Close() })
	f, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	releaseLock(f)
}

func TestFailedStarts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	busyAddr := "text://" + busy.Addr().String()
	for name, c := range map[string]struct {
		break_ func(*rig)
		want   []string
	}{
		"plan fails":   {func(r *rig) { r.write("plan", "fail push.toml:3: unknown key") }, []string{"plan: push.toml:3: unknown key"}},
		"plan panics":  {func(r *rig) { r.write("plan", "panic ") }, []string{"plan: panic: planted"}},
		"plan hangs":   {func(r *rig) { r.write("plan", "hang "); r.args.Timing["plan"] = 200 * time.Millisecond }, []string{"not finished within 200ms"}},
		"plan floods":  {func(r *rig) { r.write("plan", "flood "); r.args.Timing["plan"] = bound }, []string{"exceeds 16777216 bytes"}},
		"plan garbage": {func(r *rig) { r.write("plan", "{") }, []string{"read the plan"}},
		"plan newer":   {func(r *rig) { r.plan.Version++; r.savePlan() }, []string{"version 2", "use restart"}},
		"other dir":    {func(r *rig) { r.plan.RuntimeDir = "/elsewhere"; r.savePlan() }, []string{"runtime_dir is /elsewhere", "use restart"}},
		"no program":   {func(r *rig) { r.args.Options.PlanArgs = []string{r.path("none")} }, []string{"none: no such file"}},
		"port in use": {func(r *rig) {
			r.plan.Listeners[0].Address, r.plan.Workers[0].Listen = busyAddr, []string{busyAddr}
			r.savePlan()
		}, []string{"open listener " + busyAddr + ": address already in use by pid " + strconv.Itoa(os.Getpid())}},
		"unknown user": {func(r *rig) { r.plan.Workers[0].User = "no-such-user"; r.savePlan() }, []string{`worker group "push": unknown user "no-such-user"`}},
		"log file":     {func(r *rig) { r.plan.LogFile = r.path("none/log"); r.savePlan() }, []string{"open log file"}},
		"fail":         {func(r *rig) { r.behave("worker.1", "fail") }, []string{"worker push/1: load handlers: planted: no such handler"}},
		"exit":         {func(r *rig) { r.behave("worker.1", "exit") }, []string{"worker push/1: start: pid ", "exit status 3"}},
		"panic":        {func(r *rig) { r.behave("worker.0", "panic") }, []string{"worker push/0: start: pid ", "exit status 2"}},
		"hang":         {func(r *rig) { r.behave("worker.0", "hang"); r.args.Timing["boot"] = 3 * time.Second }, []string{"push/0: start: pid ", "not ready within 3s"}},
		"broker":       {func(r *rig) { r.behave("broker", "fail") }, []string{"broker: load handlers: planted"}},
		"no roster":    {func(r *rig) { r.behave("broker", "no-roster"); r.args.Timing["boot"] = 3 * time.Second }, []string{"has not taken the list of workers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			c.break_(r)
			got := r.failedStart()
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("start says %q, want %q in it", got, want)
				}
			}
			r.nothingLeft()
		})
	}
}

func TestStartNeedsAbsolutePaths(t *testing.T) {
	if err := Run(ctxFor(t), Options{Program: "/bin/true", RuntimeDir: "run"}); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("relative runtime directory: %v", err)
	}
}

// In one's own process, Run gives back every descriptor and goroutine. What the
// Go runtime keeps for good, such as its poller, the first run has opened.
func TestRunLeavesNothingBehind(t *testing.T) {
	r := newRig(t, 2)
	t.Setenv("PUSHD_TEST_RIG", r.dir)
	r.args.Options.LogFile = r.path("log")
	r.runHere()
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	r.runHere()
	testkit.Eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	testkit.Eventually(t, "the same descriptors as before", func() bool { return len(openFiles(t)) <= len(fds) })
	for _, f := range []string{stateFile, controlSock, busSock} {
		if _, err := os.Lstat(r.path("run/" + f)); err == nil {
			t.Errorf("%s is left", f)
		}
	}
}

// runHere runs a master in this process until it is ready and then stops it.
func (r *rig) runHere() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), bound)
	defer cancel()
	o := r.args.Options
	announced := false
	o.Announce = func(Started) { announced = true; cancel() }
	if err := Run(ctx, o); err != nil || !announced {
		r.t.Fatalf("announced %v, %v", announced, err)
	}
}

func openFiles(t *testing.T) (list []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, _ := os.Readlink(link)
		list = append(list, target)
	}
	return list
}

func TestWithoutBroker(t *testing.T) {
	r := newRig(t, 1)
	r.plan.Broker = nil
	r.savePlan()
	i := r.start()
	if st := i.status(); st.Broker.State != Stopped || st.Broker.PID != 0 || st.Workers[0].State != Ready {
		t.Errorf("status: %+v", st)
	}
	i.stop()
}

func TestPrivilegeDrop(t *testing.T) {
	r := newRig(t, 1)
	r.plan.Workers[0].User = "65534"
	r.savePlan()
	if os.Geteuid() != 0 {
		if got := r.failedStart(); !strings.Contains(got, "only root can change user") {
			t.Errorf("start says %q", got)
		}
		return
	}
	for _, path := range []string{r.dir, r.args.Options.Program} { // for the notes, and to run it
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	i := r.start()
	p := dialPeer(t, r.addr)
	if got := p.ask("who"); !strings.HasSuffix(got, " 65534") {
		t.Errorf("worker runs as %q", got)
	}
	// The runtime directory is closed to it, the inherited socket is not.
	if got := p.ask("bus"); !strings.HasPrefix(got, "broker/0/1 ") {
		t.Errorf("through the bus: %q", got)
	}
	if u := i.started.Groups[0].User; u != "65534" {
		t.Errorf("announced user %q", u)
	}
	i.stop()
}

func TestPortZeroIsShown(t *testing.T) {
	r := newRig(t, 1)
	r.addr = "text://127.0.0.1:0"
	r.plan.Listeners[0].Address, r.plan.Workers[0].Listen = r.addr, []string{r.addr}
	r.savePlan()
	i := r.start()
	shown := i.status().Workers[0].Listen[0]
	if got := dialPeer(t, shown).ask("who"); !strings.HasPrefix(got, "push/0/1 ") {
		t.Errorf("at %s: %q", shown, got)
	}
	i.stop()
}
