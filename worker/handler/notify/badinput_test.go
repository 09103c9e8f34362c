package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// open serves one room to everybody, with at most 64 KiB on their way to a client.
func open(t *testing.T) *workertest.Server {
	w := worker.New()
	h, err := New(worker.Options(`{"anonymous":true,"channels":["all"]}`))
	if err != nil {
		t.Fatal(err)
	}
	w.Handler = h
	w.Limits.MaxQueue = 64 << 10
	return workertest.Start(t, w)
}

func say(t *testing.T, s *workertest.Server, text string) {
	t.Helper()
	s.Do(func(w *worker.Worker) {
		if err := w.Publish("all", worker.Text(text)); err != nil {
			t.Error(err)
		}
	})
}

func here(s *workertest.Server) (n int) {
	s.Do(func(w *worker.Worker) { n = w.CountConnections() })
	return n
}

const pollRequest = "GET /?poll=25s HTTP/1.1\r\nHost: x\r\n\r\n"

// TestPollFromTwoPlaces: a poll belongs to nobody but its request: both get what
// comes, whatever they share.
func TestPollFromTwoPlaces(t *testing.T) {
	s := open(t)
	a, b := s.Stream(0), s.Stream(0)
	a.Write([]byte(pollRequest))
	b.Write([]byte(pollRequest))
	say(t, s, "to both")
	for _, c := range []*workertest.Client{a, b} {
		_, body, _ := strings.Cut(string(c.Bytes()), "\r\n\r\n")
		var answer struct{ Messages []struct{ Data string } }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Messages) != 1 || answer.Messages[0].Data != "to both" {
			t.Errorf("%q %v", body, err)
		}
	}
}

// TestPollWithoutHistory: who polls behind a position in a channel without history is told
// so with what comes, or when the time is over, also in the next process; it does not end
// the wait, as he would be back at once.
func TestPollWithoutHistory(t *testing.T) {
	s := routed(t, nil, withSecret)
	off := `{"channel":"all","recovered":false,"reason":"off"}`
	poll := func(after string) *workertest.Client {
		c := s.Stream(0)
		c.Write([]byte("GET /?poll=25s&token=" + token(t, claims{"exp": soon()}) + "&after=" + after + " HTTP/1.1\r\nHost: x\r\n\r\n"))
		return c
	}
	behind, quiet, new := poll("2fcmui:30917"), poll("2fcmui:30917"), poll("")
	s.Reload(routing(t, nil, withSecret))
	for _, c := range []*workertest.Client{behind, quiet, new} {
		if got := c.Bytes(); len(got) > 0 {
			t.Errorf("before anything has come: %q", got)
		}
	}
	want := func(c *workertest.Client, status, body string) {
		t.Helper()
		head, got, _ := strings.Cut(string(c.Bytes()), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+status) || got != body {
			t.Errorf("%q %q, want %s %q", head, got, status, body)
		}
	}
	s.Advance(26 * time.Second)
	want(quiet, "200", `{"messages":[`+off+`]}`)
	want(new, "204", "")
	want(behind, "200", `{"messages":[`+off+`]}`)
	behind = poll("2fcmui:30917")
	say(t, s, "x1")
	want(behind, "200", `{"messages":[`+off+`,{"channel":"all","data":"x1"}]}`)
	behind = poll("2fcmui:30917")
	s.Stop()
	want(behind, "204", "") // with Retry-After; it is told when it is back
}

// TestByteASecond: who reads a byte a second has all in the end, if it comes slowly
// enough for that, and holds up nobody; with more it is sent away.
func TestByteASecond(t *testing.T) {
	s := open(t)
	slow, other := s.Events("/"), s.Events("/")
	slow.Stall(1)
	want := []string{"one", "two", "three"}
	for _, text := range want {
		say(t, s, text)
		other.WantData(text)
	}
	for range 400 { // the rest of the events, and some comments
		slow.Stall(1)
		s.Advance(time.Second)
	}
	if here(s) != 2 {
		t.Fatal("it has acknowledged each byte, and was taken for dead")
	}
	slow.WantData(want...)
	poll := s.Stream(0)
	poll.Stall(1)
	poll.Write([]byte(pollRequest))
	say(t, s, "answer")
	for range 600 {
		poll.Stall(1)
	}
	if answer := string(poll.Bytes()); !strings.Contains(answer, `"data":"answer"`) {
		t.Errorf("%q", answer)
	}
	other.WantData("answer")
	slow.Stall(1)
	for i := range 200 {
		text := fmt.Sprint(strings.Repeat("x", 1000), i)
		say(t, s, text)
		other.WantData(text)
	}
	s.Advance(time.Minute)
	if !slow.Closed() {
		t.Error("one that does not read has a place for ever")
	}
}

// TestHalfClosed: a client that has ended its side before the answer is gone, in the
// middle of its request or behind it; nothing of it is left.
func TestHalfClosed(t *testing.T) {
	s := open(t)
	for _, request := range []string{
		"GET /?poll=25s HTTP/1.1\r\nHo", pollRequest, pollRequest + pollRequest, pollRequest + "GET /?po",
		"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nmore",
		"GET /?poll=25s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
	} {
		c := s.Stream(0)
		c.Write([]byte(request))
		c.Drop()
		s.Advance(5 * time.Second)
		if n := here(s); n != 0 {
			t.Errorf("%q: %d connections are left", request, n)
		}
	}
}
