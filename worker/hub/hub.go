// Package hub knows which local connections belong to which name: channels and
// user ids. Plain tables and slices, owned by the loop's goroutine; no locks.
//
// It is made for a million names of one member each as for one name of a
// hundred thousand: a membership costs the member 16 bytes, the name 8, and a
// name without a second member about 100 and its text.
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

// Group is the set of local members of one name.
type Group[M any] struct {
	name    string
	members []M
	key     uint32 // hash and kind, see table
	// removed counts removals, so that a fan-out which pauses between chunks
	// knows whether its snapshot still holds only members.
	removed uint32
}

// Name returns the group's name.
func (g *Group[M]) Name() string { return g.name }

// Members returns the group's own slice: valid until the next join or leave.
func (g *Group[M]) Members() []M { return g.members }

// Removed counts the members that have left so far.
func (g *Group[M]) Removed() uint32 { return g.removed }

func (g *Group[M]) kind() Kind { return Kind(g.key & kindMask) }

// Hub maps names to their members. Create one with New.
type Hub[M Member[M]] struct {
	groups table[M]
	names  [kinds]int // that have members
}

// New returns an empty hub.
func New[M Member[M]]() *Hub[M] { return &Hub[M]{} }

// Group returns the group of that name, or nil when nobody is in it.
func (h *Hub[M]) Group(k Kind, name string) *Group[M] { return h.groups.find(keyOf(k, name), name) }

// Groups calls visit for every group until it returns false, in no order. There
// must be no join or leave meanwhile.
func (h *Hub[M]) Groups(k Kind, visit func(*Group[M]) bool) {
	h.groups.each(func(g *Group[M]) bool { return g.kind() != k || visit(g) })
}

// Len returns how many names have members.
func (h *Hub[M]) Len(k Kind) int { return h.names[k] }

// Join makes m a member of name and reports whether it was not one before.
func (h *Hub[M]) Join(k Kind, name string, m M) bool {
	key, list := keyOf(k, name), m.Memberships()
	g := h.groups.find(key, name)
	switch {
	case g == nil:
		g = &Group[M]{name: name, key: key, members: make([]M, 0, 1)}
		h.groups.add(g)
		h.names[k]++
	case has(g, m):
		return false
	}
	list.add(slot[M]{group: g, at: uint32(len(g.members))})
	g.members = append(g.members, m)
	return true
}

// has looks through the members or the memberships, whichever are fewer.
func has[M Member[M]](g *Group[M], m M) bool {
	if list := m.Memberships(); list.len() <= len(g.members) {
		return list.In(g)
	}
	for _, other := range g.members {
		if other == m {
			return true
		}
	}
	return false
}

// Leave ends m's membership of name and reports whether there was one.
func (h *Hub[M]) Leave(k Kind, name string, m M) bool {
	list := m.Memberships()
	g := h.Group(k, name)
	if g == nil || !has(g, m) {
		return false
	}
	h.drop(list.remove(g))
	return true
}

// LeaveAll ends all of m's memberships.
func (h *Hub[M]) LeaveAll(m M) {
	list := m.Memberships()
	for i := range list.len() {
		h.drop(*list.slot(i))
	}
	*list = List[M]{}
}

// drop takes the member at s out of its group by moving the last one there.
func (h *Hub[M]) drop(s slot[M]) {
	g := s.group
	g.removed++
	last := len(g.members) - 1
	if int(s.at) != last {
		moved := g.members[last]
		g.members[s.at] = moved
		moved.Memberships().find(g).at = s.at
	}
	var none M
	g.members[last] = none
	g.members = g.members[:last]
	switch {
	case last == 0:
		h.groups.remove(g)
		h.names[g.kind()]--
	case cap(g.members) > 64 && last < cap(g.members)/4:
		g.members = append(make([]M, 0, 2*last), g.members...)
	}
}
