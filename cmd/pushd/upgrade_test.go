package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/master"
)

// upgradable is a server whose program is a file of its own, which the test
// replaces.
type upgradable struct {
	*pushdtest.Server
	t *testing.T
}

// build builds pushd as that version.
func build(t *testing.T, version string) (binary string) {
	t.Helper()
	return pushdtest.BuildAs(t, "cmd/pushd", "pushd", "-ldflags=-X github.com/pushd/pushd/cmd.Version="+version)
}

// startUpgradable runs version one, in the background unless manual.
func startUpgradable(t *testing.T, config string, manual bool) *upgradable {
	t.Helper()
	u := &upgradable{pushdtest.Start(t, pushdtest.Options{Config: config, Manual: true}), t}
	u.Binary = filepath.Join(u.Dir, "pushd")
	u.install(build(t, "one"))
	if !manual {
		u.MustRun("start", "-d")
	}
	return u
}

// install puts a binary in the place of the program, as a deploy does.
func (u *upgradable) install(binary string) {
	u.t.Helper()
	data, err := os.ReadFile(binary)
	if err != nil {
		u.t.Fatal(err)
	}
	testkit.WriteProgram(u.t, u.Binary, data, 0o755)
}

// version asks the running master.
func (u *upgradable) version() (version string, pid int) {
	u.t.Helper()
	var st struct {
		Version string
		Master  struct{ PID int }
	}
	if err := json.Unmarshal([]byte(u.MustRun("status", "--json")), &st); err != nil {
		u.t.Fatal(err)
	}
	return st.Version, st.Master.PID
}

// upgrade installs that version and reloads.
func (u *upgradable) upgrade(version string) {
	u.t.Helper()
	old, pid := u.version()
	u.install(build(u.t, version))
	var r struct {
		OK     bool
		Master struct{ Old_version, New_version string }
	}
	if err := json.Unmarshal([]byte(u.MustRun("reload", "--json")), &r); err != nil {
		u.t.Fatal(err)
	}
	if !r.OK || r.Master.Old_version != old || r.Master.New_version != version {
		u.t.Fatalf("reload from %s to %s reports %+v", old, version, r)
	}
	if now, same := u.version(); now != version || same != pid {
		u.t.Fatalf("after the reload the master is %s, pid %d; want %s, pid %d", now, same, version, pid)
	}
}

// descriptors counts what a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// zombies are the dead children of a process that it has not waited for.
func zombies(pid int) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		line, _ := os.ReadFile(path)
		if f := strings.Fields(string(line[max(bytes.LastIndexByte(line, ')'), 0):])); len(f) > 2 && f[1] == "Z" && f[2] == fmt.Sprint(pid) {
			found = append(found, path)
		}
	}
	return found
}

// TestUpgradeUnderLoad: one → two → one → two → one, each time all processes and
// the master too, while pushbench checks every byte and that nobody is closed.
func TestUpgradeUnderLoad(t *testing.T) {
	u := startUpgradable(t, reloadConfig, false)
	u.swapUnderLoad("one", build(t, "one"), "two", build(t, "two"))
}

// TestUpgradeFromOld is TestUpgradeUnderLoad between this code and an older
// program, the file that PUSHD_TEST_OLD names: there and back, twice.
func TestUpgradeFromOld(t *testing.T) {
	old := os.Getenv("PUSHD_TEST_OLD")
	if old == "" {
		t.Skip("PUSHD_TEST_OLD names no older pushd")
	}
	u := &upgradable{pushdtest.Start(t, pushdtest.Options{Config: reloadConfig, Manual: true}), t}
	u.Binary = filepath.Join(u.Dir, "pushd")
	u.install(old)
	u.MustRun("start", "-d")
	version, _ := u.version()
	u.swapUnderLoad(version, old, "two", build(t, "two"))
}

// swapUnderLoad reloads a server that runs version one to version two and back,
// twice, as TestUpgradeUnderLoad says.
func (u *upgradable) swapUnderLoad(one, first, two, second string) {
	t := u.t
	_, pid := u.version()
	var idle []*pushdtest.Client
	for range 20 {
		idle = append(idle, u.Dial("/echo"))
	}
	reports := filepath.Join(u.Dir, "reloads")
	deploy := filepath.Join(u.Dir, "deploy")
	script := fmt.Sprintf("#!/bin/sh\nset -e\nnew=%s; cmp -s $new %s && new=%s\ncp $new %s.new; mv %s.new %s\n%s reload -c %s --json >> %s\n",
		second, u.Binary, first, u.Binary, u.Binary, u.Binary, u.Binary, u.Config, reports)
	testkit.WriteProgram(t, deploy, []byte(script), 0o755)
	scheme := "ws"
	if u.Secure {
		scheme = "wss"
	}
	load := exec.Command(pushdtest.Build(t, "cmd/pushbench"), "reload",
		"--url", fmt.Sprintf("%s://127.0.0.1:%d", scheme, u.Port), "--api", "http://"+u.API, "--key", u.Key,
		"--idle", "100", "--echoes", "100", "--echo-rate", "300", "--channels", "2", "--members", "30",
		"--talk-rate", "20", "--publish-rate", "20", "--churn", "5", "--connect-rate", "20", "--slow", "3",
		"--times", "4", "--every", "300ms", "--exec", deploy)
	load.Env = u.Command(context.Background()).Env
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(reports)
	if err != nil {
		t.Fatal(err)
	}
	var versions []string
	for line := range strings.Lines(string(data)) {
		var r struct {
			OK     bool
			Moved  int
			Master struct{ New_version string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || !r.OK || r.Moved < 200 {
			t.Errorf("reload reported %s", line)
		}
		versions = append(versions, r.Master.New_version)
	}
	if want := []string{two, one, two, one}; !slices.Equal(versions, want) {
		t.Errorf("the master became %q, want %q", versions, want)
	}
	if version, now := u.version(); version != one || now != pid {
		t.Errorf("the master is %s, pid %d; want %s, pid %d", version, now, one, pid)
	}
	for i, c := range idle {
		c.SendText(fmt.Sprint(i))
		c.WantText(fmt.Sprint(i))
	}
}

// TestUpgradeLeaksNothing: neither descriptors nor zombies, over 20 of them.
func TestUpgradeLeaksNothing(t *testing.T) {
	u := startUpgradable(t, reloadConfig, false)
	c := u.Dial("/echo")
	u.upgrade("two")
	_, pid := u.version()
	before := descriptors(t, pid)
	for range 10 {
		u.upgrade("one")
		u.upgrade("two")
	}
	pushdtest.Eventually(t, "as many descriptors as before", func() bool { return descriptors(t, pid) <= before })
	if left := zombies(pid); len(left) > 0 {
		t.Errorf("the master has not waited for %v", left)
	}
	if n := len(u.Processes()); n != 4 { // master, broker process, two workers
		t.Errorf("%d processes: %v", n, u.Processes())
	}
	c.SendText("still here")
	c.WantText("still here")
}

// TestUnfitUpgrades: a program that cannot take over from the master is found
// out before anything is touched.
func TestUnfitUpgrades(t *testing.T) {
	u := startUpgradable(t, strings.Replace(reloadConfig, `, "/chat" = "chat"`, "", 1), false)
	c := u.Dial("/echo")
	before := u.Status()
	u.install(pushdtest.BuildAs(t, "cmd/pushd/testdata/unfit", "pushd", "-ldflags=-X github.com/pushd/pushd/cmd.Version=unfit"))
	for how, reason := range map[string]string{
		"older": `there is no command "adopt"`, "panic": "planted", "silent": "unexpected end of JSON input", "refuse": "planted: not from this one",
	} {
		if err := os.WriteFile(filepath.Join(u.Dir, "unfit"), []byte(how), 0o644); err != nil {
			t.Fatal(err)
		}
		var r struct {
			OK                  bool
			Error, Worker, Step string
		}
		res := u.Run("reload", "--json")
		if err := json.Unmarshal([]byte(res.Stdout), &r); err != nil || res.Code != 1 || r.OK || r.Worker != "master" || r.Step != "check" ||
			!strings.Contains(r.Error, reason) || !strings.Contains(r.Error, "use restart") || !strings.Contains(res.Stderr, "at master") {
			t.Errorf("%s: exit %d %s %s", how, res.Code, res.Stdout, res.Stderr)
		}
		if version, pid := u.version(); version != "one" || pid != before.Master.PID {
			t.Errorf("%s: the master is %s, pid %d", how, version, pid)
		}
	}
	for i, w := range u.Status().Workers {
		if w.PID != before.Workers[i].PID || w.State != "ready" {
			t.Errorf("slot %d: pid %d became %+v", i, before.Workers[i].PID, w)
		}
	}
	c.SendText("old code serves")
	c.WantText("old code serves")
	u.upgrade("two")
	c.SendText("new code serves")
	c.WantText("new code serves")
}

// TestCommandsAcrossAnUpgrade: a client of the control socket keeps its
// connection, and a reload that was asked for meanwhile is carried out.
func TestCommandsAcrossAnUpgrade(t *testing.T) {
	u := startUpgradable(t, reloadConfig, false)
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	dial := func() *master.Client {
		c, err := master.Dial(filepath.Join(u.Dir, "run"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	watcher, first, second := dial(), dial(), dial()
	if st, err := watcher.Status(ctx); err != nil || st.Version != "one" {
		t.Fatal(st, err)
	}
	u.install(build(t, "two"))
	queued := make(chan error, 1)
	begun := false
	report, err := first.Reload(ctx, func(p master.Progress) {
		if begun {
			return
		}
		begun = true // it runs: another one has to wait for the next
		go func() {
			r, err := second.Reload(ctx, nil)
			if err == nil && (!r.OK || r.Master != nil || len(r.Slots) != 2) {
				err = fmt.Errorf("the second reload reports %+v", *r)
			}
			queued <- err
		}()
	})
	if err != nil || !report.OK || report.Master == nil || report.Master.NewVersion != "two" {
		t.Errorf("the first reload reports %+v, %v", report, err)
	}
	if err := <-queued; err != nil {
		t.Error(err)
	}
	st, err := watcher.Status(ctx)
	if err != nil || st.Version != "two" || st.Workers[0].Generation != 3 || st.Reloads.OK != 2 {
		t.Errorf("the watcher sees version %s, generation %d, %+v, %v", st.Version, st.Workers[0].Generation, st.Reloads, err)
	}
}

// TestWorkersDieWhileTheMasterIsReplaced: killed at the moment at which the
// master stops listening, or a little later.
func TestWorkersDieWhileTheMasterIsReplaced(t *testing.T) {
	u := startUpgradable(t, reloadConfig, false)
	_, pid := u.version()
	c, err := master.Dial(filepath.Join(u.Dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	for n, version := range []string{"two", "one", "two", "one", "two", "one"} {
		u.install(build(t, version))
		var victim int
		report, err := c.Reload(ctx, func(p master.Progress) {
			if p.Worker == "push" && p.Slot == 0 && p.Step == "done" {
				victim = slot0(t, u.Dir)
			}
			if p.Worker == "master" {
				time.Sleep(time.Duration(n) * 3 * time.Millisecond)
				syscall.Kill(victim, syscall.SIGKILL)
			}
		})
		if err != nil || report.Master == nil || victim == 0 {
			t.Fatalf("%s: %+v %v, victim %d", version, report, err, victim)
		}
		pushdtest.Eventually(t, "another worker is in its place", func() bool {
			for _, w := range u.Status().Workers {
				if w.State != "ready" || w.PID == victim {
					return false
				}
			}
			return true
		})
		if now, same := u.version(); now != version || same != pid {
			t.Errorf("the master is %s, pid %d; want %s, pid %d", now, same, version, pid)
		}
		pushdtest.Eventually(t, "no zombie is left", func() bool { return len(zombies(pid)) == 0 })
	}
	e := u.Dial("/echo")
	e.SendText("served")
	e.WantText("served")
}

// slot0 asks for the pid of the first worker.
func slot0(t *testing.T, dir string) int {
	c, err := master.Dial(filepath.Join(dir, "run"))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	st, err := c.Status(context.Background())
	if err != nil {
		t.Error(err)
		return 0
	}
	return st.Workers[0].PID
}

// TestEverythingWorksAfterAnUpgrade as before one.
func TestEverythingWorksAfterAnUpgrade(t *testing.T) {
	u := startUpgradable(t, `log_file = "pushd.log"`+"\ndrain = \"100ms\"\n"+reloadConfig, false)
	c := u.Dial("/echo")
	u.upgrade("two")
	st := u.Status()

	if res := u.Run("start", "-d"); res.Code != 1 || !strings.Contains(res.Stderr, fmt.Sprintf("already running as pid %d", st.Master.PID)) {
		t.Errorf("a second start: %d %s", res.Code, res.Stderr)
	}
	broker := st.Broker.PID
	if r := reload(t, u.Server); !r.OK || r.Moved != 1 || u.Status().Broker.PID != broker {
		t.Errorf("a reload of nothing new: %+v, broker process %d became %d", r, broker, u.Status().Broker.PID)
	}
	generation := func() int { return u.Status().Workers[0].Generation }
	before := generation()
	signalMaster(t, st.Master.PID, syscall.SIGUSR1)
	pushdtest.Eventually(t, "USR1 reloads", func() bool { return generation() == before+1 })

	log := filepath.Join(u.Dir, "pushd.log")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	signalMaster(t, st.Master.PID, syscall.SIGHUP)
	pushdtest.Eventually(t, "HUP reopens the log", func() bool {
		text, _ := os.ReadFile(log)
		return strings.Contains(string(text), "reload done")
	})
	c.Close()
	for _, victim := range []int{u.Status().Workers[1].PID, u.Status().Broker.PID} {
		signalMaster(t, victim, syscall.SIGKILL)
		pushdtest.Eventually(t, "a killed process is replaced", func() bool {
			now := u.Status()
			return now.Workers[1].PID != victim && now.Workers[1].State == "ready" && now.Broker.PID != victim && now.Broker.PID != 0
		})
	}
	if w := u.Status().Workers[1]; w.Restarts != 1 {
		t.Errorf("slot 1: %+v", w)
	}
	u.upgrade("one")
	if w := u.Status().Workers[1]; w.Restarts != 1 {
		t.Errorf("slot 1 after one more upgrade: %+v", w)
	}
	u.Stop()
	if left, _ := filepath.Glob(filepath.Join(u.Dir, "run", "*")); len(left) != 1 {
		t.Errorf("left in the runtime folder: %v", left)
	}
}

func signalMaster(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// TestForegroundAfterAnUpgrade: still the child of whoever started it, on its
// terminal's signals.
func TestForegroundAfterAnUpgrade(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			u := startUpgradable(t, `drain = "100ms"`+"\n"+reloadConfig, true)
			c, over := u.Foreground(nil)
			client := u.Dial("/echo")
			u.upgrade("two")
			client.SendText("stays")
			client.WantText("stays")
			signalMaster(t, c.Process.Pid, sig)
			client.WantClose(1001)
			client.Conn.Close()
			if err := <-over; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
