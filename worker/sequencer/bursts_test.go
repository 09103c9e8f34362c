package sequencer_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// burst publishes n messages at once.
func (l *ledger) burst(t *testing.T, s *pushdtest.Server, channel string, n int) {
	t.Helper()
	var items []any
	l.mu.Lock()
	for range n {
		l.number++
		items = append(items, map[string]any{"op": "publish", "channel": channel, "data": strconv.Itoa(l.number)})
	}
	l.mu.Unlock()
	if status, answer := s.Post("/v1/batch", map[string]any{"items": items}); status != 200 || strings.Contains(fmt.Sprint(answer), "error") {
		t.Fatalf("%d %v", status, answer)
	}
}

// TestNoLiesOfBursts: a burst of more messages than a channel keeps reaches everybody
// on each node, and who is on a node that stood still meanwhile is told that he has
// missed some.
func TestNoLiesOfBursts(t *testing.T) {
	list, _ := nodesOf(t, "jetstream", "history = 3", "PUSHD_WATCHDOG=0") // which would end the one that stands still
	const channel = "room0"
	l := &ledger{doubt: map[int]bool{}}
	var readers []*reader
	ends := make(chan error, 4)
	for i := range 4 {
		r := &reader{
			t: t, servers: []*pushdtest.Server{list[i%2].Server}, ledgers: map[string]*ledger{channel: l},
			at: map[string]string{channel: ""}, last: map[string]int{channel: -1}, owed: map[string]int{}, joined: map[string]string{},
			ended: map[string]bool{}, drop: make(chan struct{}, 1),
		}
		readers = append(readers, r)
		go func() { ends <- r.run() }()
	}
	pushdtest.Eventually(t, "all are there", func() bool {
		l.number++
		_, answer := list[0].Post("/v1/publish", map[string]any{"channel": channel, "data": strconv.Itoa(l.number)})
		return answer["reached"] == 4.0
	})
	for range 10 {
		l.burst(t, list[0].Server, channel, 100)
	}
	for i := range list {
		l.burst(t, list[i].Server, channel, 100)
	}
	broker := list[1].Status().Broker.PID
	pushdtest.Freeze(t, broker)
	for range 20 {
		l.burst(t, list[0].Server, channel, 100)
	}
	_ = syscall.Kill(broker, syscall.SIGCONT)
	over := 0
	pushdtest.Eventually(t, "everybody has come to the end", func() bool {
		tryPublish(list[0].Server, channel, endText)
		for {
			select {
			case err := <-ends:
				if over++; err != nil {
					t.Error(err)
				}
			default:
				return over == len(readers)
			}
		}
	})
	for i, r := range readers {
		t.Logf("node %d: %d told, %d returns, %d recovered", i%2, r.told, r.returns, r.recovered)
		if i%2 == 1 && r.told == 0 {
			t.Error("who was behind the process that stood still was told nothing")
		}
	}
}
