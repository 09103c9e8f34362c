package worker

import (
	"strconv"
	"testing"
	"time"
)

// A process without a place says so to upgrades, and serves plain requests.
func TestFullIsSaid(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxConnections = 2
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	w.OnRequest = func(r *Response, _ *Request) { _, _ = r.WriteString("served") }
	s := serve(t, w)
	first, second := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/")
	for range 3 {
		resp := dial(t, s.addrs[0]).upgrade("/")
		if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != 503 || err != nil || after < 1 {
			t.Fatalf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		c := dial(t, s.addrs[0])
		c.write([]byte("POST /apps/1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"))
		if resp, body := c.response("POST"); resp.StatusCode != 200 || body != "served" || !resp.Close {
			t.Fatalf("%s %q, closes: %v", resp.Status, body, resp.Close)
		}
		c.wantEOF()
	}
	if st := s.stats(); !st.AcceptPaused || st.Limit != 2 || st.HandshakesRefused["full"] != 3 {
		t.Errorf("%+v", st)
	}
	first.conn.Close()
	s.eventually("there is a place", func() bool { return !w.loop.accept.paused && w.loop.accept.guests == 0 })
	for _, c := range []*client{second, connect(t, s.addrs[0], "/")} {
		c.text("x")
		c.want("x")
	}
}

// Guests are few, and one that says nothing is not for long.
func TestGuestsAreFew(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxConnections, w.Limits.HandshakeTimeout = 1, time.Hour // which is not what ends the silent
	w.OnRequest = func(r *Response, _ *Request) { _, _ = r.WriteString("served") }
	s := serve(t, w)
	connect(t, s.addrs[0], "/")
	for range 2 * maxGuests {
		dial(t, s.addrs[0])
	}
	s.eventually("all places of guests are taken", func() bool { return w.loop.accept.guests == maxGuests })
	c := dial(t, s.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	if resp, _ := c.response("GET"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	s.on(func() {
		if n := w.loop.conns.len(); n > 1+maxGuests {
			t.Errorf("%d connections", n)
		}
	})
}

// TestFullWait: who finds no place waits for one before it is told.
func TestFullWait(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxConnections, w.Limits.FullWait = 1, time.Hour
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	s := serve(t, w)
	first := connect(t, s.addrs[0], "/")
	next := dial(t, s.addrs[0])
	a := &w.loop.accept
	s.eventually("the second is seen to wait, several times", func() bool { return a.waited > 0 && w.loop.now >= a.waited+3*guestLook })
	s.on(func() {
		if a.guests != 0 || w.loop.conns.len() != 1 {
			t.Errorf("%d guests, %d connections", a.guests, w.loop.conns.len())
		}
	})
	first.conn.Close()
	if resp := next.upgrade("/"); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	s.eventually("nobody waits", func() bool { return a.paused && a.waited == 0 })
}
