package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// road is a way to a server that can be cut. Who comes meanwhile waits until it is
// mended: pusher-js would take 15 s after a refusal to come again.
type road struct {
	ln net.Listener
	to string

	mu      sync.Mutex
	up      bool
	conns   []net.Conn
	waiting []net.Conn
}

func newRoad(t *testing.T, to string) *road {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &road{ln: ln, to: to, up: true}
	t.Cleanup(func() { ln.Close(); r.cut() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			if r.up {
				r.join(c)
			} else {
				r.waiting = append(r.waiting, c)
			}
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *road) port() int { return r.ln.Addr().(*net.TCPAddr).Port }

// join leads a connection on; r.mu is held.
func (r *road) join(a net.Conn) {
	b, err := net.Dial("tcp", r.to)
	if err != nil {
		a.Close()
		return
	}
	r.conns = append(r.conns, a, b)
	go func() { _, _ = io.Copy(a, b); a.Close() }()
	go func() { _, _ = io.Copy(b, a); b.Close() }()
}

func (r *road) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = false
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *road) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = true
	for _, c := range r.waiting {
		r.join(c)
	}
	r.waiting = nil
}

// TestRecoverInBrowser: the browser builds of pusher-js and laravel-echo in
// Chromium, with the script that pushd serves, on a network that is cut and put
// back, a reload meanwhile: nothing is missing, nothing twice, in order.
func TestRecoverInBrowser(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: recoverConfig})
	way := newRoad(t, s.Address())
	site := talk(t, s, "node", filepath.Join(sdk(t), "backend.mjs")).line()
	back := newBackEnd(t, s, "node", filepath.Join(sdk(t), "server.mjs"))
	ann := openBrowser(t).open(t, fmt.Sprintf("%s/?road=%d#ann", site, way.port()))
	ann.until(`ready()`)
	names := []string{"news", "private-orders", "presence-room", "private-encrypted-safe"}
	n := 0
	say := func(times int) {
		t.Helper()
		for range times {
			n++
			for _, c := range names {
				back.ok("trigger", "channels", []string{c}, "event", "e", "data", n)
			}
			back.ok("trigger", "channels", []string{"presence-echo-room"}, "event", `App\Events\Said`, "data", n)
		}
	}
	// heard has the page got all since the number, and, of channels that it has come
	// back to, been told so.
	heard := func(first int, told string) {
		t.Helper()
		want := len(names) + 1
		events := (n - first + 1) * want
		if told != "" {
			events += len(names)
		}
		ann.until(fmt.Sprintf("got.length >= %d", events))
		ann.eval(`var by = {}; for (const [c, e, d] of got.splice(0)) (by[c] ??= []).push(e === "pushd:recovered" ? JSON.stringify(d) : d)`)
		for _, c := range append(names, "echo") {
			list := ""
			for i := first; i <= n; i++ {
				list += fmt.Sprint(i, ",")
			}
			if c != "echo" {
				list += told
			}
			if got := ann.eval(fmt.Sprintf(`by[%q].join() + ","`, c)); got != list && got != list+"," {
				t.Errorf("%s: %v, want %s", c, got, list)
			}
		}
	}
	say(2)
	heard(1, "")
	for _, meanwhile := range []func(){func() {}, func() { s.MustRun("reload") }} {
		way.cut()
		ann.until(`pusher.connection.state !== "connected" && echo.connector.pusher.connection.state !== "connected"`)
		first := n + 1
		say(2)
		meanwhile()
		say(1)
		way.mend()
		heard(first, `{"recovered":true,"count":3},`)
		say(1)
		heard(n, "")
	}
}
