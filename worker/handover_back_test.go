package worker

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
)

// echoes connects n clients of s, each heard once.
func echoes(s *server, n int) (clients []*client) {
	s.t.Helper()
	for range n {
		c := connect(s.t, s.addrs[0], "/")
		c.text("hi")
		c.want("hi")
		clients = append(clients, c)
	}
	return clients
}

// TestWholeBatchLeaves: all clients of the canary leave between the two turns in
// which it is frozen and packed. The others move nevertheless.
func TestWholeBatchLeaves(t *testing.T) {
	const conns = 30
	b := &testBus{}
	w1, e1 := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	echoes(s1, conns)
	l := w1.loop
	var watch func()
	watch = func() { // once in each turn, so after freeze and before pack
		frozen := 0
		for _, c := range l.conns.snapshot() {
			if c.has(flagMoving) {
				frozen++
				l.reactor.Close(c.sock)
			}
		}
		if frozen == 0 {
			l.post(watch)
		}
	}
	s1.on(watch)
	w2, e2 := newEchoer(anyWS)
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != conns-handover.CanaryConns || report.Left != 0 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() {
		if e1.closes != handover.CanaryConns || e2.resumes != conns-handover.CanaryConns {
			t.Errorf("OnClose %d, OnResume %d", e1.closes, e2.resumes)
		}
	})
}

// TestEarlyResume: the order to resume comes while the old worker waits for the
// broker. It is heeded when that has ended, and answered then.
func TestEarlyResume(t *testing.T) {
	b := &testBus{}
	w, _ := newEchoer(anyWS)
	s := launch(t, w, b, nil)
	clients := echoes(s, handover.CanaryConns+2)
	b.fails(s.broker, errors.New("the broker is away"))
	ours, theirs := socketpair(t)
	k, err := handover.New(theirs)
	must(t, err)
	theirs.Close()
	go hello(k)
	must(t, s.master.Send(control.TypeExport, 2, nil, ours))
	ours.Close()
	s.eventually("it waits for the broker", func() bool { return len(w.loop.syncs) > 0 })
	must(t, s.master.Send(control.TypeResume, 3, nil))
	must(t, s.master.Send(control.TypeQuery, 7, control.Query{What: "stats"}))
	if m := s.receive(); m.ID != 7 { // resume has been read
		t.Fatalf("%+v is answered before anything has been taken back", m)
	}
	k.Close()
	b.fails(s.broker, nil)
	answered := map[uint64]control.Message{}
	for len(answered) < 2 {
		m := s.receive()
		answered[m.ID] = m
	}
	var report control.Exported
	must(t, json.Unmarshal(answered[2].Body, &report))
	if report.Step != "canary" || report.Moved != 0 {
		t.Errorf("%+v", report)
	}
	if m := answered[3]; m.Type != control.TypeAnswer || m.Error != "" {
		t.Errorf("%+v", m)
	}
	for _, c := range clients {
		c.text("old again")
		c.want("old again")
	}
	w2, _ := newEchoer(anyWS)
	if _, report := s.replace(w2, b); report.Moved != len(clients) || report.Error != "" {
		t.Fatalf("the next hand-over: %+v", report)
	}
}

// fails lets c's publications fail.
func (b *testBus) fails(c *loopback, err error) {
	b.mu.Lock()
	c.fail = err
	b.mu.Unlock()
}

// TestPackFails: of a batch of which one has left, another cannot be duplicated.
// All that are there are taken back, once.
func TestPackFails(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	clients := echoes(s, 4)
	x := newExport(w.loop, nil)
	var left *Conn
	s.on(func() {
		x.begin()
		x.freeze(handover.CanaryConns)
		left = x.held[0]
		w.loop.reactor.Close(left.sock)
		var limit unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
		_, fds, err := x.pack()
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		if len(fds) != 0 || err == nil {
			t.Errorf("%d descriptors, error %v", len(fds), err)
		}
		must(t, w.Publish("all", Text("missed while frozen")))
	})
	s.eventually("it is in the journal", func() bool { return w.loop.fan.journal.Len() > 0 })
	s.on(x.resume)
	gone := 0
	for _, c := range clients {
		c.text("again")
		if _, p, err := c.frame(); err != nil {
			gone++
			continue
		} else if string(p) != "missed while frozen" {
			t.Fatalf("got %q", p)
		}
		c.want("again")
	}
	if gone != 1 {
		t.Errorf("%d of %d are gone", gone, len(clients))
	}
}

// TestJournalOverflowOfOld: what the old worker's journal had no room for is
// missing to the batch that it takes back, and counted.
func TestJournalOverflowOfOld(t *testing.T) {
	const lost = 3
	for _, frozen := range []bool{true, false} {
		w, _ := newEchoer(anyWS)
		s := serve(t, w)
		echoes(s, 1)
		x := newExport(w.loop, nil)
		s.on(func() {
			x.begin()
			if frozen {
				x.freeze(handover.CanaryConns)
			}
			for i := range delivered.MaxEntries + lost {
				w.loop.fan.journal.Note(Publication{Kind: KindMessage, Scope: ScopeConn, Target: "nobody", Seq: uint64(7 + i)})
			}
			x.resume()
		})
		want := uint64(0)
		if frozen {
			want = lost
		}
		if got := s.stats().BrokerGaps; got != want || strings.Contains(s.log.String(), "does not have all") != frozen {
			t.Errorf("frozen %v: %d gaps, want %d; log:\n%s", frozen, got, want, s.log)
		}
	}
}
