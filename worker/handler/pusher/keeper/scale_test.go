package keeper

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// traffic counts what nodes have sent to each other.
type traffic struct{ signs, signBytes, words, wordBytes int }

func (a traffic) minus(b traffic) traffic {
	return traffic{a.signs - b.signs, a.signBytes - b.signBytes, a.words - b.words, a.wordBytes - b.wordBytes}
}

// TestCostOfNodes measures what docs/scale.md says: deliveries and bytes between
// nodes, for 2 to 8 of them with two workers each. Run it with -v for the table.
func TestCostOfNodes(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.MaxPresenceMembers = "a", 0
	for _, n := range []int{2, 4, 8} {
		m := newMesh(t, 1, n, a)
		m.run(5 * time.Second)
		before := m.sent
		m.run(10 * time.Second)
		idle := m.sent.minus(before)

		// 20 users, each 100 ms after the one before, come to a room with members
		// on all nodes.
		for i, node := range m.nodes {
			node.connect(node.procs[0], fmt.Sprint("resident", i)).subscribe("a:presence-x")
		}
		m.run(2 * time.Second)
		before = m.sent
		for i := range 20 {
			node := m.nodes[0]
			node.connect(node.procs[i%2], fmt.Sprintf("user-%05d", i)).subscribe("a:presence-x")
			m.run(100 * time.Millisecond)
		}
		slow := m.sent.minus(before)

		// 160 at once, on all nodes.
		before = m.sent
		for i := range 160 {
			node := m.nodes[i%n]
			node.connect(node.procs[i/n%2], fmt.Sprintf("crowd-%05d", i)).subscribe("a:presence-x")
		}
		m.run(time.Second)
		crowd := m.sent.minus(before)

		// A node comes back and asks for all lists.
		m.cut(m.nodes[n-1], false)
		m.run(6 * time.Second)
		m.heal()
		before = m.sent
		m.run(700 * time.Millisecond)
		heal := m.sent.minus(before)
		pairs := n * (n - 1)
		t.Logf("%d nodes: idle %.1f signs/s of %d B; a join %.2f words of %d B; 160 joins at once %d words, %d B per join and node; a heal %d B",
			n, float64(idle.signs)/10, idle.signBytes/idle.signs, float64(slow.words)/20, slow.wordBytes/slow.words,
			crowd.words, crowd.wordBytes/(160*(n-1)), heal.wordBytes)
		if idle.words != 0 || idle.signs != 20*pairs {
			t.Errorf("%d nodes at rest: %+v, want %d signs and nothing else", n, idle, 20*pairs)
		}
		if slow.words != 20*(n-1) {
			t.Errorf("%d nodes: 20 joins are %d words, want %d", n, slow.words, 20*(n-1))
		}
		if crowd.words > 4*pairs {
			t.Errorf("%d nodes: 160 joins at once are %d words, want one for each pair of nodes and 25 ms", n, crowd.words)
		}
	}
}

// size is the length of a sign of life on the bus.
func size(v any) int {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return len(raw)
}

// TestMirrorBytes: what a user of another node costs this one.
func TestMirrorBytes(t *testing.T) {
	m := newMesh(t, 1, 1)
	k := m.nodes[0].keeper
	p := k.mirror.peer("n2")
	const users = 100_000
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for i := range users {
		k.grant(p, k.room(fmt.Sprint("a:presence-", i%1000)), wire.Member{ID: fmt.Sprintf("user-%06d", i)}, false)
	}
	each := (heap() - before) / users
	t.Logf("%d B for a user of another node in a room", each)
	if each > 300 {
		t.Errorf("a user of another node costs %d B", each)
	}
	runtime.KeepAlive(k)
}
