package worker

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPanicsAreLogged: each different one with its stack, and of those that come again
// how many there were; the log does not grow with their number.
func TestPanicsAreLogged(t *testing.T) {
	w := New(anyWS)
	s := serve(t, w)
	first := func() { panic("the first") }
	second := func() { panic("the second") }
	s.on(func() {
		l := w.loop
		for range 100 {
			l.run(first)
			l.run(second)
		}
	})
	full := strings.Count(s.log.String(), `msg="callback panicked" `)
	for _, text := range []string{`panic="the first"`, `panic="the second"`, "panics_test.go"} {
		if !strings.Contains(s.log.String(), text) {
			t.Errorf("the log has no %s:\n%s", text, s.log)
		}
	}
	if full != 2 {
		t.Errorf("%d stacks in the log", full)
	}
	s.eventually("the others are told of", func() bool { return strings.Count(s.log.String(), "more=99\n") == 2 })
	s.eventually("nothing is remembered", func() bool { return len(w.loop.counts.culprits) == 0 })
	s.on(func() {
		for range 2 {
			w.loop.run(first)
		}
		for i := range maxCulprits { // no more are told apart
			w.loop.counts.culprits[culprit{uintptr(i + 1)}] = &repeats{}
		}
		w.loop.run(second)
		w.loop.run(func() { panic("one more") })
	})
	if n := strings.Count(s.log.String(), `msg="callback panicked" `) - full; n != 2 {
		t.Errorf("%d stacks of one that is back and of all that are too many", n)
	}
	s.stop()
	s.stopped = true
	if strings.Count(s.log.String(), "more=1\n") != 2 {
		t.Errorf("the end tells nothing:\n%s", s.log)
	}
}

// TestPanicsAsideAreLogged: the same where the loop is not what panics.
func TestPanicsAsideAreLogged(t *testing.T) {
	w := New(anyWS)
	s := serve(t, w)
	for range 100 {
		s.on(func() { must(t, w.Go(func() { panic("aside") })) })
		s.eventually("it has panicked", func() bool { return w.loop.tasks.Load() == 0 })
	}
	s.eventually("the others are told of", func() bool { return strings.Contains(s.log.String(), "more=") })
	if n := strings.Count(s.log.String(), "panics_test.go"); n != 1 || !strings.Contains(s.log.String(), "callback=Go panic=aside") {
		t.Errorf("%d stacks in the log:\n%s", n, s.log)
	}
	if n := s.stats().Panics; n != 100 {
		t.Errorf("%d panics", n)
	}
}

// TestPanicOfTimer: a connection's timer is a callback of it.
func TestPanicOfTimer(t *testing.T) {
	w := New(anyWS)
	var ended error
	w.OnMessage = func(c *Conn, m Message) {
		if m.String() == "after" {
			c.After(time.Millisecond, func() { panic("after") })
		} else {
			c.Every(time.Millisecond, func() { panic("every") })
		}
	}
	w.OnClose = func(_ *Conn, err error) { ended = err }
	s := serve(t, w)
	for _, timer := range []string{"after", "every"} {
		c := connect(t, s.addrs[0], "/")
		c.text(timer)
		c.wantClose(1011)
		s.on(func() {
			if c := w.loop.conns.all[0]; c.more != nil && len(c.more.timers) > 0 {
				t.Error("it goes on until the client has answered")
			}
		})
		c.conn.Close()
		s.eventually("OnClose", func() bool { return errors.Is(ended, ErrPanic) })
		s.on(func() { ended = nil })
	}
	if n := s.stats().Panics; n != 2 {
		t.Errorf("%d panics", n)
	}
}
