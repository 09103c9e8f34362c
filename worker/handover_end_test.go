package worker

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// TestHandoverOfLongPolls: clients that ask again as soon as they are answered
// do not hold up the end of a hand-over, and each request gets its answer.
func TestHandoverOfLongPolls(t *testing.T) {
	b := &testBus{}
	begun := 0 // requests, while the old worker waited for answers that were due
	w1, _ := newEchoer(anyWS)
	w1.OnRequest = func(w *Response, r *Request) {
		if w1.loop.phase == phaseWaiting {
			begun++
		}
		w.Defer()
		w1.After(10*time.Millisecond, func() { _, _ = w.WriteString(r.URL.Path); w.End() })
	}
	s1 := launch(t, w1, b, nil)
	const polls = 10
	moved, ended := make(chan struct{}), make(chan error, polls)
	for range polls {
		c := dial(t, s1.addrs[0])
		go func() { ended <- c.poll(moved) }()
	}
	s1.eventually("all poll", func() bool { return s1.w.CountConnections() == polls })
	w2, _ := newEchoer(anyWS)
	w2.OnRequest = func(w *Response, r *Request) { _, _ = w.WriteString(r.URL.Path) }
	_, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != polls {
		t.Errorf("%+v", report)
	}
	close(moved)
	for range polls {
		must(t, <-ended)
	}
	s1.on(func() {
		if begun > 0 {
			t.Errorf("%d requests were begun that the hand-over had to wait for", begun)
		}
	})
}

// TestEventLoopEndsWhileLeaving: a worker whose gnet stops by itself while its
// clients are being closed does not wait for it.
func TestEventLoopEndsWhileLeaving(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	connect(t, s.addrs[0], "/")
	must(t, s.master.Send(control.TypeStop, 0, control.Stop{Code: 1001, DrainMS: 60_000}))
	s.eventually("it is leaving", func() bool { return w.loop.phase.leaving() })
	w.loop.post(w.loop.reactor.Halt)
	select {
	case err := <-s.ended:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("the worker hangs")
	}
	s.stopped = true
	s.master.Close()
}

// TestResumeAfterAllHaveMoved: the new worker may die after it has taken
// everybody; the old one then accepts clients again.
func TestResumeAfterAllHaveMoved(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	resumed := -1
	w1.OnWorkerResume = func(w *Worker) { resumed = w.CountConnections() }
	s1 := launch(t, w1, b, nil)
	connect(t, s1.addrs[0], "/")
	w2, _ := newEchoer(anyWS)
	s2, report := s1.replace(w2, b)
	if report.Moved != 1 || report.Left != 0 {
		t.Fatalf("%+v", report)
	}
	s2.stop()
	s2.stopped = true
	must(t, s1.master.Send(control.TypeResume, 3, nil))
	if m := s1.receive(); m.ID != 3 {
		t.Fatalf("%+v", m)
	}
	s1.on(func() {
		if resumed != 0 {
			t.Errorf("OnWorkerResume has seen %d connections", resumed)
		}
	})
	c := connect(t, s1.addrs[0], "/")
	c.text("old again")
	c.want("old again")
}

// poll asks again and again until moved is closed, and once more.
func (c *client) poll(moved chan struct{}) error {
	for last := false; ; {
		if _, err := c.conn.Write([]byte("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			return err
		}
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return err
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "/poll" {
			return fmt.Errorf("answer %q, %v", body, err)
		}
		if last {
			return nil
		}
		select {
		case <-moved:
			last = true
		default:
		}
	}
}

// TestHas: a connection is here until its OnClose has run.
func TestHas(t *testing.T) {
	w, e := newEchoer(anyWS)
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	c.text("hi")
	c.want("hi")
	id := ""
	s.on(func() {
		id = w.loop.conns.all[0].ID()
		w.loop.conns.all[0].Close(1000, "")
		w.Connections(func(*Conn) bool { t.Error("a closing connection is shown"); return true })
		if !w.Has(id) || w.Has("x") || w.Has(ID{}.String()) {
			t.Error("Has says what is not so")
		}
	})
	c.conn.Close()
	s.eventually("OnClose has run", func() bool { return e.closes == 1 && !w.Has(id) })
}
