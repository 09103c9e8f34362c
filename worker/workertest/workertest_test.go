package workertest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// log is what the callbacks of a worker have seen.
type log struct{ lines []string }

func (l *log) note(s ...string) { l.lines = append(l.lines, strings.Join(s, " ")) }

func (l *log) want(t *testing.T, lines ...string) {
	t.Helper()
	if strings.Join(l.lines, "\n") != strings.Join(lines, "\n") {
		t.Errorf("callbacks:\n%s\nwant:\n%s", strings.Join(l.lines, "\n"), strings.Join(lines, "\n"))
	}
	l.lines = nil
}

func room(l *log) *worker.Worker {
	w := worker.New()
	w.OnWorkerStart = func(*worker.Worker) error { l.note("start"); return nil }
	w.OnWorkerReload = func(*worker.Worker) { l.note("reload") }
	w.OnWorkerStop = func(*worker.Worker) { l.note("stop") }
	w.OnHandshake = func(c *worker.Conn, h *worker.Handshake) {
		if c.Path() == "/no" {
			h.Refuse(http.StatusForbidden, "not you")
		}
	}
	w.OnConnect = func(c *worker.Conn) { c.Join("room"); _ = c.Set("name", h(c)); l.note("connect") }
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		if err := w.Publish("room", m, worker.Except(c)); err != nil {
			c.Close(1013, "try again later")
		}
	}
	w.OnResume = func(c *worker.Conn) { l.note("resume", c.Get("name")) }
	w.OnTimeout = func(*worker.Conn) { l.note("timeout") }
	w.OnClose = func(_ *worker.Conn, err error) { l.note("close", why(err)) }
	w.OnBufferFull = func(*worker.Conn) { l.note("full") }
	w.OnBufferDrain = func(*worker.Conn) { l.note("drain") }
	return w
}

func h(c *worker.Conn) string { return c.RawQuery() }

func why(err error) string {
	if err == nil {
		return "well"
	}
	return err.Error()
}

func TestConversation(t *testing.T) {
	var l log
	s := workertest.Start(t, room(&l))
	if status, _ := s.Handshake("/no").Status(); status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	a, b := s.Dial("/?ann"), s.Dial("/?bob")
	a.SendText("hello")
	b.WantText("hello")
	a.WantNothing()
	big := strings.Repeat("x", 60_000)
	b.SendBinary([]byte(big))
	if m := a.Read(); !m.Binary || m.String() != big {
		t.Errorf("%d bytes, binary %v", len(m.Data), m.Binary)
	}
	b.Close(1000)
	a.Drop()
	l.want(t, "start", "connect", "connect", "close well", "close "+(&worker.CloseError{Code: 1006, Reason: "client left without a close frame"}).Error())
	s.Stop()
	l.want(t, "stop")
}

// TestClock: timers and the heartbeat go by the test's clock.
func TestClock(t *testing.T) {
	var l log
	w := room(&l)
	s := workertest.Start(t, w)
	c := s.Dial("/")
	w.After(time.Hour, func() { l.note("an hour") })
	w.Every(20*time.Minute, func() { l.note("tick") })
	s.Advance(time.Hour - time.Second)
	l.want(t, "start", "connect", "tick", "tick")
	s.Advance(time.Second)
	if len(l.lines) != 2 {
		t.Errorf("after the hour: %q", l.lines)
	}
	c.Silent = true // it answered pings so far
	l.lines = nil
	s.Advance(5 * time.Minute)
	l.want(t, "timeout", "close "+worker.ErrTimeout.Error())
	if !c.Closed() {
		t.Error("a client that answers no ping is still there")
	}
}

// TestShortInterval: an interval below the timeout is kept, too, rounded up to the
// second: a proxy in front may cut who says nothing for as long. Who is silent gets
// all of the timeout.
func TestShortInterval(t *testing.T) {
	var l log
	w := room(&l)
	w.PingInterval = 3 * time.Second // the timeout is 10 s
	s := workertest.Start(t, w)
	c := s.Dial("/")
	s.Advance(time.Minute)
	if c.Pings < 14 || c.Pings > 20 {
		t.Errorf("%d pings in a minute", c.Pings)
	}
	c.Silent = true
	s.Advance(8 * time.Second)
	if c.Closed() {
		t.Error("closed before interval and timeout were over")
	}
	s.Advance(8 * time.Second)
	if !c.Closed() {
		t.Error("a client that answers no ping is still there")
	}
}

// TestReload: connections go to the next worker with all that they have.
func TestReload(t *testing.T) {
	var l log
	s := workertest.Start(t, room(&l))
	a, b := s.Dial("/?ann"), s.Dial("/?bob")
	b.Stall(10)
	a.SendText(strings.Repeat("queued", 100))
	s.Reload(room(&l))
	l.want(t, "start", "connect", "connect", "start", "reload", "resume ann", "resume bob", "stop")
	a.SendText("after")
	b.WantNothing()
	b.Stall(-1)
	b.WantText(strings.Repeat("queued", 100), "after")
	b.SendText("back")
	a.WantText("back")
	s.Stop()
	if a.WantClose(1001) == "" {
		t.Error("no reason")
	}
	l.want(t, "close well", "close well", "stop")
}

func TestSlowClient(t *testing.T) {
	var l log
	w := room(&l)
	w.Limits.MaxQueue = 1000
	s := workertest.Start(t, w)
	a, b := s.Dial("/"), s.Dial("/")
	l.lines = nil
	b.Stall(0)
	for range 6 {
		a.SendText(strings.Repeat("x", 100))
	}
	l.want(t, "full")
	b.Stall(-1)
	l.want(t, "drain")
	b.Stall(0)
	for range 20 {
		a.SendText(strings.Repeat("x", 100))
	}
	s.Advance(time.Minute)
	if !b.Closed() {
		t.Error("a client that reads nothing is still there")
	}
}

// TestTwoProcesses share a bus; one that refuses is told to the client.
func TestTwoProcesses(t *testing.T) {
	var l log
	bus := &workertest.Bus{}
	one := workertest.Start(t, room(&l), workertest.Options{Bus: bus})
	two := workertest.Start(t, room(&l), workertest.Options{Bus: bus, Slot: 1})
	a, b := one.Dial("/"), two.Dial("/")
	a.SendText("over there")
	b.WantText("over there")
	count := 0
	one.Do(func(w *worker.Worker) {
		if err := w.CountAll("room", func(n int, complete bool) {
			if complete {
				count = n
			}
		}); err != nil {
			t.Error(err)
		}
	})
	if count != 2 {
		t.Errorf("%d members in all processes", count)
	}
	bus.Refuse(worker.ErrBrokerBusy)
	a.SendText("too much")
	a.WantClose(1013)
}

// TestGoroutines: what the program does elsewhere is waited for.
func TestGoroutines(t *testing.T) {
	w := worker.New()
	w.OnMessage = func(c *worker.Conn, m worker.Message) {
		id, text := c.ID(), m.String()
		_ = w.Go(func() { _ = w.Post(func() { _ = w.SendToConn(id, worker.Text("looked up "+text)) }) })
	}
	w.OnRequest = worker.HTTP(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.Error(rw, r.URL.Path+" "+string(body), http.StatusTeapot)
	}))
	s := workertest.Start(t, w)
	c := s.Dial("/")
	c.SendText("ann")
	c.WantText("looked up ann")
	r, err := http.NewRequest("POST", "http://example.com/tea", strings.NewReader("hot"))
	if err != nil {
		t.Fatal(err)
	}
	answer := s.Request(r)
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusTeapot || string(body) != "/tea hot\n" || err != nil {
		t.Errorf("%d %q %v", answer.StatusCode, body, err)
	}
}

// TestOtherProtocols are streams of bytes.
func TestOtherProtocols(t *testing.T) {
	w := worker.New("websocket://127.0.0.1:1", "text://127.0.0.1:2")
	w.OnMessage = func(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
	s := workertest.Start(t, w)
	c := s.Stream(1)
	c.Write([]byte("one\ntw"))
	c.Write([]byte("o\n"))
	if got := string(c.Bytes()); got != "one\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

func TestPanicIsContained(t *testing.T) {
	w := worker.New()
	w.OnMessage = func(*worker.Conn, worker.Message) { panic("oh") }
	var closed error
	w.OnClose = func(_ *worker.Conn, err error) { closed = err }
	s := workertest.Start(t, w)
	c := s.Dial("/")
	c.SendText("x")
	c.WantClose(1011)
	if !errors.Is(closed, worker.ErrPanic) {
		t.Errorf("OnClose got %v", closed)
	}
}

// TestLeap: a clock that is set closes nobody, runs no timer and stops none, and
// nobody has been silent for less than nothing.
func TestLeap(t *testing.T) {
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 30 * 24 * time.Hour, -24 * time.Hour} {
		w := worker.New()
		ticks := 0
		w.OnWorkerStart = func(*worker.Worker) error { w.Every(time.Second, func() { ticks++ }); return nil }
		s := workertest.Start(t, w)
		c := s.Dial("/")
		before := w.Now()
		s.Leap(leap)
		if got := w.Now().Sub(before); got != leap {
			t.Errorf("set by %v, %v off", leap, got)
		}
		s.Advance(0)
		if ticks != 0 || c.Closed() {
			t.Errorf("a leap of %v runs %d timers, closed %v", leap, ticks, c.Closed())
		}
		s.Advance(10 * time.Second)
		if ticks != 10 || c.Closed() {
			t.Errorf("10 s behind a leap of %v: %d ticks of a second, closed %v", leap, ticks, c.Closed())
		}
	}
}
