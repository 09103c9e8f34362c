package client

import (
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
)

const eventsHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

// Wherever the bytes of a stream are cut, the same happens, and nothing is kept after.
func TestEvents(t *testing.T) {
	stream := eventsHead + "retry: 1200\n\n: \n\nid: e:1\ndata: one\n\ndata: two\ndata: lines\n\nevent: pushd:recovered\ndata: {}\n\ndata:\n\n"
	want := []string{"opened", "1 one", "1 two\nlines", "1 "}
	l := newLoop(t)
	for cut := range len(stream) {
		h := &log{}
		c, _ := wired(t, l, h)
		c.way = byEvents
		l.input(c, []byte(stream[:cut]))
		l.input(c, []byte(stream[cut:]))
		if !reflect.DeepEqual(h.events, want) {
			t.Fatalf("cut at %d: %q", cut, h.events)
		}
		if c.incomplete != nil {
			t.Fatalf("cut at %d: an idle stream keeps %+v", cut, c.incomplete)
		}
		l.Abort(c)
	}
	for text, end := range map[string]string{
		"HTTP/1.1 503 Service Unavailable\r\n\r\n": "503", eventsHead + "event: pushd:close\ndata: {\"code\":1001}\n\n": "1001",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n": "200 OK",
	} {
		h := &log{}
		c, _ := wired(t, l, h)
		c.way = byEvents
		l.input(c, []byte(text))
		if n := len(h.events); n == 0 || !strings.HasPrefix(h.events[n-1], "closed ") || !strings.Contains(h.events[n-1], end) {
			t.Errorf("%q: %q", text, h.events)
		}
	}
}

// A client that polls asks again with the position of each answer, on the same
// connection.
func TestPolls(t *testing.T) {
	asked := make(chan string, 3)
	target := listen(t, func(c net.Conn) {
		for _, answer := range []string{
			"HTTP/1.1 200 OK\r\nContent-Length: 61\r\n\r\n" + `{"position":"e x:1","messages":[{"data":"a"},{"data":"b\n"}]}`,
			"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
		} {
			request, _, _ := strings.Cut(head(c), "\r\n")
			asked <- request
			_, _ = io.WriteString(c, answer)
		}
	})
	target.way = byPolls
	h := &log{}
	runOne(t, target, h)
	if want := []string{"opened", "1 a", "1 b\n", `closed handshake refused with "HTTP/1.1 410 Gone"`}; !reflect.DeepEqual(h.events, want) {
		t.Errorf("%q", h.events)
	}
	for _, want := range []string{"GET /path?x=1 HTTP/1.1", "GET /path?x=1&after=e+x%3A1 HTTP/1.1", "GET /path?x=1&after=e+x%3A1 HTTP/1.1"} {
		if got := <-asked; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}
