package hub

import (
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"testing"
)

type conn struct {
	id   int
	list List[*conn]
}

func (c *conn) Memberships() *List[*conn] { return &c.list }

// TestAgainstModel compares the hub with a map of sets under random joins and
// leaves.
func TestAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	h := New[*conn]()
	model := map[string]map[int]bool{}
	conns := make([]*conn, 50)
	for i := range conns {
		conns[i] = &conn{id: i}
	}
	var wantNames [50][]string // in the order of joining
	for range 20_000 {
		c := conns[rng.Intn(len(conns))]
		name := fmt.Sprint("ch", rng.Intn(12))
		set := model[name]
		switch op := rng.Intn(20); {
		case op < 10:
			if got, want := h.Join(Channel, name, c), !set[c.id]; got != want {
				t.Fatalf("Join(%s, %d) = %v, want %v", name, c.id, got, want)
			}
			if set == nil {
				set = map[int]bool{}
				model[name] = set
			}
			if !set[c.id] {
				wantNames[c.id] = append(wantNames[c.id], name)
			}
			set[c.id] = true
		case op < 19:
			if got, want := h.Leave(Channel, name, c), set[c.id]; got != want {
				t.Fatalf("Leave(%s, %d) = %v, want %v", name, c.id, got, want)
			}
			delete(set, c.id)
			wantNames[c.id] = slices.DeleteFunc(wantNames[c.id], func(s string) bool { return s == name })
		default:
			h.LeaveAll(c)
			for _, s := range model {
				delete(s, c.id)
			}
			wantNames[c.id] = nil
		}
		if got := c.list.Names(Channel); !slices.Equal(got, wantNames[c.id]) || c.list.Len(Channel) != len(got) || c.list.Has(Channel, name) != slices.Contains(got, name) {
			t.Fatalf("connection %d is in %v, want %v", c.id, got, wantNames[c.id])
		}
		compare(t, h, model)
	}
}

func compare(t *testing.T, h *Hub[*conn], model map[string]map[int]bool) {
	t.Helper()
	names := 0
	for name, set := range model {
		g := h.Group(Channel, name)
		if len(set) == 0 {
			if g != nil {
				t.Fatalf("%s is empty but still there", name)
			}
			continue
		}
		names++
		var got []int
		for i, c := range g.Members() {
			got = append(got, c.id)
			if at := c.list.find(g).at; int(at) != i {
				t.Fatalf("%s: member %d thinks it is at %d, is at %d", name, c.id, at, i)
			}
		}
		var want []int
		for id := range set {
			want = append(want, id)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s has %v, want %v", name, got, want)
		}
	}
	if h.Len(Channel) != names {
		t.Fatalf("hub has %d names, want %d", h.Len(Channel), names)
	}
}

func TestKindsAreApart(t *testing.T) {
	h := New[*conn]()
	c := &conn{}
	h.Join(Channel, "42", c)
	if h.Group(UID, "42") != nil {
		t.Fatal("joining a channel bound a uid")
	}
	h.Join(UID, "42", c)
	if got := c.list.Names(Channel); !slices.Equal(got, []string{"42"}) {
		t.Fatalf("channels = %v", got)
	}
	h.LeaveAll(c)
	if h.Len(Channel)+h.Len(UID) != 0 || c.list.len() != 0 {
		t.Fatal("LeaveAll left something")
	}
}

func TestGroupGivesMemoryBack(t *testing.T) {
	h := New[*conn]()
	conns := make([]*conn, 10_000)
	for i := range conns {
		conns[i] = &conn{id: i}
		h.Join(Channel, "all", conns[i])
	}
	for _, c := range conns[10:] {
		h.LeaveAll(c)
	}
	if g := h.Group(Channel, "all"); cap(g.Members()) > 128 || len(g.Members()) != 10 {
		t.Fatalf("10 members left in a slice of %d", cap(g.Members()))
	}
}

// TestManyNames grows and shrinks every part of the table.
func TestManyNames(t *testing.T) {
	h, c := New[*conn](), &conn{}
	other := &conn{}
	const n = 20_000
	name := func(i int) string { return fmt.Sprint("private-user-", i) }
	for i := range n {
		h.Join(Channel, name(i), c)
		h.Join(UID, name(i), other)
		h.Leave(UID, name(i), other)
	}
	seen := map[string]bool{}
	h.Groups(Channel, func(g *Group[*conn]) bool { seen[g.Name()] = true; return true })
	for i := range n {
		if g := h.Group(Channel, name(i)); g == nil || !seen[name(i)] || g.Members()[0] != c {
			t.Fatalf("%s is not there", name(i))
		}
	}
	if h.Len(Channel) != n || len(seen) != n || h.Len(UID) != 0 {
		t.Fatalf("%d channels, %d seen, %d uids", h.Len(Channel), len(seen), h.Len(UID))
	}
	h.LeaveAll(c)
	places := 0
	for i := range h.groups.parts {
		places += len(h.groups.parts[i].places)
	}
	if h.Len(Channel) != 0 || h.Group(Channel, name(1)) != nil || places > 64*parts {
		t.Fatalf("%d channels are left, in %d places", h.Len(Channel), places)
	}
}

// TestMembershipBytes is the budget of a million channels with one member each,
// counted: a channel's name, the group, its place in the table and what the
// member holds. It does not depend on the machine.
func TestMembershipBytes(t *testing.T) {
	const budget, channels, perConn = 140, 200_000, 67
	h := New[*conn]()
	conns := make([]conn, channels/perConn+1)
	before := liveHeap()
	for i := range channels {
		h.Join(Channel, fmt.Sprintf("private-user-%012d", i), &conns[i/perConn])
	}
	per := (liveHeap() - before) / channels
	t.Logf("%d B a membership, its name of 25 B included; budget %d", per, budget)
	if per > budget {
		t.Errorf("%d B a membership, budget %d", per, budget)
	}
	runtime.KeepAlive(h)
	runtime.KeepAlive(conns)
}

// TestLargeChannelBytes is the budget of one channel with very many members: its
// slice has room to grow, a member holds nothing beside its own place.
func TestLargeChannelBytes(t *testing.T) {
	const budget, members = 11, 100_000
	h := New[*conn]()
	conns := make([]conn, members)
	before := liveHeap()
	for i := range conns {
		h.Join(Channel, "all", &conns[i])
	}
	per := (liveHeap() - before) / members
	t.Logf("%d B a member, budget %d", per, budget)
	if per > budget {
		t.Errorf("%d B a member, budget %d", per, budget)
	}
	runtime.KeepAlive(h)
	runtime.KeepAlive(conns)
}

func liveHeap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func BenchmarkMillionChannels(b *testing.B) {
	b.ReportAllocs()
	h := New[*conn]()
	conns := make([]*conn, 15_000)
	for i := range conns {
		conns[i] = &conn{}
	}
	for i := range b.N {
		h.Join(Channel, fmt.Sprintf("user-%d", i), conns[i%len(conns)])
	}
}
