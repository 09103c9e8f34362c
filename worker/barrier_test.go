package worker

import (
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// wantsEverywhere waits until the worker asks all processes, and returns the answer to it.
func wantsEverywhere(t *testing.T, s *server, when string) (answer func(all bool)) {
	t.Helper()
	select {
	case answer = <-s.broker.asked:
	case <-time.After(patience):
		t.Fatalf("nobody is asked %s", when)
	}
	return answer
}

// twoAt starts two processes at servers of the bus with these names, the second to take
// over the client that the first one has.
func twoAt(t *testing.T, first, second string) (s1, s2 *server, c *client) {
	t.Helper()
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 = launch(t, w1, b, nil)
	c = connect(t, s1.addrs[0], "/")
	c.text("hi")
	c.want("hi")
	w2, _ := newEchoer(anyWS)
	s2 = launch(t, w2, b, s1)
	s1.broker.on(first)
	s2.broker.on(second)
	return s1, s2, c
}

// TestAHandoverBetweenServers: where the two processes hang on different servers of the
// bus, the broker's word says nothing of what third processes have: these are asked before
// a client may speak in the new process, before the old one says what it has counted, and
// before it may leave.
func TestAHandoverBetweenServers(t *testing.T) {
	s1, s2, c := twoAt(t, "A", "B")
	counted := Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "all", Shard: Shard(ScopeChannel, "all"), Publisher: 99, Seq: 1, Data: []byte("1"), Reply: "r"}
	s2.broker.in.Deliver([]Publication{counted}) // the new one has it first, and nobody for it
	if a := <-s2.broker.answers; a.Reached != 0 {
		t.Errorf("%+v", a)
	}
	report := make(chan control.Exported, 1)
	go func() { report <- s1.moveTo(s2) }()
	answer := wantsEverywhere(t, s1, "before the batch is given away")
	s2.on(func() {
		if n := s2.w.CountConnections(); n != 0 {
			t.Errorf("%d connections are there", n)
		}
	})
	s1.broker.in.Deliver([]Publication{counted})
	s1.eventually("the old one counts", func() bool { return len(s1.w.loop.underway.waiting) == 1 })
	answer(true)
	answer = wantsEverywhere(t, s2, "before the old one may say what it counted")
	if a := <-s2.broker.answers; a.Reached != 1 || len(s1.broker.answers) != 0 {
		t.Errorf("%+v, and %d of the old one", a, len(s1.broker.answers))
	}
	answer(true)
	answer = wantsEverywhere(t, s1, "before the old one may leave")
	if len(s1.broker.answers) != 1 || len(report) != 0 {
		t.Errorf("%d answers, %d reports", len(s1.broker.answers), len(report))
	}
	answer(false) // one is cut off: that is no reason to wait for ever
	if r := <-report; r.Moved != 1 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	c.want("1")
}

// TestAHandoverAtOneServer asks nobody but the broker.
func TestAHandoverAtOneServer(t *testing.T) {
	s1, s2, _ := twoAt(t, "A", "A")
	if r := s1.moveTo(s2); r.Moved != 1 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	if n := len(s1.broker.asked) + len(s2.broker.asked); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestEverywhereIsAnsweredAtOnce, whatever the loop does.
func TestEverywhereIsAnsweredAtOnce(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	s.on(func() {
		s.broker.in.Query(BusQuery{What: EverywhereQuestion, Reply: "r"})
		if len(s.broker.answers) != 1 {
			t.Error("it waits for the loop")
		}
	})
}
