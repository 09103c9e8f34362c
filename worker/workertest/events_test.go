package workertest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// feed answers each request with a stream.
type feed struct{ ends []error }

func (*feed) OnRequest(w *worker.Response, _ *worker.Request) { w.Stream() }
func (*feed) OnConnect(c *worker.Conn) {
	c.Join("feed")
	_ = c.SendEvent(worker.Event{ID: "a", Type: "hello", Data: []byte(c.Path())})
}
func (f *feed) OnClose(_ *worker.Conn, err error) { f.ends = append(f.ends, err) }

// TestEvents: a client of a stream, its heartbeat, and its end when its machine
// is gone; one that is there stays, silent as it is.
func TestEvents(t *testing.T) {
	h := &feed{}
	s := workertest.StartHandler(t, h)
	here, gone := s.Events("/here"), s.Events("/gone")
	for _, c := range []*workertest.Events{here, gone} {
		if e := c.Next(); e.Retry < time.Second || e.Data != nil {
			t.Fatalf("%+v", e)
		}
	}
	if e := here.Next(); e.Type != "hello" || string(e.Data) != "/here" || here.LastID != "a" {
		t.Errorf("%+v", e)
	}
	s.Do(func(w *worker.Worker) { _ = w.Publish("feed", worker.Text("news")) })
	here.WantData("news")
	here.WantNothing()
	gone.Vanish()
	for range 10 {
		s.Advance(55 * time.Second)
	}
	if b := string(here.Bytes()); b != ":\n:\n:\n:\n:\n:\n:\n:\n:\n:\n" && b != ":\n:\n:\n:\n:\n:\n:\n:\n:\n" {
		t.Errorf("%q in 550 s", b)
	}
	if here.Closed() || !gone.Closed() || len(h.ends) != 1 || h.ends[0] != worker.ErrTimeout {
		t.Errorf("%v", h.ends)
	}
}

// TestShortIntervalOfEvents: an interval below the timeout is kept, too.
func TestShortIntervalOfEvents(t *testing.T) {
	w := worker.New()
	w.Handler = &feed{}
	w.PingInterval = 3 * time.Second // the timeout is 10 s
	s := workertest.Start(t, w)
	here, gone := s.Events("/here"), s.Events("/gone")
	for _, c := range []*workertest.Events{here, gone} {
		c.Next()
	}
	here.Next()
	gone.Vanish()
	s.Advance(8 * time.Second)
	if gone.Closed() {
		t.Error("closed before interval and timeout were over")
	}
	s.Advance(52 * time.Second)
	if n := strings.Count(string(here.Bytes()), ":\n"); n < 14 || n > 20 {
		t.Errorf("%d comments in a minute", n)
	}
	if here.Closed() || !gone.Closed() {
		t.Error("who is there was closed, or who is not was not")
	}
}
