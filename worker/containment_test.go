package worker

import (
	"strings"
	"testing"
	"time"
)

// TestHandoverToNoListener: connections that the new worker has no listener
// for are asked to come back.
func TestHandoverToNoListener(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	s1.eventually("it is in", func() bool { return w1.CountConnections() == 1 })
	s2, report := s1.replace(New(), b)
	if report.Moved != 1 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	c.wantClose(1012)
	if st := s2.stats(); st.Panics != 0 {
		t.Errorf("%d panics:\n%s", st.Panics, s2.log)
	}
}

// TestHandoverBringsDeadlines: a connection without a deadline gets one where
// there is a limit.
func TestHandoverBringsDeadlines(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	w1.Limits.HandshakeTimeout = 0
	s1 := launch(t, w1, b, nil)
	c := dial(t, s1.addrs[0])
	s1.eventually("it is in", func() bool { return w1.CountConnections() == 1 })
	w2, _ := newEchoer(anyWS)
	w2.Limits.HandshakeTimeout = time.Second
	if _, report := s1.replace(w2, b); report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	c.wantEOF()
}

// TestHandoverIntoLeavingWorker: one that comes after the others have been sent
// away gets its close frame too.
func TestHandoverIntoLeavingWorker(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	s1.eventually("it is in", func() bool { return w1.CountConnections() == 1 })
	w2, _ := newEchoer(anyWS)
	before := w2.OnWorkerStart
	w2.OnWorkerStart = func(w *Worker) error {
		w.loop.disperse(1001, "bye", 0)
		if before != nil {
			return before(w)
		}
		return nil
	}
	if _, report := s1.replace(w2, b); report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	c.wantClose(1001)
}

// TestUnbindOfAnotherUser leaves the connection to its user.
func TestUnbindOfAnotherUser(t *testing.T) {
	w := New(anyWS)
	w.OnConnect = func(c *Conn) { c.Bind("42") }
	s := serve(t, w)
	connect(t, s.addrs[0], "/")
	s.eventually("it is in", func() bool { return w.CountConnections() == 1 })
	s.on(func() {
		c := w.loop.conns.all[0]
		for _, tc := range []struct{ unbind, left string }{{"41", "42"}, {"42", ""}} {
			d := w.loop.newDelivery(Publication{Kind: KindUnbind, Data: []byte(tc.unbind)})
			if d.act(w.loop, c) != 1 || c.UID() != tc.left {
				t.Errorf("unbind %q left it bound to %q", tc.unbind, c.UID())
			}
		}
		c.Bind("43")
		w.loop.newDelivery(Publication{Kind: KindUnbind}).act(w.loop, c)
		if c.UID() != "" {
			t.Error("unbind without a user did nothing")
		}
	})
}

// TestDribbledSecondRequest: on a kept connection, a request that has begun
// must end as soon as the first.
func TestDribbledSecondRequest(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.Limits.HandshakeTimeout = time.Second
	w.OnRequest = func(r *Response, _ *Request) { _, _ = r.WriteString("ok") }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	if _, body := c.get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "ok" {
		t.Fatal(body)
	}
	c.write([]byte("GET / HT"))
	if resp, _ := c.response("GET"); resp.StatusCode != 408 {
		t.Fatalf("got %s", resp.Status)
	}
}

// TestBigFanoutAnswersFirst: whoever asked how many a message reaches need not
// wait until it is written to all of them; one whose queue is full is none.
func TestBigFanoutAnswersFirst(t *testing.T) {
	const members = chunk + 50
	w := New("text://127.0.0.1:0")
	w.Limits.MaxQueue = 64 << 10
	w.OnConnect = func(c *Conn) { c.Join("all") }
	s := serve(t, w)
	clients := make([]*client, members)
	for i := range clients {
		clients[i] = dial(t, s.addrs[0])
	}
	s.eventually("all are in", func() bool { return w.CountConnections() == members })
	s.on(func() {
		l := w.loop
		l.conns.all[3].out = &queue{frames: [][]byte{make([]byte, 64<<10)}, bytes: 64 << 10}
		l.counts.queueBytes += 64 << 10
		l.fan.queue = append(l.fan.queue, Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "all", Data: []byte("hi"), Reply: "r"})
		l.fan.step(l)
		if l.fan.current == nil || l.fan.current.next >= members {
			t.Error("the fan-out is over after one step")
		}
		select {
		case a := <-s.broker.answers:
			if a.Reached != members-1 {
				t.Errorf("answered %d of %d", a.Reached, members-1)
			}
		default:
			t.Error("no answer before the fan-out is over")
		}
	})
	got := 0
	for _, c := range clients {
		if line, err := c.r.ReadString('\n'); err == nil && strings.TrimSpace(line) == "hi" {
			got++
		}
	}
	if got != members-1 {
		t.Errorf("%d got it, want %d", got, members-1)
	}
	s.on(func() {
		if n := len(s.broker.answers); n != 0 {
			t.Errorf("%d answers more", n)
		}
	})
}
