//go:build linux

package master

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// deafEnv makes TestSignalWhileTheMasterGoesDeaf the process that is signalled.
const deafEnv = "PUSHD_TEST_DEAF"

// A signal for a reload that a thread has been given when the master stops
// listening does not end the process, and is not lost if it listens again.
func TestSignalWhileTheMasterGoesDeaf(t *testing.T) {
	if os.Getenv(deafEnv) != "" {
		goDeaf(t)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), deafEnv+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func goDeaf(t *testing.T) {
	m := newMaster(Options{}, defaultTiming)
	m.log = slog.New(slog.DiscardHandler)
	m.listen()
	ask := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Error(err)
		}
	}
	var before, now sigaction
	setAction(syscall.SIGUSR1, nil, &before)
	undo := m.deafen()
	if setAction(syscall.SIGUSR1, nil, &now); now.handler != sigIgn {
		t.Error("a program that is executed now dies of the signal until it listens")
	}
	setAction(syscall.SIGUSR1, &before, nil) // what a thread has been given goes to the handler of before
	ask()
	undo()
	testkit.Eventually(t, "the signal is heard", func() bool { return len(m.wanted)+len(m.signals) > 0 })
	for len(m.signals) > 0 {
		<-m.signals
	}
	ask()
	testkit.Eventually(t, "the next one is heard", func() bool { return len(m.signals) > 0 })
}

// TestSignalBeforeTheLoopListens ends the start, as one that comes sooner or later does, and
// also one of just then.
func TestSignalBeforeTheLoopListens(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := newMaster(Options{RuntimeDir: t.TempDir(), Announce: func(Started) {
		t.Error("it is ready")
		cancel()
	}}, defaultTiming)
	var err error
	if m.dir, err = makeFolder(m.o.RuntimeDir); err != nil {
		t.Fatal(err)
	}
	defer m.dir.Close()
	program, err := openProgram("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	_, heard := untilSignal(ctx, syscall.SIGHUP)
	runtime.LockOSThread() // which has it when the call returns
	err = syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGHUP)
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.run(ctx, heard, &generation{number: 1, plan: &Plan{}, program: program}); !errors.Is(err, errInterrupted) {
		t.Errorf("run returns %v", err)
	}
}
