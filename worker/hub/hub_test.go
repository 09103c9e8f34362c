package hub

import (
	"fmt"
	"math/rand"
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
			set[c.id] = true
		case op < 19:
			if got, want := h.Leave(Channel, name, c), set[c.id]; got != want {
				t.Fatalf("Leave(%s, %d) = %v, want %v", name, c.id, got, want)
			}
			delete(set, c.id)
		default:
			h.LeaveAll(c)
			for _, s := range model {
				delete(s, c.id)
			}
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
			if at := c.list[c.list.find(Channel, name)].at; int(at) != i {
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
	if h.Len(Channel)+h.Len(UID) != 0 || c.list != nil {
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
