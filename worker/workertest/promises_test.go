package workertest_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

// What the documentation of the package promises, each for itself: a handler's test
// must not pass since the tool does less than it says.

func get(t *testing.T, path string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "http://example.com"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// TestEachClientHasAnAddress, which a trusted proxy may tell.
func TestEachClientHasAnAddress(t *testing.T) {
	w := worker.New()
	w.Limits.PerIP = 1
	w.OnConnect = func(c *worker.Conn) { _ = c.SendText(c.RemoteIP()) }
	s := workertest.Start(t, w)
	a, b := s.Dial("/"), s.Dial("/")
	if one, two := a.Read().String(), b.Read().String(); one == two || !netip.MustParseAddr(one).Is4() {
		t.Errorf("%s and %s", one, two)
	}

	proxied := worker.New()
	proxied.OnConnect = w.OnConnect
	p := workertest.Start(t, proxied, workertest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	p.Dial("/", "X-Forwarded-For: 203.0.113.9").WantText("203.0.113.9")
}

// TestHeaders go both ways, and a client's host too.
func TestHeaders(t *testing.T) {
	w := worker.New()
	w.OnHandshake = func(c *worker.Conn, h *worker.Handshake) {
		h.SetHeader("X-Seen", h.Header("X-Asked"))
	}
	w.OnRequest = func(rw *worker.Response, r *worker.Request) {
		rw.Header().Set("X-Host", r.Host)
		rw.Header().Set("X-Seen", r.Header.Get("X-Asked"))
		_ = rw.Stream()
	}
	w.OnConnect = func(*worker.Conn) {}
	s := workertest.Start(t, w)
	if status, h := s.Dial("/", "X-Asked: yes").Status(); status != http.StatusSwitchingProtocols || h.Get("X-Seen") != "yes" {
		t.Errorf("%d %v", status, h)
	}
	if status, h := s.EventsAt("other.example.com", "/", "X-Asked: again").Status(); status != http.StatusOK ||
		h.Get("X-Host") != "other.example.com" || h.Get("X-Seen") != "again" {
		t.Errorf("%d %v", status, h)
	}
	if _, h := s.Events("/").Status(); h.Get("X-Host") != "example.com" {
		t.Errorf("%v", h)
	}
}

// TestWhoTheProcessIs: its slot, its generation, where it listens, what it logs.
func TestWhoTheProcessIs(t *testing.T) {
	var out bytes.Buffer
	w := worker.New()
	w.OnMessage = func(*worker.Conn, worker.Message) { panic("on purpose") }
	s := workertest.Start(t, w, workertest.Options{Slot: 3, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if w.Slot() != 3 || w.Generation() != 1 || w.Heir() {
		t.Errorf("slot %d, generation %d, heir %v", w.Slot(), w.Generation(), w.Heir())
	}
	s.Dial("/").SendText("go")
	if !strings.Contains(out.String(), "on purpose") {
		t.Errorf("the log: %s", &out)
	}
	next := worker.New()
	next.OnConnect = func(c *worker.Conn) { _ = c.SendText(c.Listener()) }
	s.Reload(next)
	if next.Slot() != 3 || next.Generation() != 2 || !next.Heir() {
		t.Errorf("after a reload: slot %d, generation %d, heir %v", next.Slot(), next.Generation(), next.Heir())
	}
	s.Dial("/").WantText("websocket://127.0.0.1:2346")
}

// TestClientsSayGoodbye: the reason of a close, its answer, and who gives none.
func TestClientsSayGoodbye(t *testing.T) {
	var l log
	w := worker.New()
	w.OnMessage = func(c *worker.Conn, m worker.Message) { c.Close(4001, m.String()) }
	w.OnClose = func(_ *worker.Conn, err error) { l.note("close", why(err)) }
	s := workertest.Start(t, w)
	c := s.Dial("/")
	c.SendText("enough")
	if reason := c.WantClose(4001); reason != "enough" || !c.Closed() {
		t.Errorf("%q, closed %v", reason, c.Closed())
	}
	l.want(t, "close well")

	mute := s.Dial("/")
	mute.Silent = true
	mute.SendText("no answer")
	mute.WantClose(4001)
	if mute.Closed() {
		t.Error("the worker does not wait for the answer")
	}
	s.Advance(6 * time.Second)
	if !mute.Closed() {
		t.Error("the worker waits for ever")
	}
	l.want(t, "close well")

	code := 0
	w2 := worker.New()
	w2.OnClose = func(_ *worker.Conn, err error) {
		if e, ok := err.(*worker.CloseError); ok {
			code = int(e.Code)
		}
	}
	s2 := workertest.Start(t, w2)
	gone := s2.Dial("/")
	gone.Close(4002)
	if !gone.Closed() || code != 4002 || w2.CountConnections() != 0 {
		t.Errorf("closed %v, code %d, %d are left", gone.Closed(), code, w2.CountConnections())
	}
}

// TestStopIsOnce, and who has stopped hears and answers nothing on the bus.
func TestStopIsOnce(t *testing.T) {
	var l log
	bus := &workertest.Bus{}
	one := workertest.Start(t, room(&l), workertest.Options{Bus: bus})
	w := worker.New()
	two := workertest.Start(t, w, workertest.Options{Bus: bus, Slot: 1})
	one.Stop()
	one.Stop()
	l.want(t, "start", "stop")
	count := -1
	two.Do(func(w *worker.Worker) {
		if err := w.CountAll("room", func(n int, complete bool) {
			if complete {
				count = n
			}
		}); err != nil {
			t.Error(err)
		}
	})
	if count != 0 {
		t.Errorf("the count waits for one that has stopped: %d", count)
	}
	bus.Refuse(worker.ErrBrokerAway)
	two.Do(func(w *worker.Worker) {
		if err := w.CountAll("room", func(int, bool) {}); err != worker.ErrBrokerAway {
			t.Errorf("a question on a bus that refuses: %v", err)
		}
	})
}

// TestRequestHangsUp: a request has a connection of its own, for as long as it takes.
func TestRequestHangsUp(t *testing.T) {
	w := worker.New()
	w.OnRequest = func(rw *worker.Response, r *worker.Request) { _, _ = rw.WriteString(r.Header.Get("X-Asked")) }
	s := workertest.Start(t, w)
	for range 3 {
		if answer := s.Request(get(t, "/", "X-Asked: yes")); answer.StatusCode != http.StatusOK || answer.ContentLength != 3 {
			t.Errorf("%+v", answer)
		}
	}
	if n := w.CountConnections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestBytesAreReadOnce.
func TestBytesAreReadOnce(t *testing.T) {
	w := worker.New("text://127.0.0.1:2")
	w.OnMessage = func(c *worker.Conn, m worker.Message) { _ = c.Send(m) }
	c := workertest.Start(t, w).Stream(0)
	for _, line := range []string{"one\n", "two\n"} {
		if c.Write([]byte(line)); string(c.Bytes()) != line {
			t.Errorf("not %q", line)
		}
	}
	if b := c.Bytes(); len(b) != 0 {
		t.Errorf("%q again", b)
	}
}

// TestOrderOfTheBus: what is published comes in its order to each process, and what a
// handler does with it, changes nothing for the others.
func TestOrderOfTheBus(t *testing.T) {
	bus := &workertest.Bus{}
	var clients []*workertest.Client
	var servers []*workertest.Server
	for slot := range 3 {
		w := worker.New()
		w.OnConnect = func(c *worker.Conn) { c.Join("a"); c.Join("b") }
		s := workertest.Start(t, w, workertest.Options{Bus: bus, Slot: slot})
		servers, clients = append(servers, s), append(clients, s.Dial("/"))
	}
	var want []string
	publish := func(texts ...string) {
		servers[0].Do(func(w *worker.Worker) {
			for i, text := range texts {
				if err := w.Publish([]string{"a", "b"}[i%2], worker.Text(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
	}
	publish(want...)
	for _, c := range clients {
		c.WantText(want...)
		c.WantNothing()
	}
	bus.Lose(true)
	publish("lost", "lost too")
	bus.Lose(false)
	publish("next")
	for _, c := range clients {
		c.WantText("next")
		c.WantNothing()
	}
}

// TestPublishedBeforeTheMoveIsThere: what was published when a reload begins reaches
// each client once.
func TestPublishedBeforeTheMoveIsThere(t *testing.T) {
	make1 := func() *worker.Worker {
		w := worker.New()
		w.OnConnect = func(c *worker.Conn) { c.Join("a") }
		return w
	}
	w := make1()
	w.OnWorkerReload = func(w *worker.Worker) { _ = w.Publish("a", worker.Text("last words")) }
	s := workertest.Start(t, w)
	c := s.Dial("/")
	s.Reload(make1())
	c.WantText("last words")
	c.WantNothing()
}

// TestNothingIsNothingYet: what a goroutine of the program has posted by then counts.
func TestNothingIsNothingYet(t *testing.T) {
	f := &failing{TB: t}
	posted := make(chan struct{})
	w := worker.New()
	w.OnMessage = func(c *worker.Conn, _ worker.Message) {
		id := c.ID()
		_ = w.Go(func() {
			_ = w.Post(func() { _ = w.SendToConn(id, worker.Text("late")) })
			close(posted)
		})
	}
	s := workertest.Start(f, w)
	defer s.Stop()
	c := s.Dial("/")
	c.SendText("go")
	<-posted
	defer func() {
		if r := recover(); r != f || !strings.Contains(f.said, "late") {
			t.Errorf("it says %q", f.said)
		}
	}()
	c.WantNothing()
}

// TestEventsAreCompared: ids and times to wait alone are passed over, and only what has
// data is something.
func TestEventsAreCompared(t *testing.T) {
	w := worker.New()
	w.OnRequest = func(rw *worker.Response, _ *worker.Request) { rw.Stream() }
	w.OnConnect = func(c *worker.Conn) {
		_ = c.SendEvent(worker.Event{ID: "7", Data: []byte("first")})
		_ = c.SendEvent(worker.Event{Data: []byte("second")})
	}
	s := workertest.Start(t, w)
	e := s.Events("/")
	e.WantData("first") // behind a time to wait
	if e.LastID != "7" {
		t.Errorf("last id %q", e.LastID)
	}
	e.WantData("second") // has no id
	if e.LastID != "7" {
		t.Errorf("last id %q behind an event without one", e.LastID)
	}
	e.WantNothing()

	f := &failing{TB: t}
	defer func() {
		if r := recover(); r != f || !strings.Contains(f.said, `"first"`) {
			t.Errorf("an event is there, and WantNothing says %q", f.said)
		}
	}()
	w2 := worker.New()
	w2.OnRequest, w2.OnConnect = w.OnRequest, w.OnConnect
	s2 := workertest.Start(f, w2)
	defer s2.Stop()
	s2.Events("/").WantNothing()
}

// TestWhoIsNotReadHasNotLeft: what a client has sent before it hung up comes first, and
// neither comes while nobody reads.
func TestWhoIsNotReadHasNotLeft(t *testing.T) {
	var l log
	var conn *worker.Conn
	w := worker.New("text://127.0.0.1:2")
	w.OnConnect = func(c *worker.Conn) { conn = c; c.PauseRead() }
	w.OnMessage = func(_ *worker.Conn, m worker.Message) { l.note("got", m.String()) }
	w.OnClose = func(_ *worker.Conn, err error) { l.note("close", why(err)) }
	s := workertest.Start(t, w)
	for sent, got := range map[string]string{"one\ntwo\n": "got one\ngot two\n", "": ""} {
		c := s.Stream(0)
		c.Write([]byte(sent))
		c.Drop()
		l.want(t)
		s.Do(func(*worker.Worker) { conn.ResumeRead() })
		if lines := strings.Join(l.lines, "\n"); !strings.HasPrefix(lines, got+"close ") || strings.Count(lines, "close") != 1 {
			t.Errorf("callbacks:\n%s", lines)
		}
		l.lines = nil
	}
}
