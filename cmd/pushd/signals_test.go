package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// ignores says whether a process ignores sig.
func ignores(t *testing.T, pid int, sig syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(sig-1)) != 0
}

// underNohup makes c ignore SIGHUP and SIGINT from its first moment, as nohup
// and scripts do that put it in the background.
func underNohup(c *exec.Cmd) {
	c.Args = append([]string{"sh", "-c", `trap "" HUP INT; exec "$0" "$@"`, c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
}

// TestIgnoredSignalsStayIgnored by the master, its children and the program
// that the master becomes; everything else works.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	u := startUpgradable(t, `drain = "100ms"`+"\n"+reloadConfig, true)
	c, ended := u.Foreground(underNohup)
	client := u.Dial("/echo")
	look := func(when string) {
		t.Helper()
		before := u.Status()
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
			for _, pid := range []int{before.Master.PID, before.Broker.PID, before.Workers[0].PID} {
				if !ignores(t, pid, sig) {
					t.Errorf("%s: process %d does not ignore %s", when, pid, sig)
				}
			}
			signalMaster(t, before.Master.PID, sig)
		}
		u.MustRun("reload") // answered after the signals
		if g := u.Status().Workers[0].Generation; g != before.Workers[0].Generation+1 {
			t.Errorf("%s: generation %d after %d", when, g, before.Workers[0].Generation)
		}
	}
	look("at first")
	u.upgrade("two")
	look("after an upgrade")
	generation := u.Status().Workers[0].Generation
	signalMaster(t, c.Process.Pid, syscall.SIGUSR1)
	pushdtest.Eventually(t, "USR1 still reloads", func() bool { return u.Status().Workers[0].Generation == generation+1 })
	client.SendText("still here")
	client.WantText("still here")
	client.Close()
	signalMaster(t, c.Process.Pid, syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestHangUpInTheForeground: a service manager's SIGHUP asks for a reload, with
// its new log; only the end of the terminal stops.
func TestHangUpInTheForeground(t *testing.T) {
	withoutTerminal := func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
	u := startUpgradable(t, `drain = "100ms"`+"\n"+reloadConfig, true)
	c, ended := u.Foreground(withoutTerminal)
	client := u.Dial("/echo")
	for _, version := range []string{"one", "two"} {
		if version != "one" {
			u.upgrade(version)
		}
		generation := u.Status().Workers[0].Generation
		signalMaster(t, c.Process.Pid, syscall.SIGHUP)
		pushdtest.Eventually(t, version+" reloads", func() bool { return u.Status().Workers[0].Generation == generation+1 })
		client.SendText(version)
		client.WantText(version)
	}
	client.Close()
	u.Stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestTheTerminalGoes and whoever was started at it stops, also after an
// upgrade; while it is there SIGHUP reloads.
func TestTheTerminalGoes(t *testing.T) {
	for _, upgrade := range []bool{false, true} {
		t.Run(fmt.Sprintf("upgrade=%v", upgrade), func(t *testing.T) {
			u := startUpgradable(t, `drain = "100ms"`+"\n"+reloadConfig, true)
			term := newTerminal(t)
			c, ended := u.Foreground(func(c *exec.Cmd) {
				c.Stdin = term.tty
				c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			})
			client := u.Dial("/echo")
			if upgrade {
				u.upgrade("two")
			}
			generation, reloads := u.Status().Workers[0].Generation, strings.Count(u.Log(), "reload done")
			signalMaster(t, c.Process.Pid, syscall.SIGHUP)
			pushdtest.Eventually(t, "it reloads", func() bool {
				return u.Status().Workers[0].Generation == generation+1 && strings.Count(u.Log(), "reload done") > reloads
			})
			client.SendText("still here")
			client.WantText("still here")
			term.close()
			client.WantClose(1001)
			client.Conn.Close()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestReopen makes every process write to a new log file, by command and by
// signal, and touches nothing else.
func TestReopen(t *testing.T) {
	u := startUpgradable(t, `log_file = "pushd.log"`+"\n"+reloadConfig, false)
	client := u.Dial("/echo")
	log := filepath.Join(u.Dir, "pushd.log")
	before := u.Status()
	for i, ask := range []func(){
		func() {
			if out := u.MustRun("reopen"); !strings.Contains(out, log) {
				t.Errorf("reopen says %q", out)
			}
		},
		func() { u.MustRun("reopen", "--json") },
		func() { signalMaster(t, before.Master.PID, syscall.SIGUSR2) },
	} {
		if err := os.Rename(log, fmt.Sprintf("%s.%d", log, i)); err != nil {
			t.Fatal(err)
		}
		ask()
		for _, p := range append([]int{before.Master.PID, before.Broker.PID}, before.Workers[0].PID, before.Workers[1].PID) {
			pushdtest.Eventually(t, fmt.Sprintf("process %d writes to the new file (%d)", p, i), func() bool {
				target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", p))
				return err == nil && target == log
			})
		}
	}
	after := u.Status()
	if after.Workers[0].PID != before.Workers[0].PID || after.Broker.PID != before.Broker.PID {
		t.Errorf("processes were replaced: %+v, before %+v", after, before)
	}
	client.SendText("still here")
	client.WantText("still here")

	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(log, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := u.Run("reopen"); r.Code != 1 || !strings.Contains(r.Stderr, "is a directory") {
		t.Errorf("reopen of a log that cannot be opened: %d %s", r.Code, r.Stderr)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	u.upgrade("two") // which still knows where
	if _, err := os.Stat(log); err != nil {
		t.Error(err)
	}
}

// TestStartIsInterrupted at any moment from the daemon's first on: `start -d` then says so, and
// leaves no server behind.
func TestStartIsInterrupted(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, // it never becomes ready
		Config: "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\ncount = 1\nallow_root = true\nscript = \"sleep 1000\"\n"})
	begun := map[string]func(pid int) bool{
		"born": func(pid int) bool { return len(childrenOf(pid)) > 0 },
		"locked": func(int) bool {
			owner, _ := os.ReadFile(filepath.Join(s.Dir, "run", "pushd.lock"))
			return len(owner) > 0
		},
		"heard": func(int) bool { _, err := os.Lstat(filepath.Join(s.Dir, "run", "control.sock")); return err == nil },
		"boots": func(int) bool { return len(s.Processes()) >= 4 }, // the command, the master, the broker process, the worker
	}
	for round := range 6 {
		for when, reached := range begun {
			sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}[round%3]
			ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
			c := s.Command(ctx, "start", "-d")
			var said bytes.Buffer
			c.Stderr = &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for !reached(c.Process.Pid) && ctx.Err() == nil { // without a pause: some moments are short
			}
			signalMaster(t, c.Process.Pid, sig)
			_ = c.Wait()
			cancel()
			if got := said.String(); c.ProcessState.ExitCode() != 1 || got != "pushd: start failed: stopped before it was ready\n" {
				t.Fatalf("%s when it is %s: %s %q", sig, when, c.ProcessState, got)
			}
			if left := s.Processes(); len(left) > 0 {
				t.Fatalf("%s when it is %s leaves %v", sig, when, left)
			}
		}
	}
}

// childrenOf are the processes that a thread of pid has started.
func childrenOf(pid int) (all []string) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		pids, _ := os.ReadFile(list) // the thread may be gone
		all = append(all, strings.Fields(string(pids))...)
	}
	return all
}
