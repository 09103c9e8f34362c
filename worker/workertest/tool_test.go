package workertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// failing is the test of a user that is meant to fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper()        {}
func (f *failing) Cleanup(func()) {}
func (f *failing) Fatal(args ...any) {
	f.said = fmt.Sprint(args...)
	panic(f)
}
func (f *failing) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// fails reports what a test says that fails in run.
func fails(t *testing.T, run func(s *workertest.Server, c *workertest.Client)) (said string) {
	t.Helper()
	f := &failing{TB: t}
	w := worker.New()
	w.OnMessage = func(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
	s := workertest.Start(f, w)
	defer s.Stop()
	defer func() {
		if r := recover(); r != nil && r != f {
			panic(r)
		}
		said = f.said
	}()
	run(s, s.Dial("/"))
	return ""
}

// TestWhatFails: a test that wants something else than there is fails, and says
// what there is.
func TestWhatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		want string
		run  func(*workertest.Server, *workertest.Client)
	}{
		"another text":     {`got "a"`, func(_ *workertest.Server, c *workertest.Client) { c.SendText("a"); c.WantText("b") }},
		"binary for text":  {"binary: true", func(_ *workertest.Server, c *workertest.Client) { c.SendBinary([]byte("a")); c.WantText("a") }},
		"something":        {`got "a", want nothing`, func(_ *workertest.Server, c *workertest.Client) { c.SendText("a"); c.WantNothing() }},
		"another code":     {"closed with 1001", func(s *workertest.Server, c *workertest.Client) { s.Stop(); c.WantClose(1000) }},
		"nothing to come":  {"the connection is closed (1001", func(s *workertest.Server, c *workertest.Client) { s.Stop(); c.Read() }},
		"nobody let in":    {"the worker has stopped", func(s *workertest.Server, _ *workertest.Client) { s.Stop(); s.Dial("/") }},
		"bytes for frames": {"no WebSocket", func(s *workertest.Server, _ *workertest.Client) { s.Stream(0).SendText("a") }},
	} {
		if said := fails(t, tc.run); !strings.Contains(said, tc.want) {
			t.Errorf("%s: it says %q, want %q", name, said, tc.want)
		}
	}
	if said := fails(t, func(_ *workertest.Server, c *workertest.Client) { c.SendText("a"); c.WantText("a"); c.WantNothing() }); said != "" {
		t.Errorf("what is right fails: %s", said)
	}
}

// TestLargeMessages go through in one frame, whatever the form of its length.
func TestLargeMessages(t *testing.T) {
	w := worker.New()
	w.Limits.MaxMessage = 1 << 20
	w.OnMessage = func(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
	c := workertest.Start(t, w).Dial("/")
	for _, n := range []int{0, 125, 126, 65535, 65536, 200_000} {
		text := strings.Repeat("x", n)
		c.SendText(text)
		c.WantText(text)
	}
}

// TestEndWithoutCode: a close frame may be empty; that is 1005 to who reads it.
func TestEndWithoutCode(t *testing.T) {
	w := worker.New()
	w.OnMessage = func(c *worker.Conn, _ worker.Message) { c.Close(0, "") }
	c := workertest.Start(t, w).Dial("/")
	c.SendText("go")
	c.WantClose(1005)
}

// TestOneClock: servers of one bus have the same time, whenever they were started,
// and timers of both run when one is advanced.
func TestOneClock(t *testing.T) {
	bus := &workertest.Bus{}
	one := workertest.Start(t, worker.New(), workertest.Options{Bus: bus})
	one.Advance(90 * 60e9)
	two := workertest.Start(t, worker.New(), workertest.Options{Bus: bus, Slot: 1})
	if a, b := one.Worker().Now(), two.Worker().Now(); !a.Equal(b) {
		t.Errorf("%v and %v", a, b)
	}
	ran := false
	two.Do(func(w *worker.Worker) { w.After(60e9, func() { ran = true }) })
	one.Advance(60e9)
	if a, b := one.Worker().Now(), two.Worker().Now(); !ran || !a.Equal(b) {
		t.Errorf("the timer ran: %v; %v and %v", ran, a, b)
	}
}
