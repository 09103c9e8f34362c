package keeper

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// TestCountsOutliveTheKeeper: clients come and go before a keeper ends, while there is
// none and while the next one settles, and worker processes are replaced with it. What
// members and webhooks have heard last of a channel is what is so; of a keeper that was
// replaced they hear of each change once.
func TestCountsOutliveTheKeeper(t *testing.T) {
	for seed := range schedules(30, 1500) {
		for _, killed := range []bool{false, true} {
			for _, nodes := range []int{1, 3} {
				t.Run(fmt.Sprintf("%d nodes killed=%v %d", nodes, killed, seed), func(t *testing.T) { countsOutlive(t, seed, nodes, killed) })
			}
		}
	}
}

func countsOutlive(t *testing.T, seed int64, nodes int, killed bool) {
	a := hookedApp()
	a.SubscriptionCount = true
	m := &mesh{simClock: newClock(t, seed), back: map[key]bool{}, alone: nodes == 1}
	m.whole = !killed
	for i := range nodes {
		m.add(fmt.Sprint("n", i+1), a)
	}
	m.run(2 * time.Second)
	for range 5 {
		m.visit(20)
		m.run(time.Duration(m.rng.Intn(2000)) * time.Millisecond)
		n := m.some()
		for _, p := range slices.Clone(n.procs) {
			if m.rng.Intn(3) == 0 {
				n.reload(p, func() { m.visit(1) })
			}
		}
		if killed {
			m.run(2 * time.Second) // of what it tells in its last moment nobody knows
			n.killKeeper()
			m.visit(6)
			n.boot(true)
		} else {
			n.swap(func() { m.visit(6) })
		}
		m.visit(m.rng.Intn(10))
		if p := n.procs[0]; !killed && m.rng.Intn(3) == 0 {
			n.reload(p, func() { m.visit(1) })
		}
		m.visit(m.rng.Intn(10))
		m.run(12 * time.Second)
		m.checkCounts()
	}
	m.run(2*overdueTime + hook.Hold)
	m.checkCounts()
}

// visit lets clients come to channels without presence, and leave them.
func (m *mesh) visit(n int) {
	for range n {
		s, name := m.some(), fmt.Sprint("a:c", m.rng.Intn(4))
		open := slices.DeleteFunc(slices.Clone(s.conns), func(c *conn) bool { return c.proc == nil || c.proc.retiring })
		switch {
		case len(open) < 3 || m.rng.Intn(4) == 0:
			if p := s.procs[m.rng.Intn(len(s.procs))]; !p.retiring {
				s.connect(p, "").enter(name)
			}
		case m.rng.Intn(2) == 0:
			anyOf(m.rng, open).enter(name)
		default:
			anyOf(m.rng, open).exit(name)
		}
		for range m.rng.Intn(6) {
			m.step()
		}
		m.run(time.Duration(m.rng.Intn(40)) * time.Millisecond)
	}
}

func anyOf[T any](rng *rand.Rand, all []T) T { return all[rng.Intn(len(all))] }

// checkCounts compares what was told last of each channel with what is so.
func (m *mesh) checkCounts() {
	m.t.Helper()
	truth, heard := map[string]int{}, map[string]int{}
	for _, n := range m.nodes {
		for _, c := range n.conns {
			for name := range c.subs {
				_, channel := Split(name)
				truth[channel]++
			}
		}
	}
	for _, h := range m.hooks {
		if h.Name == "subscription_count" {
			heard[h.Channel] = h.SubscriptionCount
		}
	}
	for i := range 4 {
		channel := fmt.Sprint("c", i)
		if heard[channel] != truth[channel] {
			m.fail("webhooks heard %d of %s, there are %d", heard[channel], channel, truth[channel])
		}
		if at := (key{"", channel}); m.back[at] != (truth[channel] > 0) {
			m.fail("webhooks believe %v of %s, there are %d", m.back[at], channel, truth[channel])
		}
		for _, n := range m.nodes {
			n.checkTold(channel, truth[channel])
		}
	}
}

// checkTold compares what the members here were told last of a channel.
func (n *simNode) checkTold(channel string, want int) {
	for _, c := range n.conns {
		if c.subs["a:"+channel] == nil {
			continue
		}
		told := ""
		for _, got := range c.got {
			if strings.Contains(got, `"`+channel+`"`) {
				told = got
			}
		}
		if told != "" && told != string(wire.SubscriptionCount(channel, want)) {
			n.fail("%s was told %s, there are %d", c.id, told, want)
		}
	}
}
