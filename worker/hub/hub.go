// Package hub knows which local connections belong to which name: channels and
// user ids. Plain maps and slices, owned by the loop's goroutine; no locks.
package hub

// Kind keeps the two sorts of names apart.
type Kind uint8

const (
	Channel Kind = iota // joined by callbacks or by the API
	UID                 // bound: one per connection
	kinds
)

// Member is a connection as the hub sees it: comparable, and with a place for
// its memberships.
type Member[M any] interface {
	comparable
	Memberships() *List[M]
}

// List holds the memberships of one connection. The zero value is empty.
type List[M any] []slot[M]

// slot says that the connection is group.members[at].
type slot[M any] struct {
	group *Group[M]
	at    uint32
}

// Group is the set of local members of one name.
type Group[M any] struct {
	name    string
	members []M
	kind    Kind
	// Removed counts removals, so that a fan-out which pauses between chunks
	// knows whether its snapshot still holds only members.
	removed uint32
}

// Name returns the group's name.
func (g *Group[M]) Name() string { return g.name }

// Members returns the group's own slice: valid until the next join or leave.
func (g *Group[M]) Members() []M { return g.members }

// Removed counts the members that have left so far.
func (g *Group[M]) Removed() uint32 { return g.removed }

// Hub maps names to their members. Create one with New.
type Hub[M Member[M]] struct {
	groups [kinds]map[string]*Group[M]
}

// New returns an empty hub.
func New[M Member[M]]() *Hub[M] {
	h := &Hub[M]{}
	for k := range h.groups {
		h.groups[k] = map[string]*Group[M]{}
	}
	return h
}

// Group returns the group of that name, or nil when nobody is in it.
func (h *Hub[M]) Group(k Kind, name string) *Group[M] { return h.groups[k][name] }

// Groups calls visit for every group until it returns false, in no order.
func (h *Hub[M]) Groups(k Kind, visit func(*Group[M]) bool) {
	for _, g := range h.groups[k] {
		if !visit(g) {
			return
		}
	}
}

// Len returns how many names have members.
func (h *Hub[M]) Len(k Kind) int { return len(h.groups[k]) }

// Join makes m a member of name and reports whether it was not one before.
func (h *Hub[M]) Join(k Kind, name string, m M) bool {
	list := m.Memberships()
	if list.find(k, name) >= 0 {
		return false
	}
	g := h.groups[k][name]
	if g == nil {
		g = &Group[M]{name: name, kind: k}
		h.groups[k][name] = g
	}
	*list = append(*list, slot[M]{group: g, at: uint32(len(g.members))})
	g.members = append(g.members, m)
	return true
}

// Leave ends m's membership of name and reports whether there was one.
func (h *Hub[M]) Leave(k Kind, name string, m M) bool {
	list := m.Memberships()
	i := list.find(k, name)
	if i < 0 {
		return false
	}
	h.drop((*list)[i])
	*list = append((*list)[:i], (*list)[i+1:]...)
	if len(*list) == 0 {
		*list = nil // an idle connection holds no spare memory
	}
	return true
}

// LeaveAll ends all of m's memberships.
func (h *Hub[M]) LeaveAll(m M) {
	list := m.Memberships()
	for _, s := range *list {
		h.drop(s)
	}
	*list = nil
}

// drop takes the member at s out of its group by moving the last one there.
func (h *Hub[M]) drop(s slot[M]) {
	g := s.group
	g.removed++
	last := len(g.members) - 1
	if int(s.at) != last {
		moved := g.members[last]
		g.members[s.at] = moved
		list := *moved.Memberships()
		for i := range list {
			if list[i].group == g {
				list[i].at = s.at
				break
			}
		}
	}
	var none M
	g.members[last] = none
	g.members = g.members[:last]
	switch {
	case last == 0:
		delete(h.groups[g.kind], g.name)
	case cap(g.members) > 64 && last < cap(g.members)/4:
		g.members = append(make([]M, 0, 2*last), g.members...)
	}
}

// find returns the index of the membership, or -1. A connection is in few
// groups, so a scan beats a map in time and bytes.
func (l List[M]) find(k Kind, name string) int {
	for i := range l {
		if l[i].group.kind == k && l[i].group.name == name {
			return i
		}
	}
	return -1
}

// Has reports whether the connection belongs to name.
func (l List[M]) Has(k Kind, name string) bool { return l.find(k, name) >= 0 }

// In reports whether the connection belongs to g.
func (l List[M]) In(g *Group[M]) bool {
	for i := range l {
		if l[i].group == g {
			return true
		}
	}
	return false
}

// Names returns the names of one kind, in the order of joining.
func (l List[M]) Names(k Kind) []string {
	names := make([]string, 0, len(l))
	for i := range l {
		if l[i].group.kind == k {
			names = append(names, l[i].group.name)
		}
	}
	return names
}

// Len returns how many groups of one kind there are.
func (l List[M]) Len(k Kind) (n int) {
	for i := range l {
		if l[i].group.kind == k {
			n++
		}
	}
	return n
}

// First returns the first name of one kind, "" if there is none.
func (l List[M]) First(k Kind) string {
	for i := range l {
		if l[i].group.kind == k {
			return l[i].group.name
		}
	}
	return ""
}
