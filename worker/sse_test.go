package worker

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/sse"
	"github.com/pushd/pushd/worker/channel"
)

// streamer answers each request with a stream that has joined "all".
func streamer() *Worker {
	w := New(anyWS)
	w.OnRequest = func(w *Response, r *Request) {
		w.Header().Set("Link", "</hub>; rel=\"hub\"")
		w.Stream()
	}
	w.OnConnect = func(c *Conn) { c.Join("all") }
	w.OnMessage = func(c *Conn, m Message) { _ = c.Worker().Publish("all", m) }
	return w
}

// stream opens one and reads its header.
type stream struct {
	*client
	*sse.Reader
}

func follow(t testing.TB, addr, path string, header ...string) *stream {
	t.Helper()
	c := dial(t, addr)
	c.write([]byte("GET " + path + " HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n" + lines(header) + "\r\n"))
	return opened(t, c)
}

func opened(t testing.TB, c *client) *stream {
	t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	must(t, err)
	c.resp = resp
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || !resp.Close {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	s := &stream{c, sse.NewReader(resp.Body, 32<<20)}
	if e := s.next(); e.Retry < time.Second || e.Retry > 10*time.Second {
		t.Fatalf("a stream begins with %+v", e)
	}
	return s
}

func (s *stream) next() Event {
	s.t.Helper()
	e, err := s.Next()
	must(s.t, err)
	return e
}

func (s *stream) data(want ...string) {
	s.t.Helper()
	for _, text := range want {
		if e := s.next(); string(e.Data) != text {
			s.t.Fatalf("%q %q, want %q", e.Type, e.Data, text)
		}
	}
}

// TestStreamIsAConnection: what a stream's client gets is what a WebSocket's
// gets, made once for all of them.
func TestStreamIsAConnection(t *testing.T) {
	w := streamer()
	s := serve(t, w)
	ws := connect(t, s.addrs[0], "/")
	one, two := follow(t, s.addrs[0], "/a?x=1"), follow(t, s.addrs[0], "/b")
	if h := one.resp.Header; h.Get("Link") == "" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("%v", h)
	}
	s.eventually("all are here", func() bool { return w.CountMembers("all") == 3 })
	ws.text("hello\nyou")
	ws.want("hello\nyou")
	one.data("hello\nyou")
	two.data("hello\nyou")
	s.on(func() { must(t, w.Publish("all", Binary([]byte{0, 1}))) })
	if e := one.next(); e.Type != "binary" || string(e.Data) != "AAE=" {
		t.Errorf("%+v", e)
	}
	s.on(func() {
		for _, c := range w.loop.conns.snapshot() {
			if c.Protocol() != "sse" || c.RawQuery() != "x=1" {
				continue
			}
			c.Bind("ann")
			must(t, c.Set("k", "v"))
			must(t, c.SendEvent(Event{ID: "7", Type: "said", Data: []byte("x")}))
			must(t, c.SendText("y"))
			w.loop.due(c)
		}
	})
	if e := one.next(); e.ID != "7" || e.Type != "said" || string(e.Data) != "x" {
		t.Errorf("%+v", e)
	}
	one.data("y")
	one.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) // nobody answers that
	s.on(func() { must(t, w.SendToUID("ann", Text("bound"))) })
	one.data("bound")
	if one.Comments != 1 {
		t.Errorf("%d comments", one.Comments)
	}
	two.conn.Close()
	s.eventually("one has left", func() bool { return w.CountMembers("all") == 2 })
}

// TestStreamMoves: a stream goes on in the next process, also one that has taken
// half of an event, and what was published meanwhile is neither lost nor twice.
func TestStreamMoves(t *testing.T) {
	b, w1, w2 := &testBus{}, streamer(), streamer()
	w1.Limits.MaxQueue, w2.Limits.MaxQueue = 64<<20, 64<<20
	s1 := launch(t, w1, b, nil)
	quick := follow(t, s1.addrs[0], "/")
	slow := dial(t, s1.addrs[0])
	slow.write([]byte("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"))
	s1.eventually("both are here", func() bool { return w1.CountMembers("all") == 2 })
	want := []string{"one"}
	s1.on(func() { must(t, w1.Publish("all", Text("one"))) })
	for i := range 20 {
		text := strings.Repeat(fmt.Sprint("big ", i, "\n"), 1<<16)
		want = append(want, text)
		s1.on(func() { must(t, w1.Publish("all", Text(text))) })
	}
	quick.data(want...)
	partly := false
	s1.eventually("an event is partly out", func() bool {
		for _, c := range w1.loop.conns.all {
			partly = partly || c.out != nil && c.out.off > 0
			if c.recordVersion() != 6 {
				t.Errorf("record version %d", c.recordVersion())
			}
		}
		return partly
	})
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != 2 || report.Drained != 0 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() { must(t, w2.Publish("all", Text("after"))) })
	quick.data("after")
	late := opened(t, slow)
	late.data(append(want, "after")...)
	s2.on(func() {
		for _, c := range w2.loop.conns.all {
			if c.Protocol() != "sse" || *w2.loop.conns.when(c) == 0 {
				t.Errorf("%s: no heartbeat", c)
			}
		}
	})
}

// TestStreamsEnd: the client is told why, and when to come back; a client that
// leaves is no error.
func TestStreamsEnd(t *testing.T) {
	w := streamer()
	var closes []error
	w.OnClose = func(_ *Conn, err error) { closes = append(closes, err) }
	s := serve(t, w)
	kicked, ended, left := follow(t, s.addrs[0], "/kicked"), follow(t, s.addrs[0], "/ended"), follow(t, s.addrs[0], "/left")
	s.on(func() {
		for _, c := range w.loop.conns.snapshot() {
			switch c.Path() {
			case "/kicked":
				c.Close(4001, "token has expired")
			case "/ended":
				c.Close(1000, "")
			}
		}
	})
	if e := kicked.next(); e.Type != "pushd:close" || string(e.Data) != `{"code":4001,"reason":"token has expired"}` || e.Retry < time.Second {
		t.Errorf("%+v", e)
	}
	kicked.wantEOF()
	ended.wantEOF()
	left.conn.Close()
	kicked.conn.Close()
	ended.conn.Close()
	s.eventually("all have left", func() bool { return len(closes) == 3 })
	for _, err := range closes {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestNoStream: HEAD, a full process, one that leaves, a second call, HTTP/1.0.
func TestNoStream(t *testing.T) {
	w := streamer()
	w.Limits.MaxConnections = 1
	var got []bool
	w.OnRequest = func(w *Response, r *Request) { got = append(got, w.Stream(), w.Stream()) }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"))
	if resp, body := c.response("HEAD"); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || body != "" {
		t.Errorf("%s %v %q", resp.Status, resp.Header, body)
	}
	c.write([]byte("GET / HTTP/1.0\r\n\r\n"))
	first := opened(t, c)
	s.on(func() { must(t, w.Publish("all", Text("x"))) })
	first.data("x")
	guest := follow(t, s.addrs[0], "/") // which has a time to come back
	guest.wantEOF()
	if st := s.stats(); st.HandshakesRefused["full"] != 1 {
		t.Errorf("%+v", st.HandshakesRefused)
	}
	s.on(func() {
		if want := "[false false true false false false]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	})
}

// TestStreamLater: a request that is looked up elsewhere becomes a stream when
// that is done, and moves from then on.
func TestStreamLater(t *testing.T) {
	w := streamer()
	var held []*Response
	w.OnRequest = func(w *Response, r *Request) {
		w.Defer()
		held = append(held, w)
	}
	b := &testBus{}
	s := launch(t, w, b, nil)
	c := dial(t, s.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	s.eventually("it is asked", func() bool { return len(held) == 1 })
	s.on(func() {
		_, _ = held[0].WriteString(":padding\n")
		if !held[0].Stream() || held[0].c.more != nil {
			t.Errorf("%+v", held[0].c.more)
		}
		if _, err := held[0].WriteString("x"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	one := opened(t, c)
	if one.Comments != 1 {
		t.Error("no padding")
	}
	w2 := streamer()
	s2, report := s.replace(w2, b)
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() { must(t, w2.Publish("all", Text("x"))) })
	one.data("x")
}

// TestSlowStream: max_queue holds for streams.
func TestSlowStream(t *testing.T) {
	w := streamer()
	w.Limits.MaxQueue = 64 << 10
	var end error
	w.OnClose = func(_ *Conn, err error) { end = err }
	s := serve(t, w)
	slow := dial(t, s.addrs[0])
	slow.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	s.eventually("it is here", func() bool { return w.CountMembers("all") == 1 })
	text := strings.Repeat("x", 60<<10)
	s.eventually("it is closed", func() bool {
		must(t, w.Publish("all", Text(text)))
		return errors.Is(end, ErrSlow)
	})
}

// TestEventsAreWorded: OnEvent makes what the clients of streams get, once for all
// of them, and knows whose position is not the whole of it.
func TestEventsAreWorded(t *testing.T) {
	w := streamer()
	made := 0
	w.ChannelRules = channel.Rules{{Match: "room*", History: new(10)}}
	w.OnConnect = func(c *Conn) {
		c.Join("plain")
		if c.Path() == "/waits" {
			c.Join("room 2", Last(1))
		}
		c.Join("room 1", Last(0))
	}
	w.OnEvent = func(p *Published) Event {
		made++
		return Event{ID: fmt.Sprint(p.Position, " ", p.Partial), Type: p.Channel, Data: bytes.ToUpper(p.Message.Data)}
	}
	b, a := &testBus{}, &asked{}
	s := launch(t, w, b, nil)
	s.askedOn(a)
	p := newPlay(b)
	list := []*stream{follow(t, s.addrs[0], "/"), follow(t, s.addrs[0], "/"), follow(t, s.addrs[0], "/waits")}
	for n := 0; n < 4; {
		for _, want := range a.take(s) {
			if n++; want.Channel == "room 1" {
				p.publish(p.answer(want))
			}
		}
	}
	p.publish(Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "plain", Data: []byte("a")}, p.number("room 1", "b"))
	for i, c := range list {
		for _, want := range []Event{
			{ID: fmt.Sprint(" ", i == 2), Type: "plain", Data: []byte("A")},
			{ID: fmt.Sprint("000007:1 ", i == 2), Type: "room 1", Data: []byte("B")},
		} {
			if got := c.next(); !reflect.DeepEqual(got, want) {
				t.Errorf("%d: %+v, want %+v", i, got, want)
			}
		}
	}
	s.on(func() {
		if made != 4 {
			t.Errorf("%d made", made)
		}
	})
}
