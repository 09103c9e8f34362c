// Command kinds is a program with every kind of connection, for the tests of
// reload. KINDS_LISTEN has its addresses. What is deferred is answered when the
// file "release" is in its working directory.
package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
)

func main() {
	w := worker.New(strings.Fields(os.Getenv("KINDS_LISTEN"))...)
	w.Name, w.Count = "kinds", 2
	w.Limits.MaxQueue = 32 << 20
	w.OnHandshake = func(c *worker.Conn, h *worker.Handshake) {
		if c.Path() == "/deferred" {
			h.Defer()
			released(w, h.Accept)
		}
	}
	w.OnConnect = func(c *worker.Conn) { _ = c.Set("generation", strconv.Itoa(w.Generation())) }
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		if n, flood := strings.CutPrefix(string(m.Data), "flood "); flood {
			times, _ := strconv.Atoi(n)
			for i := range times {
				_ = c.SendText(flood1(i))
			}
			return
		}
		_ = c.Send(m)
	}
	w.OnRequest = func(r *worker.Response, q *worker.Request) { answer(w, r, q) }
	cmd.Run(w)
}

// flood1 is the nth of many long messages.
func flood1(n int) string { return strconv.Itoa(n) + strings.Repeat(" more", 10_000) }

// answer says which generation answers: at once, later, or as a stream.
func answer(w *worker.Worker, r *worker.Response, q *worker.Request) {
	_, _ = r.WriteString("generation " + strconv.Itoa(w.Generation()))
	switch q.URL.Path {
	case "/deferred":
		r.Defer()
		released(w, r.End)
	case "/poll":
		r.Defer()
		w.After(10*time.Millisecond, r.End)
	case "/stream":
		r.Defer()
		r.Flush()
		released(w, func() { _, _ = r.WriteString(", to the end"); r.End() })
	}
}

// released calls fn on the loop once the file is there.
func released(w *worker.Worker, fn func()) {
	_ = w.Go(func() {
		for {
			if _, err := os.Stat("release"); err == nil {
				_ = w.Post(fn)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}
