package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// terminal is a pseudo-terminal: what a program writes to tty is in said.
type terminal struct {
	tty   *os.File
	said  func() string
	close func() // as when its window is closed
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptmx.Close() })
	rc, err := ptmx.SyscallConn() // Fd would make a read hold it open
	if err != nil {
		t.Fatal(err)
	}
	var n int
	_ = rc.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	var mu sync.Mutex
	var all bytes.Buffer
	go func() {
		buf := make([]byte, 4096)
		for {
			k, err := ptmx.Read(buf)
			mu.Lock()
			all.Write(buf[:k])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return &terminal{tty: tty, close: func() { ptmx.Close() }, said: func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}}
}

// TestReloadShowsItsProgress on a terminal: one line that renews itself and is
// gone at the end. Elsewhere there is none.
func TestReloadShowsItsProgress(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig, Env: []string{"TERM=xterm"}})
	s.Dial("/echo")
	term := newTerminal(t)
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	c := s.Command(ctx, "reload")
	c.Stdout, c.Stderr = term.tty, term.tty
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %q", err, term.said())
	}
	const end = "reloaded: 2 processes replaced, 1 connection moved, 0 asked to come back"
	pushdtest.Eventually(t, "the report is there", func() bool { return strings.Contains(term.said(), end) })
	said := term.said()
	progress, report, _ := strings.Cut(said, "WORKER")
	for _, step := range []string{"reload 0/2  push/0 start", "reload 1/2  push/1 start", "reload 2/2  push/1 done"} {
		if !strings.Contains(progress, "\r\x1b[K"+step) {
			t.Errorf("no %q before the report: %q", step, said)
		}
	}
	if strings.Contains(progress, "\n") || !strings.HasSuffix(progress, "\r\x1b[K") || strings.Contains(report, "\x1b") {
		t.Errorf("the progress is not one line that is gone at the end: %q", said)
	}
	if out := s.MustRun("reload"); strings.ContainsAny(out, "\r\x1b") {
		t.Errorf("progress where there is no terminal: %q", out)
	}
}
