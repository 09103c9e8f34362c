package worker

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

// This file is what a further transport takes: its functions and a call of
// register. It knows nothing that the others do, and no other file knows it.

// transportToy: the client says lines, and is told lines that begin with ">".
// Silence is answered with "~", and the end is "bye CODE REASON".
var transportToy = &transport{}

func init() {
	*transportToy = transport{
		name: "toy", number: 15, flags: flagConnected | flagPaused | flagFull,
		talks: true, moves: true,
		open:    func(c *Conn) { c.transport.await(c); c.route.connect(c) },
		await:   func(c *Conn) { c.loop.expect(c, c.loop.w.PingInterval) },
		receive: toyReceive, encode: toyEncode,
		variant: func(*Conn, int) variant { return variant{transport: transportToy} },
		goodbye: toyGoodbye, due: toyDue, cut: errToy,
	}
	register(transportToy, "toy")
}

var errToy = errors.New("left without a word")

func toyReceive(c *Conn, p []byte) []byte {
	for !c.has(flagPaused | flagDead | flagEnd) {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if !whole {
			break
		}
		p = rest
		c.route.message(c, Message{Data: line})
	}
	return p
}

// toyEncoded counts; the loops of the tests that use it do not overlap.
var toyEncoded int

func toyEncode(_ *Conn, dst []byte, m Message) []byte {
	toyEncoded++
	return fmt.Appendf(dst, "> %s\n", m.Data)
}

func toyGoodbye(c *Conn, code int, reason string) (answers bool) {
	c.loop.emit(c, func(dst []byte) []byte { return fmt.Appendf(dst, "bye %d %s\n", code, reason) })
	return false
}

func toyDue(c *Conn) {
	c.loop.emit(c, func(dst []byte) []byte { return append(dst, "~\n"...) })
	c.transport.await(c)
}

// toys serves WebSockets and toys; what one says all are told.
func toys(closes *[]error) *Worker {
	w := New(anyWS, "toy://127.0.0.1:0")
	w.OnConnect = func(c *Conn) { c.Join("all") }
	w.OnMessage = func(c *Conn, m Message) { _ = w.Publish("all", m) }
	w.OnClose = func(_ *Conn, err error) { *closes = append(*closes, err) }
	return w
}

// TestToyTransport: whatever a connection can do it can do over a transport that
// nobody knows: be told what others say, encoded once for all of its kind, be
// kept awake, move to another process with half a line, and end in four ways.
func TestToyTransport(t *testing.T) {
	b, closes := &testBus{}, []error{}
	w1 := toys(&closes)
	s1 := launch(t, w1, b, nil)
	ws := connect(t, s1.addrs[0], "/")
	list := []*client{dial(t, s1.addrs[1]), dial(t, s1.addrs[1]), dial(t, s1.addrs[1]), dial(t, s1.addrs[1])}
	s1.eventually("all are here", func() bool { return w1.CountMembers("all") == 5 })
	s1.on(func() { toyEncoded = 0 })
	told := func(text string) {
		ws.want(text)
		for _, c := range list {
			c.wantBytes("> " + text + "\n")
		}
	}
	list[0].write([]byte("hello\nhal"))
	told("hello")
	s1.on(func() {
		if toyEncoded != 1 {
			t.Errorf("encoded %d times", toyEncoded)
		}
		for _, c := range w1.loop.conns.all {
			if c.Protocol() == "toy" {
				w1.loop.due(c)
			}
		}
	})
	for _, c := range list {
		c.wantBytes("~\n")
	}

	w2 := toys(&closes)
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != 5 {
		t.Fatalf("%+v", report)
	}
	list[0].write([]byte("f a line\n"))
	told("half a line")

	list[0].conn.Close()
	s2.eventually("one has left", func() bool { return len(closes) == 1 })
	s2.on(func() {
		if closes[0] != errToy {
			t.Error(closes[0])
		}
		for _, c := range w2.loop.conns.all {
			if *w2.loop.conns.when(c) == 0 {
				t.Error("no deadline after the move")
			}
		}
		var left []*Conn
		for _, c := range w2.loop.conns.all {
			if c.Protocol() == "toy" {
				left = append(left, c)
			}
		}
		left[0].Close(4001, "closed")
		w2.loop.fail(left[1], 1008, &CloseError{Code: 1008, Reason: "failed"})
		w2.loop.destroy(left[2], ErrTimeout)
	})
	ends := map[string]bool{}
	for _, c := range list[1:] {
		must(t, c.conn.SetReadDeadline(time.Now().Add(patience)))
		line, _ := c.r.ReadString('\n')
		ends[line] = true
		c.wantEOF()
		c.conn.Close()
	}
	if !ends["bye 4001 closed\n"] || !ends["bye 1008 failed\n"] || !ends[""] {
		t.Errorf("they were told %v", ends)
	}
	s2.eventually("all have left", func() bool { return len(closes) == 4 })
}
