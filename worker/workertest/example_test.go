package workertest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// greeter lets in who says a name, and sends those away who stay silent.
type greeter struct{}

func (greeter) OnHandshake(c *worker.Conn, h *worker.Handshake) {
	name := h.Query().Get("name")
	if name == "" {
		h.Refuse(http.StatusBadRequest, "who are you?")
	}
	_ = c.Set("name", name)
}

func (greeter) OnConnect(c *worker.Conn) {
	_ = c.SendText("hello, " + c.Get("name"))
	c.After(time.Minute, func() { c.Close(4000, "say something") })
}

func (greeter) OnResume(c *worker.Conn) { _ = c.SendText("still here, " + c.Get("name")) }

// TestGreeter tries a handler: who is let in, what a client hears, what happens
// after a minute, and what a reload makes of it.
func TestGreeter(t *testing.T) {
	s := workertest.StartHandler(t, greeter{})
	if status, _ := s.Handshake("/").Status(); status != http.StatusBadRequest {
		t.Errorf("without a name: %d", status)
	}
	ann := s.Dial("/?name=ann")
	ann.WantText("hello, ann")
	s.Advance(time.Minute)
	ann.WantClose(4000)

	bob := s.Dial("/?name=bob")
	next := worker.New()
	next.Handler = greeter{}
	s.Reload(next)
	bob.WantText("hello, bob", "still here, bob")
}

func Example() {
	var t *testing.T // of the test function
	s := workertest.StartHandler(t, greeter{})
	c := s.Dial("/?name=ann")
	c.WantText("hello, ann")
	s.Advance(time.Minute) // by the test's clock: nobody waits
	c.WantClose(4000)
}
