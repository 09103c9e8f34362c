package worker

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/channel"
)

// poller makes each request wait; what others say to "all" answers it.
func poller() *Worker {
	w := New(anyWS)
	w.OnRequest = func(w *Response, r *Request) {
		w.Header().Set("X-Who", r.URL.RawQuery)
		w.Poll(25 * time.Second)
	}
	w.OnConnect = func(c *Conn) {
		_ = c.Set("who", c.RawQuery())
		c.Bind(c.RawQuery())
		c.Join("all")
	}
	w.OnMessage = func(c *Conn, m Message) { _ = c.Worker().Publish("all", m) }
	return w
}

func (c *client) pollAs(query string) {
	c.write([]byte("GET /?" + query + " HTTP/1.1\r\nHost: a\r\n\r\n"))
}

func (c *client) answered(status int, body string) {
	c.t.Helper()
	resp, got := c.response("GET")
	if resp.StatusCode != status || got != body || resp.Header.Get("X-Who") == "" {
		c.t.Fatalf("%s %q %v, want %d %q", resp.Status, got, resp.Header, status, body)
	}
}

// TestPoll: what comes is the answer, what comes together is one, and nothing in
// time is 204; the next request on the connection is somebody else's.
func TestPoll(t *testing.T) {
	w := poller()
	closed := 0
	w.OnClose = func(c *Conn, err error) {
		if closed++; err != nil || c.Get("who") == "" {
			t.Errorf("%v %q", err, c.Get("who"))
		}
	}
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	here := func(n int) { s.eventually("it waits", func() bool { return w.CountMembers("all") == n }) }
	c.pollAs("ann")
	here(1)
	s.on(func() { must(t, w.Publish("all", Text(`{"a":1}`))) })
	c.answered(200, `{"messages":[{"a":1}]}`)
	s.on(func() {
		if one := w.loop.conns.all[0]; one.Get("who") != "" || one.UID() != "" || one.more != nil || one.Protocol() != "http" || closed != 1 {
			t.Errorf("left of it: %+v", one.more)
		}
	})
	c.pollAs("bob")
	c.pollAs("eve") // behind it
	here(1)
	s.on(func() {
		one := w.loop.conns.all[0]
		must(t, one.SendText("say \"hi\""))
		must(t, one.Send(Binary([]byte("1"))))
	})
	c.answered(200, `{"messages":["say \"hi\"","1"]}`)
	s.eventually("the next one waits", func() bool { return w.hasUser("eve") })
	s.on(func() { w.loop.due(w.loop.conns.all[0]) })
	c.answered(204, "")
	c.pollAs("kim")
	s.eventually("it waits", func() bool { return w.hasUser("kim") })
	s.on(func() { w.loop.conns.all[0].Close(4001, "token has expired") })
	c.answered(200, `{"messages":[],"close":{"code":4001,"reason":"token has expired"}}`)
	c.wantEOF()
}

// hasUser reports whether a user is here.
func (w *Worker) hasUser(uid string) bool {
	for _, c := range w.loop.conns.all {
		if c.UID() == uid {
			return true
		}
	}
	return false
}

// TestPollMoves: a poll waits on in the next process, with its channels, its
// header, and the request behind it; nobody waits for it.
func TestPollMoves(t *testing.T) {
	b, w1, w2 := &testBus{}, poller(), poller()
	s1 := launch(t, w1, b, nil)
	one, two := dial(t, s1.addrs[0]), dial(t, s1.addrs[0])
	one.pollAs("ann")
	one.pollAs("bob")
	two.pollAs("eve")
	s1.eventually("both wait", func() bool { return w1.CountMembers("all") == 2 })
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != 2 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() {
		for _, c := range w2.loop.conns.all {
			if c.recordVersion() != 6 || *w2.loop.conns.when(c) == 0 || c.Protocol() != "poll" {
				t.Errorf("%s: version %d", c, c.recordVersion())
			}
		}
		must(t, w2.Publish("all", Text("1")))
	})
	one.answered(200, `{"messages":[1]}`)
	two.answered(200, `{"messages":[1]}`)
	s2.eventually("the next one waits", func() bool { return w2.hasUser("bob") })
	s2.on(func() { must(t, w2.SendToUID("bob", Text("2"))) })
	one.answered(200, `{"messages":[2]}`)
}

// TestPollIsToldNoMore: who is told of a loss, and of no other position than he has, waits
// on all the same, in the next process too: he would come back to hear it again.
func TestPollIsToldNoMore(t *testing.T) {
	program := func() *Worker {
		w := poller()
		w.ChannelRules = channel.Rules{{Match: "room", History: new(10)}}
		w.OnConnect = func(c *Conn) {
			c.Bind(c.RawQuery())
			offset, _ := strconv.ParseUint(c.RawQuery(), 10, 64)
			c.Join("plain", From("000007", offset))
			c.Join("room", From("000007", offset))
		}
		w.OnRecovery = func(c *Conn, r *Recovery) {
			r.Send()
			_ = c.SendText(`"` + r.Channel + " " + r.Reason.String() + `"`)
		}
		return w
	}
	w, b, a := program(), &testBus{}, &asked{}
	s := launch(t, w, b, nil)
	s.askedOn(a)
	p := newPlay(b)
	p.publish(p.number("room", "a"), p.number("room", "b"))
	p.store.Distrust("", 2)
	one, two := dial(t, s.addrs[0]), dial(t, s.addrs[0])
	one.pollAs("1")
	p.publish(p.answer(a.take(s)...))
	one.answered(200, `{"position":"000007:2","messages":["plain off","room age"]}`)
	two.pollAs("2")
	p.publish(p.answer(a.take(s)...))
	waits := func(w *Worker) {
		t.Helper()
		for _, c := range w.loop.conns.all {
			if c.UID() == "2" && (c.joins() || c.poll() == nil || string(c.poll().items) != `"plain off","room age",` || !c.poll().waits()) {
				t.Errorf("it waits no more, or not with that: %+v", c.poll())
			}
		}
	}
	s.eventually("it is told", func() bool { return w.CountMembers("room") == 1 })
	s.on(func() { waits(w) })
	w2 := program()
	s2, report := s.replace(w2, b)
	if report.Error != "" || report.Moved != 2 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() { waits(w2); must(t, w2.SendToUID("2", Text("1"))) })
	two.answered(200, `{"position":"000007:2","messages":["plain off","room age",1]}`)
}

// TestPollWithPositions: a poll with nothing is told where it is, one with a
// position gets what it has missed; while joins wait what comes is collected, and
// goes along to another process.
func TestPollWithPositions(t *testing.T) {
	program := func() *Worker {
		w := poller()
		w.ChannelRules = channel.Rules{{Match: "room*", History: new(10)}}
		w.OnConnect = func(c *Conn) {
			at := From("000007", 1)
			if strings.HasPrefix(c.RawQuery(), "new") {
				at = JoinOption{}
			}
			c.Join("room 1", at)
			c.Join("room 2", at)
		}
		return w
	}
	w, b, a := program(), &testBus{}, &asked{}
	s := launch(t, w, b, nil)
	s.askedOn(a)
	p := newPlay(b)
	p.publish(p.number("room 1", "a"), p.number("room 1", "b"), p.number("room 2", "c"))
	s.eventually("the process knows where they are", func() bool {
		one, ok1 := w.loop.recall.place("room 1")
		two, ok2 := w.loop.recall.place("room 2")
		return ok1 && ok2 && one.Offset == 3 && two.Offset == 3
	})
	c := dial(t, s.addrs[0])
	c.pollAs("new")
	c.answered(200, `{"position":"000007:3","messages":[]}`)
	c.pollAs("back")
	wants := a.take(s)
	for len(wants) < 2 {
		wants = append(wants, a.take(s)...)
	}
	p.publish(p.answer(wants[0]))
	s.eventually("something is collected", func() bool { p := w.loop.conns.all[0].poll(); return p != nil && len(p.items) > 0 })
	w2 := program()
	s2, report := s.replace(w2, b)
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	s2.askedOn(a)
	s2.on(func() { w2.loop.recall.of[w2.loop.conns.all[0]][0].asked = 0; w2.loop.askFor(w2.loop.conns.all[0]) })
	for done := false; !done; {
		for _, want := range a.take(s2) {
			p.publish(p.answer(want))
			done = true
		}
	}
	resp, body := c.response("GET")
	if resp.StatusCode != 200 || !strings.Contains(body, `"b"`) || !strings.Contains(body, `"c"`) || !strings.Contains(body, `"position":"000007:3"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
}
