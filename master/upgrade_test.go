//go:build linux

package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
)

// newUpgradable is a rig whose program can be replaced by deploy.
func newUpgradable(t *testing.T, count int) *rig {
	r := newRig(t, count)
	prog := r.path("prog")
	copyProgram(t, r.args.Options.Program, prog, "")
	r.args.Options.Program = prog
	return r
}

// deploy puts another build in the program's place.
func (r *rig) deploy(tail string) {
	r.t.Helper()
	copyProgram(r.t, r.path("prog"), r.path("prog"), tail)
}

// TestWhatABrokerProcessAnswersIsKept: a master of a version before does not know it.
func TestWhatABrokerProcessAnswersIsKept(t *testing.T) {
	a := &adopter{}
	for text, want := range map[string]int{`{}`: 3, `{"answers":[]}`: 0, `{"answers":["nodes"]}`: 1} {
		c := carriedUnit{Program: -1, Role: control.RoleBroker}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if u := a.unit(c); len(u.answers) != want {
			t.Errorf("%s: %v", text, u.answers)
		}
	}
}

func TestMasterTakesOver(t *testing.T) {
	r := newUpgradable(t, 2)
	r.plan.Broker.Answers = []string{control.QueryServices}
	r.savePlan()
	i := r.start()
	before := i.status()
	r.deploy("another build")
	report := i.reload()
	if m := report.Master; m == nil || m.OldVersion != "test" || m.NewVersion != "new" {
		t.Errorf("report: %+v", report)
	}
	after := i.status()
	if after.Version != "new" || after.Master.PID != before.Master.PID || !after.Master.Started.Equal(before.Master.Started) {
		t.Errorf("the master is %s %+v, was %+v", after.Version, after.Master, before.Master)
	}
	if len(after.Services) != 1 {
		t.Error("the broker process is not asked any more")
	}
	if want := (ReloadStatus{OK: 1, PauseMaxMS: 1.5}); after.Reloads != want {
		t.Errorf("reloads: %+v", after.Reloads)
	}
	broker := after.Broker.PID
	if report := i.reload(); report.Master != nil || i.status().Broker.PID != broker {
		t.Errorf("a reload of nothing new: %+v, broker process %d became %d", report, broker, i.status().Broker.PID)
	}
	if g := i.worker(0).Generation; g != 3 {
		t.Errorf("generation %d after two reloads", g)
	}
	i.stop()
}

// One whose execve fails goes on as if nothing had been tried.
func TestMasterThatCannotBeExecutedGoesOn(t *testing.T) {
	r := newUpgradable(t, 2)
	i := r.start()
	watcher := i.client
	r.deploy("another build")
	r.behave("broker", "chmod="+r.path("prog")) // the last one to start
	e := i.failedReload()
	if e.Worker != "master" || e.Step != "exec" || !strings.Contains(e.Error(), "permission denied") || !strings.Contains(e.Error(), "old code") {
		t.Errorf("reload: %+v: %v", *e, e)
	}
	st, err := watcher.Status(ctxFor(t))
	if err != nil || st.Version != "test" || st.Workers[1].State != Ready || st.Reloads != (ReloadStatus{Failed: 1, PauseMaxMS: 1.5}) {
		t.Errorf("status: %+v %v", st, err)
	}
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.behave("broker", "")
	if err := os.Chmod(r.path("prog"), 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a dead worker is replaced", func() bool { return i.worker(0).PID != st.Workers[0].PID && i.worker(0).State == Ready })
	if report := i.reload(); report.Master == nil {
		t.Errorf("the next reload: %+v", report)
	}
	i.stop()
}

func TestUnfitProgramIsFoundBeforeAnything(t *testing.T) {
	r := newUpgradable(t, 1)
	i := r.start()
	pid := i.worker(0).PID
	r.deploy("another build")
	r.write("broken", "planted: too young")
	e := i.failedReload()
	if e.Worker != "master" || e.Step != "check" || !strings.Contains(e.Error(), "planted: too young") {
		t.Errorf("reload: %+v: %v", *e, e)
	}
	if i.worker(0).PID != pid {
		t.Error("a worker was replaced")
	}
	if err := os.Remove(r.path("broken")); err != nil {
		t.Fatal(err)
	}
	i.reload()
	i.stop()
}

// A signal that asks for a reload counts whenever it comes: what it was sent
// for is taken over.
func TestNoReloadIsLostWhileTheMasterIsReplaced(t *testing.T) {
	r := newUpgradable(t, 1)
	i := r.start()
	for n := range 12 {
		r.deploy(fmt.Sprint("build ", n))
		count := 1 + n%2
		_, err := i.client.Reload(ctxFor(t), func(p Progress) {
			if p.Worker != masterName {
				return
			}
			time.Sleep(time.Duration(n) * time.Millisecond) // over the time that it takes
			r.plan.Workers[0].Count = 3 - count
			r.savePlan()
			i.signal(syscall.SIGUSR1)
		})
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the new plan is in force", func() bool { return len(i.status().Workers) == 3-count })
	}
	i.stop()
}

// What a client has sent after its reload is answered by the new master.
func TestRequestsAfterAReloadAreKept(t *testing.T) {
	r := newUpgradable(t, 1)
	i := r.start()
	r.deploy("another build")
	c, err := net.Dial("unix", filepath.Join(r.args.Options.RuntimeDir, controlSock))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(bound))
	request := func(op string) string { return fmt.Sprintf(`{"version":%d,"op":%q}`+"\n", wireVersion, op) }
	half := request("status")
	if _, err := io.WriteString(c, request("reload")+request("status")+half[:9]); err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(c)
	done := func() (a answer) {
		for !a.Done {
			a = answer{}
			if err := in.Decode(&a); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	if a := done(); a.Error != "" {
		t.Fatalf("reload: %+v", a)
	}
	for _, rest := range []string{half[9:], ""} {
		var st Status
		if a := done(); a.Error != "" || json.Unmarshal(a.Data, &st) != nil || st.Version != "new" {
			t.Fatalf("status: %+v", a)
		}
		if _, err := io.WriteString(c, rest); err != nil {
			t.Fatal(err)
		}
	}
	i.stop()
}

// The word of a respawn that the loop has not heard is not left behind.
func TestUnheardWordOfAStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*process)
		want   bool
	}{
		"silent":       {func(*process) {}, false},
		"said":         {func(p *process) { p.receive(control.Message{Type: control.TypeReady}) }, true},
		"failed":       {func(p *process) { p.receive(control.Message{Type: control.TypeFailed}) }, true},
		"on its way":   {func(p *process) { p.isReady.Store(true) }, true},
		"serves":       {func(p *process) { p.isReady.Store(true); p.readySince = time.Now(); p.slot.booting = nil }, false},
		"is given up":  {func(p *process) { p.isReady.Store(true); p.slot.booting = nil }, false},
		"not the slot": {func(p *process) { p.verdict <- nil; p.slot.booting = &process{} }, false},
	} {
		p := &process{slot: &slot{}, verdict: make(chan error, 1)}
		p.slot.booting = p
		c.change(p)
		if got := p.unheard(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A process that dies while it stands makes the upgrade begin anew, not fail.
func TestClosedChannelIsRestless(t *testing.T) {
	parent, child, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	child.Close()
	k := &packer{t: &takeover{}}
	k.luggage.addConn(parent)
	if _, err := k.encode(); err != nil {
		t.Error(err)
	}
	parent.Close()
	k.luggage.addConn(parent)
	if _, err := k.encode(); !errors.Is(err, errRestless) {
		t.Errorf("got %v", err)
	}
}

func TestParseTakeover(t *testing.T) {
	good := func() *takeover {
		return &takeover{
			Version: takeoverVersion, Plan: &Plan{Version: PlanVersion}, Report: &ReloadReport{},
			Programs:  []carriedFile{{}},
			Units:     []carriedUnit{{Listen: []carriedListen{{Socket: -1}}}},
			Slots:     []carriedSlot{{Proc: 0, Booting: -1}},
			Processes: []carriedProc{{}},
		}
	}
	for name, c := range map[string]struct {
		change func(*takeover)
		want   string
	}{
		"good":        {func(*takeover) {}, ""},
		"later":       {func(r *takeover) { r.Version++ }, "use restart"},
		"none":        {func(r *takeover) { r.Version = 0 }, "use restart"},
		"no plan":     {func(r *takeover) { r.Plan = nil }, "no plan"},
		"later plan":  {func(r *takeover) { r.Plan.Version++ }, "use restart"},
		"no program":  {func(r *takeover) { r.Units[0].Program = 1 }, "does not hold"},
		"no socket":   {func(r *takeover) { r.Units[0].Listen[0].Socket = 0 }, "does not hold"},
		"no unit":     {func(r *takeover) { r.Slots[0].Unit = 1 }, "does not hold"},
		"no process":  {func(r *takeover) { r.Broker = &carriedSlot{Proc: 1} }, "does not hold"},
		"no own unit": {func(r *takeover) { r.Processes[0].Unit = -1 }, "does not hold"},
	} {
		r := good()
		c.change(r)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseTakeover(data)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := parseTakeover([]byte("{")); err == nil {
		t.Error("half a record is taken")
	}
}
