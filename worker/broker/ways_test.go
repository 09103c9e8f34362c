package broker

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/worker"
)

// TestInOrder: what is published at once is what comes to every worker in its order.
func TestInOrder(t *testing.T) {
	kinds := map[string][]worker.Publication{
		"bus":   {*message("room", "x"), {Kind: worker.KindKick, Scope: worker.ScopeConn, Target: "h.1"}},
		"past":  {*message("h.room", "x")},
		"key":   {{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room", Order: &worker.Order{Key: "k"}}},
		"mixed": {*message("h.room", "x"), *message("room", "x")},
		"none":  {},
	}
	for _, o := range []Options{{Path: "/none"}, {URL: "nats://127.0.0.1:1"}, {URL: "nats://127.0.0.1:1", SharedHistory: true}} {
		o.Ordered, o.Logger = func(channel string) bool { return strings.HasPrefix(channel, "h.") }, quiet()
		c, err := NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		alone := o.URL == ""
		for _, row := range []struct {
			lists  string
			alone  int // of a server of its own
			shared int
		}{
			{"", 0, 0}, {"bus bus none bus", 4, 4}, {"past none past", 3, 3}, {"key key", 2, 2},
			{"past bus", 1, 1}, {"past none bus", 2, 2}, {"key bus", 1, 1}, {"mixed bus", 1, 1}, {"mixed mixed", 1, 1},
			{"none bus past past", 4, 2}, {"bus past bus", 2, 1}, {"past key", 2, 1}, {"key past", 2, 1}, {"bus mixed", 2, 1},
		} {
			var lists [][]worker.Publication
			for _, kind := range strings.Fields(row.lists) {
				lists = append(lists, kinds[kind])
			}
			want := row.shared
			if alone {
				want = row.alone
			}
			if n := c.InOrder(lists); n != want {
				t.Errorf("%s, alone %v, shared history %v: %d at once, want %d", row.lists, alone, o.SharedHistory, n, want)
			}
		}
		c.Close()
	}
}
