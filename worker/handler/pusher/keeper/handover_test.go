package keeper

import (
	"slices"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// TestCountIsOfTheHub: however often and in what order callbacks tell of a
// channel, its count is the number of connections in it.
func TestCountIsOfTheHub(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.SubscriptionCount = "a", true
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	p.count("a:x", 1)      // OnService …
	p.client.Count("a:x")  // … and OnResume
	p.client.Count("a:no") // OnClose of one that has not been resumed
	s.run(time.Second)
	if len(s.keeper.counts.channels) != 1 || s.keeper.counts.channels["a:x"].n != 1 {
		t.Errorf("counted %v", s.keeper.counts.channels)
	}
	p.count("a:x", -1)
	s.run(time.Second)
	if !slices.Contains(s.hooked, "a:channel_vacated:x::0") || len(s.keeper.counts.channels) != 0 {
		t.Errorf("hooks %v", s.hooked)
	}
}

// TestPendingJoinHasMoved: a join that another process has taken along is not
// told again by the one that it came from.
func TestPendingJoinHasMoved(t *testing.T) {
	s := newSim(t, 1)
	p, q := s.start(0, 1), s.start(1, 1)
	witness := s.connect(q, "w")
	witness.subscribe("a:presence-x")
	s.run(time.Second)
	c := s.connect(p, "u")
	c.subscribe("a:presence-x")
	p.turn[0]()
	p.turn = nil
	for _, word := range p.words { // the keeper knows, the answer is on its way
		word()
	}
	p.words = nil
	next := s.start(0, 2)
	c.proc = next
	next.client.Join(c.id, "a:presence-x", wire.Member{ID: "u"})
	s.run(tellAgain + time.Second) // p still waits for a deferred answer
	s.end(p)
	s.calm()
}

// TestReloadFails: the new process dies with what it has taken, the old one
// goes on with the rest.
func TestReloadFails(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.SubscriptionCount = "a", true
	s := newSim(t, 1, a)
	p, q := s.start(0, 1), s.start(1, 1)
	witness, stays, gone := s.connect(q, "w"), s.connect(p, "s"), s.connect(p, "g")
	for _, c := range []*conn{witness, stays, gone} {
		c.subscribe("a:presence-x")
	}
	p.client.Signin(gone.id, "a:g", nil)
	p.count("a:x", 2)
	s.run(time.Second)
	next := s.start(0, 2)
	gone.proc = next // its Have is never told
	p.members["a:x"]--
	s.kill(next)
	p.client.Resumed()
	s.calm()
	if n := s.keeper.counts.channels["a:x"].n; n != 1 || len(s.keeper.people.online) != 0 {
		t.Errorf("%d connections, online %v", n, s.keeper.people.online)
	}
}

// TestCountsOfAProcessThatIsGone: the connections of a worker that ends before a new
// keeper has heard of it are on their way, and nothing is told of them for a while.
func TestCountsOfAProcessThatIsGone(t *testing.T) {
	a := hookedApp()
	a.SubscriptionCount = true
	m := &mesh{simClock: newClock(t, 1), back: map[key]bool{}, alone: true}
	n := m.add("n1", a)
	m.run(2 * time.Second)
	p := n.procs[0]
	viewer := n.connect(n.procs[1], "")
	viewer.enter("a:x")
	for range 2 {
		n.connect(p, "").enter("a:x")
	}
	m.run(2 * time.Second)
	viewer.got = nil
	n.swap(func() {})
	next := n.start(p.slot, 2)
	n.end(p)
	m.run(2 * time.Second)
	next.members["a:x"]++ // the other one has left with its process
	next.client.CountBrought("a:x")
	if m.run(500 * time.Millisecond); len(viewer.got) > 0 {
		t.Errorf("told of those who are on their way: %q", viewer.got)
	}
	m.run(2 * time.Second)
	if want := string(wire.SubscriptionCount("x", 2)); !slices.Equal(viewer.got, []string{want}) {
		t.Errorf("told %q, want %s", viewer.got, want)
	}
}
