package broker

import (
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
		got := make(chan []worker.Answer, 1)
		if err := clients[0].Gather(worker.BusQuery{What: "stats"}, 2*time.Second, func(a []worker.Answer, complete bool) {
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
		c := &Client{roster: newRoster(), asker: newAsker("r")}
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
		g.roster.set([]string{"push/0/1", "push/2/1", "push/1/2"}) // push/1/1 was replaced
		g.await()
		if all := g.outcomes(); !all[0].Complete || !all[1].Complete || len(g.missing) != 0 {
			t.Errorf("told %v: after one has left: %v, missing %v", told, all, g.missing)
		}
		g.close()
		if len(c.asker.open) != 0 {
			t.Error("a gathering that is closed is still open")
		}
	}
}

// TestWhoNumbersMustAnswer: a message of a channel with history is not known to
// be published before the service says so, even if no worker is left to ask.
func TestWhoNumbersMustAnswer(t *testing.T) {
	c := &Client{roster: newRoster(), asker: newAsker("r")}
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

// TestMissingNodes: who has not answered is named by node.
func TestMissingNodes(t *testing.T) {
	c := &Client{roster: newRoster(), asker: newAsker("r")}
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
