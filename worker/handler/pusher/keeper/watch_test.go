package keeper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// TestWatchlistsOutliveTheKeeper: users sign in and leave before a keeper ends, while
// there is none and while the next one settles, and worker processes are replaced with it.
// What each watcher was told last is what is so; where keepers are replaced it is told of
// each change once.
func TestWatchlistsOutliveTheKeeper(t *testing.T) {
	for seed := range schedules(30, 1500) {
		for _, killed := range []bool{false, true} {
			for _, nodes := range []int{1, 3} {
				t.Run(fmt.Sprintf("%d nodes killed=%v %d", nodes, killed, seed), func(t *testing.T) { watchlistsOutlive(t, seed, nodes, killed) })
			}
		}
	}
}

func watchlistsOutlive(t *testing.T, seed int64, nodes int, killed bool) {
	m := &mesh{simClock: newClock(t, seed), back: map[key]bool{}, alone: nodes == 1}
	m.exact = !killed
	for i := range nodes {
		m.add(fmt.Sprint("n", i+1))
	}
	m.run(2 * time.Second)
	for range 5 {
		m.signings(15)
		m.run(time.Duration(m.rng.Intn(2000)) * time.Millisecond)
		n := m.some()
		if killed {
			n.killKeeper()
			m.signings(6)
			n.boot(true)
		} else {
			n.swap(func() { m.signings(6) })
		}
		m.signings(m.rng.Intn(10))
		for _, p := range slices.Clone(n.procs) {
			if !killed && m.rng.Intn(3) == 0 {
				n.reload(p, func() { m.signings(1) })
			}
		}
		m.signings(m.rng.Intn(10))
		m.run(12 * time.Second)
		m.checkWatchers()
	}
}

// signings lets clients sign in, most of which watch somebody, and leave.
func (m *mesh) signings(n int) {
	for range n {
		s := m.some()
		open := slices.DeleteFunc(slices.Clone(s.conns), func(c *conn) bool { return c.proc == nil || c.proc.retiring })
		if p := s.procs[m.rng.Intn(len(s.procs))]; (len(open) < 3 || m.rng.Intn(2) == 0) && !p.retiring {
			var watch []string
			for i := range m.rng.Intn(4) {
				watch = append(watch, fmt.Sprint("u", (i+m.born)%6))
			}
			s.connect(p, fmt.Sprint("u", m.rng.Intn(6))).signin(watch)
		} else if len(open) > 0 {
			anyOf(m.rng, open).close()
		}
		for range m.rng.Intn(6) {
			m.step()
		}
		m.run(time.Duration(m.rng.Intn(40)) * time.Millisecond)
	}
}

func (c *conn) signin(watch []string) {
	c.proc.s.note("%s signs in at %s as %s, watches %v", c.id, c.proc.from, c.user, watch)
	c.signed, c.watch = true, watch
	c.proc.client.Signin(c.id, Name("a", c.user), watch)
}

// sighted takes in an event of a watchlist.
func (c *conn) sighted(raw []byte) {
	var m struct {
		Events []wire.Watch `json:"events"`
	}
	if parse(raw, &m) != "pusher_internal:watchlist_events" || !c.signed {
		return
	}
	s, first := c.proc.s, c.sees == nil
	if first {
		c.sees = map[string]bool{}
	}
	for _, e := range m.Events {
		for _, id := range e.UserIDs {
			if !first && s.mesh.mesh.exact && c.sees[id] == (e.Name == "online") {
				s.fail("%s is told that %s is %s, which is no news", c.id, id, e.Name)
			}
			c.sees[id] = e.Name == "online"
		}
	}
}

// checkWatchers compares what the watchers were told with what is so.
func (m *mesh) checkWatchers() {
	m.t.Helper()
	there := map[string]bool{}
	for _, n := range m.nodes {
		for _, c := range n.conns {
			there[c.user] = there[c.user] || c.proc != nil && c.signed
		}
	}
	for _, n := range m.nodes {
		for _, c := range n.conns {
			for _, id := range c.watch {
				if is, told := c.sees[id]; c.proc != nil && (!told || is != there[id]) {
					n.fail("%s of %s believes %v of %s (told: %v), it is %v", c.id, n.name, is, id, told, there[id])
				}
			}
		}
	}
}
