package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const anyWS = "websocket://127.0.0.1:0"

func TestEchoOverWebSocket(t *testing.T) {
	w := New(anyWS)
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		if n > w.Limits.MaxMessage {
			continue
		}
		want := strings.Repeat("x", n)
		c.text(want)
		c.want(want)
	}
	for i := range 100 { // a burst in one segment comes back in order
		c.write(append(mask(0x81, []byte(fmt.Sprint("a", i))), mask(0x81, []byte(fmt.Sprint("b", i)))...))
		c.want(fmt.Sprint("a", i))
		c.want(fmt.Sprint("b", i))
	}
}

func TestCallbacksRunOnceInOrder(t *testing.T) {
	var events []string
	w := New(anyWS)
	w.OnWorkerStart = func(*Worker) error { events = append(events, "start"); return nil }
	w.OnHandshake = func(_ *Conn, h *Handshake) { events = append(events, "handshake "+h.Path()) }
	w.OnConnect = func(c *Conn) { events = append(events, "connect"); _ = c.SendText("hi") }
	w.OnMessage = func(_ *Conn, m Message) { events = append(events, m.String()) }
	w.OnClosing = func(*Conn) { events = append(events, "closing") } // not when the client closes
	w.OnClose = func(_ *Conn, err error) { events = append(events, fmt.Sprint("close ", err)) }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/a?b=c")
	c.want("hi")
	c.text("one")
	c.write(mask(0x88, []byte{3, 232}))
	c.wantClose(1000)
	c.wantEOF()
	s.eventually("OnClose", func() bool { return len(events) == 5 })
	want := "start,handshake /a,connect,one,close <nil>"
	if got := strings.Join(events, ","); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	s.eventually("no connection is left", func() bool { return w.CountConnections() == 0 })
}

// TestClosing: OnClosing runs once when the server tells a client to go, before
// which that was heard and sent, and after which nothing is.
func TestClosing(t *testing.T) {
	var events []string
	w := New(anyWS)
	w.OnMessage = func(c *Conn, m Message) {
		events = append(events, m.String())
		_ = c.SendText("bye")
		c.Close(4009, "")
		c.Close(4010, "")
	}
	w.OnClosing = func(c *Conn) {
		events = append(events, fmt.Sprint("closing ", c.SendText("more")))
		c.Close(4011, "")
	}
	w.OnClose = func(_ *Conn, err error) { events = append(events, fmt.Sprint("close ", err)) }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	c.text("go")
	c.want("bye")
	c.wantClose(4009)
	c.text("no")
	s.on(func() {
		if len(events) != 2 {
			t.Errorf("before the client has answered: %q", events)
		}
	})
	c.write(mask(0x88, []byte{0x0f, 0xa9}))
	c.wantEOF()
	s.eventually("OnClose", func() bool { return len(events) == 3 })
	want := fmt.Sprintf("go,closing %v,close <nil>", ErrClosed)
	if got := strings.Join(events, ","); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestPanicClosesOnlyItsConnection(t *testing.T) {
	w := New(anyWS)
	var closed error
	w.OnMessage = func(c *Conn, m Message) {
		if m.String() == "panic" {
			panic("boom")
		}
		_ = c.Send(m)
	}
	w.OnClose = func(_ *Conn, err error) { closed = err }
	s := serve(t, w)
	bad, good := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/")
	bad.text("panic")
	bad.wantClose(1011)
	good.text("still here")
	good.want("still here")
	bad.write(mask(0x88, []byte{3, 243}))
	s.eventually("OnClose of the bad one", func() bool { return errors.Is(closed, ErrPanic) })
	if n := s.stats().Panics; n != 1 {
		t.Fatalf("%d panics counted", n)
	}
	if !strings.Contains(s.log.String(), "boom") {
		t.Fatal("the panic is not in the log")
	}
}

func TestPublishReachesMembersButNotTheExcepted(t *testing.T) {
	w := New(anyWS)
	w.OnConnect = func(c *Conn) { c.Join("room") }
	w.OnMessage = func(c *Conn, m Message) {
		if err := w.Publish("room", m, Except(c)); err != nil {
			t.Error(err)
		}
	}
	s := serve(t, w)
	a, b := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/")
	s.eventually("both have joined", func() bool { return w.CountConnections() == 2 })
	for i := range 200 {
		a.text(fmt.Sprint(i))
	}
	for i := range 200 {
		b.want(fmt.Sprint(i))
	}
	b.text("back")
	a.want("back")
}

func TestPublishAllOrNone(t *testing.T) {
	w := New(anyWS)
	w.OnConnect = func(c *Conn) {
		c.Join("one")
		c.Join("two")
	}
	s := serve(t, w)
	a := connect(t, s.addrs[0], "/")
	s.eventually("one has joined", func() bool { return w.CountConnections() == 1 })
	b := connect(t, s.addrs[0], "/")
	s.eventually("both have joined", func() bool { return w.CountConnections() == 2 })
	huge := Text(strings.Repeat("x", maxPublication+1))
	s.on(func() {
		id := w.loop.conns.all[0].ID()
		if err := w.PublishAll([]ChannelMessage{{Channel: "one", Message: Text("lost")}, {Channel: "two", Message: huge}}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("with one that is too large: %v", err)
		}
		must(t, w.PublishAll(nil))
		must(t, w.PublishAll([]ChannelMessage{{Channel: "one", Message: Text("1")}, {Channel: "one", Message: Text("2"), Except: []string{id}}, {Channel: "one", Message: Text("3")}}))
	})
	for _, text := range []string{"1", "3"} {
		a.want(text)
	}
	for _, text := range []string{"1", "2", "3"} {
		b.want(text)
	}
}

func TestTimersAndPost(t *testing.T) {
	w := New(anyWS)
	var ticks, after int
	w.OnConnect = func(c *Conn) {
		c.Every(5*time.Millisecond, func() { ticks++; _ = c.SendText(fmt.Sprint("tick ", ticks)) })
		c.After(time.Millisecond, func() { after++ })
	}
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	c.want("tick 1")
	c.want("tick 2")
	c.conn.Close()
	s.eventually("timers end with their connection", func() bool { return w.loop.conns.len() == 0 && after == 1 })
	var before int
	s.on(func() { before = ticks })
	done := make(chan struct{})
	s.on(func() { w.After(30*time.Millisecond, func() { close(done) }) })
	<-done
	s.on(func() {
		if ticks != before {
			t.Errorf("a timer ran %d times after its connection was gone", ticks-before)
		}
	})
}
