package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

func TestGatherReachesEveryWorkerAndOneself(t *testing.T) {
	b, h, _ := host(t)
	var ins [3]inbox
	var clients [3]*Client
	var roster []string
	for i := range ins {
		id := fmt.Sprintf("push/%d/1", i)
		clients[i] = b.client(id, &ins[i])
		if i < 2 { // the third one stays silent
			roster = append(roster, id)
			ins[i].onQuery = func(q worker.BusQuery) {
				clients[i].Answer(q.Reply, worker.Answer{Worker: id, Data: json.RawMessage(`"` + q.What + `"`)})
			}
		}
	}
	for round, all := range [][]string{roster, append(roster, "push/2/1")} {
		h.SetRoster(all)
		wait := []time.Duration{time.Minute, 2 * time.Second}[round]
		got := make(chan []worker.Answer, 1)
		if err := clients[0].Gather(worker.BusQuery{What: "stats"}, wait, func(a []worker.Answer, complete bool) {
			if complete != (round == 0) {
				t.Errorf("round %d: complete %v", round, complete)
			}
			got <- a
		}); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, a := range <-got {
			if string(a.Data) != `"stats"` || seen[a.Worker] {
				t.Errorf("round %d: answer %s %s", round, a.Worker, a.Data)
			}
			seen[a.Worker] = true
		}
		if len(seen) != 2 {
			t.Errorf("round %d: answers of %v", round, seen)
		}
	}
	testkit.Eventually(t, "no question is open", func() bool {
		clients[0].asker.mu.Lock()
		defer clients[0].asker.mu.Unlock()
		return len(clients[0].asker.open) == 0
	})
}

func TestGatherOfAnAbsentBroker(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	c := b.client("push/0/1", &in)
	b.kill()
	called := func([]worker.Answer, bool) {} // of those that were asked before it was noticed
	testkit.Eventually(t, "an error", func() bool { return c.Gather(worker.BusQuery{What: "stats"}, time.Hour, called) != nil })
}

// TestWhoMustAnswer goes through what may happen while answers are waited for,
// in a worker's client, which learns from a Host's answer who lives, and in that
// of the broker process, which knows.
func TestWhoMustAnswer(t *testing.T) {
	for _, told := range []bool{true, false} {
		c := mute(t)
		names := []string{"push/0/1", "push/1/1", "chat/0/1"}
		if !told {
			c.SetRoster(names)
		}
		g := c.gather(2, Who{Group: "push"})
		if g.told != told {
			t.Fatalf("told %v", g.told)
		}
		taken := 0
		answer := func(question int, from, data string) {
			g.answered(reply{question, worker.Answer{Worker: from, Data: json.RawMessage(data)}}, func(int, worker.Answer) { taken++ })
			g.await()
		}
		g.await()
		answer(0, "push/0/1", "1") // with told: before anybody knows who lives
		if told {
			if g.outcomes()[0].Complete {
				t.Error("complete, and nobody knows who must answer")
			}
			answer(0, "other/roster", `[]`) // of another node, though we have no name
			answer(0, "roster", `null`)
			if g.missing != nil {
				t.Fatal("a roster that is none was taken")
			}
			raw, _ := json.Marshal(names)
			answer(0, "roster", string(raw))
		}
		if len(g.missing) != 3 {
			t.Errorf("told %v: missing %v", told, g.missing)
		}
		answer(0, "chat/0/1", "1")  // of another group
		answer(2, "push/1/1", "1")  // to no question of these
		answer(1, "push/0/1", "1")  // the second question
		answer(0, "push/2/1", "1")  // has joined
		answer(-1, "push/1/1", "1") // to no question either
		if all := g.outcomes(); all[0].Complete || all[1].Complete || taken != 3 {
			t.Errorf("told %v: complete %v, %d answers taken", told, all, taken)
		}
		g.roster.set([]string{"push/0/1", "push/2/1"}) // push/1/1 has left
		g.await()
		if all := g.outcomes(); all[0].Complete {
			t.Errorf("told %v: what it has answered may still be on its way", told)
		}
		answer(2, "", "null") // the mark
		if all := g.outcomes(); !all[0].Complete || !all[1].Complete || len(g.missing) != 0 {
			t.Errorf("told %v: after one has left: %v, missing %v", told, all, g.missing)
		}
		g.close()
		if len(c.asker.open) != 0 {
			t.Error("a gathering that is closed is still open")
		}
	}
}

// mute is a client that reaches nobody.
func mute(t *testing.T) *Client {
	c, err := NewClient(Options{Path: "none", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c.asker = newAsker("r")
	c.link.away.Store(nil)
	return c
}

// TestWhoHasTheConnectionsMustAnswer: in a hand-over the roster may say too late who
// counts them.
func TestWhoHasTheConnectionsMustAnswer(t *testing.T) {
	c := mute(t)
	c.SetRoster([]string{"a/push/0/1", "a/push/1/1"})
	g := c.gather(2, Who{})
	defer g.close()
	g.await()
	answer := func(question int, from, heir string) {
		g.answered(reply{question, worker.Answer{Worker: from, Heir: heir}}, func(int, worker.Answer) {})
	}
	want := func(what string, first, second bool) {
		t.Helper()
		if all := g.outcomes(); all[0].Complete != first || all[1].Complete != second {
			t.Errorf("%s: %+v", what, all)
		}
	}
	answer(0, "a/push/1/1", "")
	answer(1, "a/push/1/1", "")
	answer(0, "a/push/0/1", "a/push/0/2") // is handing over
	want("the heir has not answered", false, false)
	answer(0, "a/push/0/2", "")
	want("it has", true, false)
	answer(1, "a/push/0/2", "")
	answer(1, "a/push/0/1", "a/push/0/2")
	want("it had answered first", true, true)

	late := c.gather(1, Who{})
	defer late.close()
	late.await()
	g = late
	answer(0, "a/push/1/1", "")
	c.SetRoster([]string{"a/push/0/2", "a/push/1/1", "a/push/2/1"}) // 0/1 never had the question
	late.await()
	answer(1, "", "") // the mark
	if all := late.outcomes(); all[0].Complete {
		t.Error("who is in the place of one that has left has not answered")
	}
	answer(0, "a/push/0/2", "")
	if all := late.outcomes(); !all[0].Complete {
		t.Errorf("it has: %v", late.missing)
	}
}

// TestALastAnswerIsNotOvertaken: one that was sent before its worker left is counted,
// though the roster is known first.
func TestALastAnswerIsNotOvertaken(t *testing.T) {
	b := newBus(t)
	b.serve()
	c, w := b.client("api", nil), b.client("push/0/1", nil)
	c.SetRoster([]string{"push/0/1"})
	g := c.gather(1, Who{})
	defer g.close()
	g.await()
	w.Answer(g.replies.subject(0), worker.Answer{Worker: "push/0/1", Reached: 3})
	testkit.Eventually(t, "it is sent", w.queue.empty)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	reached, over := 0, make(chan struct{})
	c.asker.mu.Lock() // answers are slow to come in
	c.SetRoster([]string{})
	go func() {
		defer close(over)
		g.collect(ctx, func(_ int, a worker.Answer) { reached += a.Reached })
	}()
	select {
	case <-over:
	case <-time.After(50 * time.Millisecond):
	}
	c.asker.mu.Unlock()
	if <-over; reached != 3 || !g.outcomes()[0].Complete {
		t.Errorf("%d connections, %+v, want 3", reached, g.outcomes())
	}
}

// TestWhoNumbersMustAnswer: a message of a channel with history is not known to
// be published before the service says so, even if no worker is left to ask.
func TestWhoNumbersMustAnswer(t *testing.T) {
	c := mute(t)
	c.SetRoster([]string{})
	g := c.gather(2, Who{})
	defer g.close()
	g.mustNumber(1)
	g.await()
	if all := g.outcomes(); !all[0].Complete || all[1].Complete {
		t.Errorf("before it is numbered: %v", all)
	}
	g.answered(reply{1, worker.Answer{Worker: worker.HistoryService, Data: json.RawMessage(`{"position":"k3x9ab:1"}`)}}, func(int, worker.Answer) {})
	if all := g.outcomes(); !all[0].Complete || !all[1].Complete {
		t.Errorf("then: %v", all)
	}
}

// TestSilenceIsNoNumber: over nodes, a message that the history service says nothing of
// has failed; nobody is told that it is published but has no position.
func TestSilenceIsNoNumber(t *testing.T) {
	for _, url := range []string{"", "nats://127.0.0.1:1"} {
		c := mute(t)
		c.o.URL = url
		c.SetRoster([]string{})
		g := c.gather(3, Who{})
		defer g.close()
		g.mustNumber(0)
		g.mustNumber(2)
		g.await()
		g.answered(reply{0, worker.Answer{Worker: worker.HistoryService, Data: json.RawMessage(`{"position":"k3x9ab:1"}`)}}, func(int, worker.Answer) {})
		failed := map[int]bool{}
		g.collectNumbers(0, func(i int, a worker.Answer) {
			var n worker.Numbered
			failed[i] = json.Unmarshal(a.Data, &n) == nil && n.Failed == worker.HistorySilent
		})
		if want := url != ""; failed[2] != want || failed[0] || failed[1] || len(g.ordered) > 0 == want {
			t.Errorf("with url %q these have failed: %v; left %v", url, failed, g.ordered)
		}
	}
}

// TestHostsMustAnswer where words to services are meant too: that of each node, for as
// long as it has workers.
func TestHostsMustAnswer(t *testing.T) {
	c := mute(t)
	g := c.gather(1, Who{})
	defer g.close()
	g.hosts = true
	answer := func(from, data string) {
		g.answered(reply{0, worker.Answer{Worker: from, Data: json.RawMessage(data)}}, func(_ int, a worker.Answer) {
			if isRoster(a.Worker) {
				t.Errorf("handed over: %+v", a)
			}
		})
		g.await()
	}
	want := func(what string, complete bool) {
		t.Helper()
		if all := g.outcomes(); all[0].Complete != complete {
			t.Errorf("%s: %+v, %v", what, all, g.missing)
		}
	}
	answer("b/roster", `["a/x/0/1"]`)                              // not that of this node: nobody knows yet who must
	answer("roster", `["a/push/0/1", "a/push/1/1", "b/push/0/1"]`) // the Host of this process' node, which has no name here
	for _, from := range []string{"a/push/0/1", "a/push/1/1", "b/push/0/1"} {
		answer(from, "1")
	}
	want("that of a has not", false)
	answer("a/roster", "[]")
	want("all have", true)

	late := c.gather(1, Who{})
	defer late.close()
	g, late.hosts = late, true
	c.SetRoster([]string{"a/push/0/1", "b/push/0/1"})
	g.roster = c.roster
	g.await()
	answer("a/push/0/1", "1")
	answer("a/roster", "[]")
	want("b has not", false)
	c.SetRoster([]string{"a/push/0/1"}) // b is lost
	g.await()
	g.answered(reply{g.n, worker.Answer{}}, nil) // the mark
	want("b is lost", true)
}

// TestMissingNodes: who has not answered is named by node.
func TestMissingNodes(t *testing.T) {
	c := mute(t)
	c.SetRoster([]string{"b/push/0/1", "b/push/1/1", "c/push/0/1", "a/push/0/1"})
	g := c.gather(2, Who{})
	defer g.close()
	g.await()
	for _, from := range []string{"c/push/0/1", "b/push/0/1"} {
		g.answered(reply{0, worker.Answer{Worker: from}}, func(int, worker.Answer) {})
	}
	if all := g.outcomes(); all[0].Complete || !slices.Equal(all[0].Missing, []string{"a", "b"}) || !slices.Equal(all[1].Missing, []string{"a", "b", "c"}) {
		t.Errorf("%+v", all)
	}
	one := c.gather(1, Who{Node: "c"})
	defer one.close()
	one.await()
	one.answered(reply{0, worker.Answer{Worker: "c/push/0/1"}}, func(int, worker.Answer) {})
	if all := one.outcomes(); !all[0].Complete || all[0].Missing != nil {
		t.Errorf("of one node: %+v", all)
	}
}
