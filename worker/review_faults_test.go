package worker

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestPanicOverDatagram: there is no connection to close, and the listener must
// go on hearing.
func TestPanicOverDatagram(t *testing.T) {
	w := New("udp://127.0.0.1:0")
	n := 0
	w.OnMessage = func(c *Conn, m Message) {
		c.PauseRead()
		c.Every(time.Millisecond, func() { n += 100 })
		if n++; n == 1 {
			panic("at a datagram")
		}
	}
	s := serve(t, w)
	c, err := net.Dial("udp", s.addrs[0])
	must(t, err)
	defer c.Close()
	for want := 1; want <= 3; want++ {
		_, err = c.Write([]byte("x"))
		must(t, err)
		s.eventually("the datagram is heard", func() bool { return n == want })
	}
	s.on(func() {
		timers := w.loop.wheel.Len()
		if w.loop.beat.timer != nil { // pushd's own, which ends when it has tidied up after the start
			timers--
		}
		if panics := w.loop.panics.Load(); panics != 1 || timers != 0 {
			t.Errorf("%d panics, %d timers", panics, timers)
		}
	})
}

// TestHandoverUnderPerIP: a connection that came from another process counts,
// and leaves without harm.
func TestHandoverUnderPerIP(t *testing.T) {
	b := &testBus{}
	addr := "text://127.0.0.1:0"
	make1 := func() *Worker {
		w, _ := newEchoer(addr)
		w.Limits.PerIP = 1
		return w
	}
	s1 := launch(t, make1(), b, nil)
	c := dial(t, s1.addrs[0])
	c.write([]byte("a\n"))
	c.wantBytes("a\n")
	s2, report := s1.replace(make1(), b)
	if report.Moved != 1 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	if _, err := dial(t, s2.addrs[0]).r.ReadByte(); err == nil {
		t.Fatal("a second connection of one address was let in")
	}
	c.conn.Close()
	s2.eventually("it has left", func() bool { return s2.w.CountConnections() == 0 })
	next := dial(t, s2.addrs[0])
	next.write([]byte("b\n"))
	next.wantBytes("b\n")
}

// TestHandoverOfFullQueue: what overflows after the move must not cut into the
// frame of which the client has the beginning.
func TestHandoverOfFullQueue(t *testing.T) {
	for _, slow := range []Slow{SlowClose, SlowDropOldest, SlowLatest} {
		t.Run(string(slow), func(t *testing.T) {
			b := &testBus{}
			make1 := func() *Worker {
				w, _ := newEchoer(anyWS)
				w.Slow = slow
				w.OnResume = func(c *Conn) { _ = c.SendText("welcome back") }
				return w
			}
			s1 := launch(t, make1(), b, nil)
			c := connect(t, s1.addrs[0], "/")
			big := strings.Repeat("s", 16<<20)
			s1.eventually("it is in", func() bool { return s1.w.CountConnections() == 1 })
			s1.on(func() { must(t, s1.w.loop.conns.all[0].SendText(big)) })
			s2, report := s1.replace(make1(), b)
			if report.Moved != 1 || report.Error != "" {
				t.Fatalf("%+v", report)
			}
			if _, p, err := c.frame(); err != nil || string(p) != big {
				t.Fatalf("%d bytes, %v", len(p), err)
			}
			if slow == SlowClose {
				c.wantClose(1013)
			} else {
				c.want("welcome back")
			}
			_ = s2
		})
	}
}

// TestHandoverWaitsForTimer: the answer that a hand-over waits for comes by a
// timer.
func TestHandoverWaitsForTimer(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	held := false
	w1.OnRequest = func(r *Response, _ *Request) {
		r.Defer()
		held = true
		w1.After(300*time.Millisecond, func() { _, _ = r.WriteString("late"); r.End() })
	}
	s1 := launch(t, w1, b, nil)
	c := dial(t, s1.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	s1.eventually("the request is deferred", func() bool { return held })
	w2, _ := newEchoer(anyWS)
	_, report := s1.replace(w2, b)
	if report.Moved != 1 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	if _, body := c.response("GET"); body != "late" {
		t.Fatal(body)
	}
}

// TestAcceptAfterClose: a deferred handshake whose connection is being closed
// does not come to life.
func TestAcceptAfterClose(t *testing.T) {
	w := New(anyWS)
	var h *Handshake
	connects := 0
	w.OnHandshake = func(_ *Conn, hs *Handshake) { hs.Defer(); h = hs }
	w.OnConnect = func(*Conn) { connects++ }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	s.eventually("it is deferred", func() bool { return h != nil })
	s.on(func() { h.c.Close(1001, ""); h.Accept() })
	c.wantEOF()
	s.on(func() {
		if connects != 0 {
			t.Error("OnConnect ran for a closed connection")
		}
	})
}

// TestSendBeforeShared: what OnConnect sends after a deferred handshake goes
// out before a publication that is delivered in the same turn.
func TestSendBeforeShared(t *testing.T) {
	w := New(anyWS)
	var h *Handshake
	w.OnHandshake = func(_ *Conn, hs *Handshake) { hs.Defer(); h = hs }
	w.OnConnect = func(c *Conn) { _ = c.SendText("first"); c.Join("all") }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	done := make(chan bool)
	go func() { done <- c.upgrade("/").StatusCode == 101 }()
	s.eventually("it is deferred", func() bool { return h != nil })
	s.on(func() {
		h.Accept()
		w.loop.share(h.c, []byte("\x81\x06second"), mark{})
	})
	if !<-done {
		t.Fatal("refused")
	}
	c.want("first")
	c.want("second")
}
