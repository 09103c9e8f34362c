package broker

import (
	"encoding/json"
	"fmt"
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
