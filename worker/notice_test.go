package worker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/survey"
)

// admitting joins a connection to the channel that a notice is about.
type admitting struct{ seen []string }

func (h *admitting) OnConnect(c *Conn)        { _ = c.SendText(c.ID()) }
func (h *admitting) OnMessage(*Conn, Message) {}

func (h *admitting) OnService(c *Conn, n Notice) bool {
	h.seen = append(h.seen, fmt.Sprint(n.Code, " ", n.Message))
	c.Join(n.Target)
	return n.Code == 1
}

func newAdmitting() (*Worker, *admitting) {
	w, h := New(anyWS), &admitting{}
	w.Routes = []Route{{Pattern: "/", Handler: h}}
	return w, h
}

// id reads the greeting.
func (c *client) id() string {
	c.t.Helper()
	_, p, err := c.frame()
	must(c.t, err)
	return string(p)
}

func (b *testBus) service() func(...Publication) {
	c := b.client()
	return func(ps ...Publication) {
		for i := range ps {
			ps[i].Shard = Shard(ps[i].Scope, ps[i].Target)
			_ = c.Publish(&ps[i])
		}
	}
}

func several(texts ...string) (data []byte) {
	for _, s := range texts {
		data = AppendMessage(data, []byte(s))
	}
	return data
}

func TestNoticeTakesItsPlaceInTheStream(t *testing.T) {
	w, h := newAdmitting()
	b := &testBus{}
	s := launch(t, w, b, nil)
	one, two, three := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/")
	ids := []string{one.id(), two.id()}
	_ = three.id()
	publish := b.service()
	long := strings.Repeat("l", 300)
	publish(
		Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "room", Data: []byte("too early")},
		Publication{Kind: KindService, Scope: ScopeList, Target: "room", Conns: ids[:1], Code: 1, Data: []byte("welcome")},
		Publication{Kind: KindMessages, Scope: ScopeChannel, Target: "room", Data: several("a", long, "")},
		Publication{Kind: KindService, Scope: ScopeList, Target: "room", Conns: append(ids[1:2:2], "1.1", "no id"), Code: 2, Data: []byte("unsaid")},
		Publication{Kind: KindMessages, Scope: ScopeChannel, Target: "room", Data: []byte("\x7fdamaged")},
		Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "room", Data: []byte("end")},
		Publication{Kind: KindMessage, Scope: ScopeConn, Target: ids[0], Data: []byte("last")},
	)
	for _, text := range []string{"welcome", "a", long, "", "end", "last"} {
		one.want(text)
	}
	two.want("end")
	s.on(func() {
		if got := strings.Join(h.seen, ","); got != "1 welcome,2 unsaid" {
			t.Errorf("notices: %s", got)
		}
		if out := w.loop.conns.all[0].msgs.out; out != 7 { // with the greeting
			t.Errorf("%d messages are counted", out)
		}
		if len(three.wire(w)) != 0 {
			t.Error("the third one joined")
		}
	})
}

// wire returns the channels of the connection that nobody has named.
func (c *client) wire(w *Worker) []string {
	return w.loop.conns.all[len(w.loop.conns.all)-1].Channels()
}

func TestNoticeReachesOnceThroughAHandover(t *testing.T) {
	b := &testBus{}
	w1, h1 := newAdmitting()
	s1 := launch(t, w1, b, nil)
	const n = 300
	var clients []*client
	var ids []string
	for range n {
		c := connect(t, s1.addrs[0], "/")
		clients, ids = append(clients, c), append(ids, c.id())
	}
	publish := b.service()
	quit, done := make(chan struct{}), make(chan int)
	go func() { // a notice for each in turn, all through the hand-over
		rounds := 0
		for ; ; rounds++ {
			select {
			case <-quit:
				done <- rounds
				return
			default:
			}
			for i := range n {
				publish(Publication{Kind: KindService, Scope: ScopeList, Target: "room", Conns: ids[i : i+1], Code: 1, Data: fmt.Appendf(nil, "%d", rounds)})
			}
			if _, _, err := clients[n-1].frame(); err != nil { // not faster than they come out
				t.Error(err)
			}
		}
	}()
	w2, h2 := newAdmitting()
	s2, report := s1.replace(w2, b)
	close(quit)
	rounds := <-done
	if report.Moved != n {
		t.Fatalf("%+v", report)
	}
	for _, c := range clients[:n-1] { // the last one has read its own
		for k := range rounds {
			c.want(fmt.Sprint(k))
		}
	}
	left := rounds * n
	s1.on(func() { left -= len(h1.seen) })
	s2.on(func() { left -= len(h2.seen) })
	if left != 0 || len(h2.seen) == 0 {
		t.Errorf("%d notices too few; %d in the new process", left, len(h2.seen))
	}
}

// querying answers questions.
type querying struct{ admitting }

func (h *querying) OnQuery(what string, args []byte) ([]byte, error) {
	switch what {
	case "q.echo":
		return json.Marshal(string(args))
	case "q.panic":
		panic("no")
	}
	return nil, nil
}

// started answers by what OnWorkerStart has made.
type started struct {
	admitting
	own *string
}

func (h *started) OnWorkerStart(*Worker) error { h.own = new(string); return nil }

func (h *started) OnQuery(string, []byte) ([]byte, error) { return json.Marshal(*h.own) }

// TestQuestionBeforeStart: handlers are asked nothing before OnWorkerStart.
func TestQuestionBeforeStart(t *testing.T) {
	h := &started{}
	w := New(anyWS)
	w.Routes = []Route{{Pattern: "/a", Handler: h}}
	raw, _ := json.Marshal(survey.HandlerQuery{What: "q.started"})
	s := launch(t, w, &testBus{first: &BusQuery{What: GatherQuery, Args: raw}}, nil)
	if a := <-s.broker.answers; a.Error != "" || len(a.Data) != 0 {
		t.Errorf("%+v\n%s", a, s.log)
	}
	s.on(func() {
		if data, err := w.loop.query(GatherQuery, raw); string(data) != `""` || err != nil {
			t.Errorf("%s %v", data, err)
		}
	})
}

func TestHandlersAnswerQuestions(t *testing.T) {
	w := New(anyWS)
	w.Routes = []Route{{Pattern: "/a", Handler: &admitting{}}, {Pattern: "/b", Handler: &querying{}}}
	s := serve(t, w)
	ask := func(what string) (answer string, err error) {
		raw, _ := json.Marshal(survey.HandlerQuery{What: what, Args: []byte("args")})
		s.on(func() {
			var data json.RawMessage
			data, err = w.loop.query(GatherQuery, raw)
			answer = string(data)
		})
		return answer, err
	}
	if answer, err := ask("q.echo"); answer != `"args"` || err != nil {
		t.Errorf("%s %v", answer, err)
	}
	if answer, err := ask("x.echo"); answer != "" || err != nil {
		t.Errorf("a question for nobody: %s %v", answer, err)
	}
	if _, err := ask("q.panic"); err == nil || !strings.Contains(s.log.String(), "OnQuery") {
		t.Errorf("a panic: %v\n%s", err, s.log)
	}
	s.on(func() {
		if err := w.Tell("x", nil); err != ErrNoServices {
			t.Errorf("Tell without services: %v", err)
		}
	})
	got := make(chan error, 2)
	s.on(func() {
		w.Ask("x", nil, patience, func(_ []byte, err error) { got <- err })
		w.Gather("x", nil, patience, func(_ []Answer, complete bool) {
			if complete {
				got <- nil
			} else {
				got <- ErrNoServices
			}
		})
		if len(got) != 0 {
			t.Error("done ran before Ask returned")
		}
	})
	for range 2 {
		if err := <-got; err != ErrNoServices {
			t.Errorf("without services: %v", err)
		}
	}
}
