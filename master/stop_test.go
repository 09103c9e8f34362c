//go:build linux

package master

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestSignalsThatStop(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "QUIT without clients": syscall.SIGQUIT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			i := r.start()
			i.signal(sig)
			i.ended()
			// Readiness fails first, while the workers are still there.
			rosters := r.read("roster")
			if !strings.Contains(rosters, `{"workers":["push/0/1","push/1/1"],"draining":true`) {
				t.Errorf("rosters: %s", rosters)
			}
		})
	}
}

func TestUSR1AndStrayVerbsDoNotStop(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	i.signal(syscall.SIGUSR2) // there is no log file
	i.signal(syscall.SIGPIPE)
	i.signal(syscall.SIGUSR1)
	testkit.Eventually(t, "the reload of USR1", func() bool { return i.worker(0).Generation == 2 })
	i.stop()
}

func TestGracefulStopWaitsForClients(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	p := dialPeer(t, r.addr)
	p.ask("who")
	i.signal(syscall.SIGQUIT)
	testkit.Eventually(t, "the stop is under way", func() bool { return strings.Contains(r.read("stop"), "graceful=true") })
	if got := p.ask("still here"); got != "still here" {
		t.Errorf("during a graceful stop: %q", got)
	}
	if w := i.status().Workers[0]; w.State != Draining {
		t.Errorf("during a graceful stop: %+v", w)
	}
	if _, err := i.client.Reload(ctxFor(t), nil); err == nil || !strings.Contains(err.Error(), "the master stops") {
		t.Errorf("reload during a stop: %v", err)
	}
	p.c.Close()
	i.ended()
}

func TestGracefulStopIsBounded(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	p := dialPeer(t, r.addr)
	p.ask("who")
	if err := i.client.Stop(ctxFor(t), StopOptions{Graceful: true, Timeout: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if got := p.line(); got != "bye" {
		t.Errorf("after the time was over: %q", got)
	}
	i.ended()
}

func TestPlainStopEndsGracefulOne(t *testing.T) {
	r := newRig(t, 1)
	i := r.start()
	dialPeer(t, r.addr).ask("who")
	i.signal(syscall.SIGQUIT)
	testkit.Eventually(t, "the graceful stop is under way", func() bool { return strings.Contains(r.read("stop"), "graceful=true") })
	i.stop()
}

func TestStubbornProcessesAreKilledInStop(t *testing.T) {
	r := newRig(t, 2)
	r.behave("worker", "stubborn")
	r.behave("broker", "stubborn")
	r.args.Timing["leave"], r.args.Timing["silence"] = 200*time.Millisecond, time.Second
	i := r.start()
	kill(t, i.worker(1).PID, syscall.SIGSTOP) // not even reading
	start := time.Now()
	i.stop()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("stop took %s", took)
	}
}

func TestStopDuringStart(t *testing.T) {
	r := newRig(t, 1)
	r.behave("worker", "hang")
	i := r.launch()
	testkit.Eventually(t, "the worker hangs", func() bool { return r.read("hang") != "" })
	i.signal(syscall.SIGTERM)
	if word, rest := i.said(); word != "error" || rest != errInterrupted.Error() {
		t.Errorf("the master says %s %s", word, rest)
	}
	_ = i.cmd.Wait()
	r.nothingLeft()
}

func TestSignalDuringPlan(t *testing.T) {
	r := newRig(t, 1)
	r.write("plan", "hang ")
	i := r.launch()
	testkit.Eventually(t, "plan hangs", func() bool { return len(r.processes()) == 2 })
	i.signal(syscall.SIGINT)
	if word, rest := i.said(); word != "error" || rest != errInterrupted.Error() {
		t.Errorf("the master says %s %s", word, rest)
	}
	_ = i.cmd.Wait()
	r.nothingLeft()
}

// TestStopDuringReload: wherever the reload is, it says that the master stops, and not what
// it has failed at for that.
func TestStopDuringReload(t *testing.T) {
	for name, hang := range map[string]func(*rig){
		"plan":   func(r *rig) { r.write("plan", "hang ") },
		"worker": func(r *rig) { r.behave("worker.1", "hang") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			i := r.start()
			running := len(r.processes())
			hang(r)
			result := make(chan error, 1)
			go func() {
				_, err := i.client.Reload(ctxFor(t), nil)
				result <- err
			}()
			testkit.Eventually(t, "the reload hangs", func() bool {
				return name == "worker" && r.read("hang") != "" || name == "plan" && len(r.processes()) > running
			})
			i.signal(syscall.SIGTERM)
			var e *ReloadError
			if err := <-result; !errors.As(err, &e) || e.Step != StepInterrupted || e.Error() != "interrupted: the master stops" {
				t.Errorf("reload ends with %v", err)
			}
			i.ended()
		})
	}
}

func TestStopWhileSlotIsDown(t *testing.T) {
	r := newRig(t, 1)
	r.args.Timing["delayMin"] = time.Hour
	r.args.Timing["delayMax"] = time.Hour
	i := r.start()
	kill(t, i.worker(0).PID, syscall.SIGKILL)
	testkit.Eventually(t, "the slot is down", func() bool { return i.worker(0).State == Stopped })
	i.stop()
}
