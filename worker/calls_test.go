package worker

import (
	"os"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// TestSystemCalls are the budgets of an echo, a delivery and a ping with its pong,
// in system calls of the loop. All that is to be done is there before the loop
// looks, so that it does not matter what else the machine does; what is left to
// chance are signals of Go's runtime, each of which may end a wait, and whether the
// listener changes the epoll instance then.
func TestSystemCalls(t *testing.T) {
	if os.Getenv(reactor.FallbackEnv) == "gnet" {
		t.Skip("gnet's own calls are not counted")
	}
	const n, chance = 200, 20
	w, _ := newEchoer(anyWS)
	w.PingInterval = time.Hour // the test asks for pings
	s := serve(t, w)
	clients := echoes(s, n)
	quiet := func(what string, most reactor.Calls, before, after func()) {
		t.Helper()
		open := s.gate()
		before()
		was := reactor.CallsSoFar()
		open()
		after()
		now := reactor.CallsSoFar().Since(was)
		t.Logf("%s: %+v for %d", what, now, n)
		if now.Waits > most.Waits || now.Reads > most.Reads || now.Writes > most.Writes || now.Changes > most.Changes || now.Rings > most.Rings {
			t.Errorf("%s: %+v, want at most %+v", what, now, most)
		}
	}
	quiet("echo", reactor.Calls{Waits: chance, Reads: n + chance, Writes: n, Changes: chance, Rings: chance}, func() {
		for _, c := range clients {
			c.text("hello")
		}
	}, func() {
		for _, c := range clients {
			c.want("hello")
		}
	})
	quiet("delivery", reactor.Calls{Waits: chance, Reads: chance, Writes: n, Changes: chance, Rings: chance}, func() {
		must(t, w.Post(func() { must(t, w.Publish("all", Text("news"))) }))
	}, func() {
		for _, c := range clients {
			c.want("news")
		}
	})
	quiet("ping", reactor.Calls{Waits: chance, Reads: chance, Writes: n, Changes: chance, Rings: chance}, func() {
		must(t, w.Post(func() {
			l := w.loop
			for i, c := range l.conns.all {
				c.lastRecv = seconds(l.now - w.PingInterval)
				l.conns.deadline[i] = 1
			}
			l.sweep()
		}))
	}, func() {
		for _, c := range clients {
			if first, _, err := c.frame(); first != 0x89 || err != nil {
				t.Fatalf("%#x, %v instead of a ping", first, err)
			}
		}
	})
	quiet("pong, and an echo to see it", reactor.Calls{Waits: chance, Reads: n + chance, Writes: n, Changes: chance, Rings: chance}, func() {
		for _, c := range clients {
			c.write(append(mask(0x8a, nil), mask(0x81, []byte("here"))...))
		}
	}, func() {
		for _, c := range clients {
			c.want("here")
		}
	})
	s.on(func() {
		for _, c := range w.loop.conns.all {
			if c.has(flagPinged) {
				t.Error("a pong was not heard")
			}
		}
	})
}
