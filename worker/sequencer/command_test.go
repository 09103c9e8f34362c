package sequencer_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestHistoryCommand: `history` prints what is kept and says why it cannot; with
// --follow it goes on over the death of the broker process, and says what is lost.
func TestHistoryCommand(t *testing.T) {
	s := start(t, config)
	for _, text := range []string{"one", "two"} {
		publish(t, s, "room1", text)
	}
	texts := func(lines string) (list []string) {
		for line := range strings.Lines(lines) {
			f := strings.Split(strings.TrimSpace(line), "  ")
			list = append(list, f[len(f)-1])
		}
		return list
	}
	if got := texts(s.MustRun("history", "room1")); strings.Join(got, " ") != "one two" {
		t.Errorf("%q", got)
	}
	for after, want := range map[string]string{"zzzzzz:1": "reason epoch", "what": "a position is EPOCH:OFFSET"} {
		if r := s.Run("history", "room1", "--after", after); r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("after %s: %+v", after, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := s.Command(ctx, "history", "room1", "--follow")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || texts(lines.Text())[0] != want {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	next("one")
	next("two")
	publish(t, s, "room1", "three")
	next("three")
	pid := s.Status().Broker.PID
	s.Kill(pid)
	pushdtest.Eventually(t, "another broker process", func() bool {
		return s.Status().Broker.PID != pid && tryPublish(s, "room1", "four")
	})
	for lines.Scan() && texts(lines.Text())[0] != "four" { // what was in doubt may come first
	}
	if out := s.MustRun("history", "room1", "--purge"); !strings.HasPrefix(out, "forgot ") {
		t.Errorf("%q", out)
	}
	publish(t, s, "room1", "five")
	for lines.Scan() && texts(lines.Text())[0] != "five" {
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	errors, _ := io.ReadAll(said)
	if err := c.Wait(); err != nil || !strings.Contains(string(errors), "reason epoch") {
		t.Errorf("%v, said %q", err, errors)
	}
}
