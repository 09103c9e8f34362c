package sequencer

import (
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
)

// TestOneLastEventOnAllNodes: events of several publishers come to each node in another
// order, and the same one is left on all; whoever is a member gets each of them.
func TestOneLastEventOnAllNodes(t *testing.T) {
	now := time.Now()
	var nodes []*process
	for _, name := range []string{"a", "b"} {
		p := beginWith(t, "", storeMemory, []string{"1"}, channel.CacheRules([]string{"1"})...)
		p.env.Node, p.env.Now = name, func() time.Time { return now }
		nodes = append(nodes, p)
	}
	event := func(publisher uint64, at time.Time, text string) *worker.Publication {
		return &worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "1:cache-x",
			Publisher: publisher, Seq: uint64(at.UnixMicro()), Data: []byte(text), Reply: text}
	}
	both := func(what, want string, first, second *worker.Publication) {
		t.Helper()
		for i, order := range [][]*worker.Publication{{first, second}, {second, first}} {
			p := nodes[i]
			p.out = nil
			for _, e := range order {
				p.Order(e)
			}
			p.want("1:cache-x", history.Position{Epoch: history.Stranger, Offset: 1}, want)
			if len(p.out) != 2 || p.answers[string(first.Data)].Position.Offset == 0 || p.answers[string(second.Data)].Position.Offset == 0 {
				t.Errorf("%s: node %s has published %d events, answers %v", what, p.env.Node, len(p.out), p.answers)
			}
		}
	}
	both("one after the other", "two", event(9, now, "one"), event(1, now.Add(time.Millisecond), "two"))
	both("in the same moment", "four", event(1, now.Add(2*time.Millisecond), "three"), event(2, now.Add(2*time.Millisecond), "four"))

	now = now.Add(3 * skew)
	for _, p := range nodes {
		p.moments.forget(now, 0)
		if len(p.moments) != 0 {
			t.Errorf("node %s remembers %v", p.env.Node, p.moments)
		}
		for _, far := range []time.Duration{-time.Hour, time.Hour, -time.Hour} { // of clocks that are wrong
			now = now.Add(3 * skew)
			text := now.Add(far).String()
			p.Order(event(3, now.Add(far), text))
			p.want("1:cache-x", history.Position{Epoch: history.Stranger, Offset: 1}, text)
		}
		old := event(4, now, "of a version before")
		old.Seq = 1
		p.Order(old)
		p.want("1:cache-x", history.Position{Epoch: history.Stranger, Offset: 1}, "of a version before")
	}
}

// TestLastEventWhateverTheClock: what was published before the clock was set back is
// not for that newer than all that comes after it.
func TestLastEventWhateverTheClock(t *testing.T) {
	now := time.Now()
	p := beginWith(t, "", storeMemory, []string{"1"}, channel.CacheRules([]string{"1"})...)
	p.env.Node, p.env.Now = "a", func() time.Time { return now }
	for i, leap := range []time.Duration{0, -time.Hour, time.Hour, -24 * time.Hour, 30 * 24 * time.Hour} {
		now = now.Add(leap + time.Millisecond)
		text := leap.String()
		p.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "1:cache-x",
			Publisher: uint64(9 - i), Seq: uint64(now.UnixMicro()), Data: []byte(text), Reply: text})
		p.want("1:cache-x", history.Position{Epoch: history.Stranger, Offset: 1}, text)
	}
	now = now.Add(-time.Hour)
	if p.moments.forget(now, 0); len(p.moments) != 0 {
		t.Errorf("remembered after the clock was set back: %v", p.moments)
	}
}
