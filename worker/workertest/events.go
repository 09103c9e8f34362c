package workertest

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/pushd/pushd/protocol/sse"
	"github.com/pushd/pushd/worker"
)

// Events is a client of server-sent events.
type Events struct {
	*Client
	LastID string // what it would come back with

	queue []worker.Event
}

// Events asks for a stream at target, with headers "Name: value". Status tells
// the answer; one that is no stream is in Bytes, its header too.
func (s *Server) Events(target string, headers ...string) *Events {
	s.t.Helper()
	return s.EventsAt("example.com", target, headers...)
}

// EventsAt is Events with the host that the client asks for.
func (s *Server) EventsAt(host, target string, headers ...string) *Events {
	s.t.Helper()
	c := s.connect(0)
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: " + host, "Accept: text/event-stream"}, headers...)
	c.sock.Send([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	s.settle()
	return &Events{Client: c}
}

// Next returns the next event, also one with an id or a time to wait alone. The
// test fails when there is none.
func (e *Events) Next() worker.Event {
	e.s.t.Helper()
	e.s.Wait("an event", func() bool { return e.parse() || e.sock.Closed() })
	if len(e.queue) == 0 {
		e.s.t.Fatalf("workertest: no event will come: status %d, %q", e.status, e.raw)
	}
	next := e.queue[0]
	e.queue = e.queue[1:]
	if next.ID != "" {
		e.LastID = next.ID
	}
	return next
}

// WantData reads events and compares their data; those without any are passed
// over.
func (e *Events) WantData(texts ...string) {
	e.s.t.Helper()
	for _, want := range texts {
		next := e.Next()
		for next.Data == nil {
			next = e.Next()
		}
		if string(next.Data) != want {
			e.s.t.Fatalf("workertest: got %q %q, want the data %q", next.Type, next.Data, want)
		}
	}
}

// WantNothing fails the test when there is an event with data that was not read.
func (e *Events) WantNothing() {
	e.s.t.Helper()
	e.s.settle()
	e.parse()
	for _, one := range e.queue {
		if one.Data != nil {
			e.s.t.Fatalf("workertest: got %q %q, want nothing", one.Type, one.Data)
		}
	}
}

// Vanish takes the client's machine off the network: what is sent to it is
// acknowledged by nobody.
func (e *Events) Vanish() {
	e.s.settle()
	e.sock.Vanish()
}

// parse takes in the events that are whole, and reports whether there is one.
func (e *Events) parse() bool {
	end := bytes.LastIndex(e.raw, []byte("\n\n"))
	if e.status != http.StatusOK || end < 0 {
		return len(e.queue) > 0
	}
	r := sse.NewReader(bytes.NewReader(e.raw[:end+2]), end+2)
	e.raw = e.raw[end+2:]
	for next, err := r.Next(); err == nil; next, err = r.Next() {
		e.queue = append(e.queue, next)
	}
	return len(e.queue) > 0
}
