package broker

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pushd/pushd/internal/testkit"
	"github.com/pushd/pushd/worker"
)

func TestAskReachesEveryWorkerAndOneself(t *testing.T) {
	b := newBus(t)
	b.serve()
	var ins [3]inbox
	var clients [3]*Client
	for i := range ins {
		id := fmt.Sprintf("push/%d/1", i)
		clients[i] = b.client(id, &ins[i])
		if i < 2 { // the third one stays silent
			ins[i].onQuery = func(q worker.BusQuery) {
				clients[i].Answer(q.Reply, worker.Answer{Worker: id, Data: json.RawMessage(`"` + q.What + `"`)})
			}
		}
	}
	b.client("api", nil) // is not asked
	for round := range 2 {
		got := make(chan []worker.Answer, 1)
		if err := clients[0].Ask(worker.BusQuery{What: "stats"}, 2*time.Second, func(a []worker.Answer) { got <- a }); err != nil {
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
	clients[0].asker.mu.Lock()
	defer clients[0].asker.mu.Unlock()
	if n := len(clients[0].asker.open); n != 0 {
		t.Errorf("%d questions are still open", n)
	}
}

func TestAskOfAnAbsentBroker(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	c := b.client("push/0/1", &in)
	b.kill()
	called := func([]worker.Answer) { t.Error("answers of nobody") }
	testkit.Eventually(t, "an error", func() bool { return c.Ask(worker.BusQuery{What: "stats"}, time.Hour, called) != nil })
}
