package hub

import "strings"

// List holds the memberships of one connection, in the order of joining. The
// zero value is empty. Most connections are in one group or in none, so the
// first needs no memory of its own.
type List[M any] struct {
	first slot[M]
	rest  *[]slot[M] // nil: no more than the first
}

// slot says that the connection is group.members[at].
type slot[M any] struct {
	group *Group[M] // nil: none
	at    uint32
}

// len returns how many memberships there are.
func (l *List[M]) len() int {
	switch {
	case l.first.group == nil:
		return 0
	case l.rest == nil:
		return 1
	}
	return 1 + len(*l.rest)
}

// slot returns membership i.
func (l *List[M]) slot(i int) *slot[M] {
	if i == 0 {
		return &l.first
	}
	return &(*l.rest)[i-1]
}

func (l *List[M]) add(s slot[M]) {
	switch {
	case l.first.group == nil:
		l.first = s
	case l.rest == nil:
		l.rest = &[]slot[M]{s}
	default:
		*l.rest = append(*l.rest, s)
	}
}

// find returns the membership of g, nil if there is none. It takes a moment for
// each; a connection is in few groups, and comparing pointers is quick.
func (l *List[M]) find(g *Group[M]) *slot[M] {
	for i := range l.len() {
		if s := l.slot(i); s.group == g {
			return s
		}
	}
	return nil
}

// remove takes the membership of g out, which must be there.
func (l *List[M]) remove(g *Group[M]) slot[M] {
	gone := *l.find(g)
	n := l.len()
	found := false
	for i := range n - 1 {
		found = found || l.slot(i).group == g
		if found {
			*l.slot(i) = *l.slot(i + 1)
		}
	}
	*l.slot(n - 1) = slot[M]{}
	switch {
	case n == 2:
		l.rest = nil // an idle connection holds no spare memory
	case n > 2:
		*l.rest = (*l.rest)[:n-2]
	}
	return gone
}

// Has reports whether the connection belongs to name.
func (l *List[M]) Has(k Kind, name string) bool {
	for i := range l.len() {
		if g := l.slot(i).group; g.kind() == k && g.name == name {
			return true
		}
	}
	return false
}

// In reports whether the connection belongs to g.
func (l *List[M]) In(g *Group[M]) bool { return l.find(g) != nil }

// Names returns the names of one kind, in the order of joining.
func (l *List[M]) Names(k Kind) []string {
	names := make([]string, 0, l.len())
	for i := range l.len() {
		if g := l.slot(i).group; g.kind() == k {
			names = append(names, g.name)
		}
	}
	return names
}

// Len returns how many groups of one kind there are.
func (l *List[M]) Len(k Kind) (n int) {
	for i := range l.len() {
		if l.slot(i).group.kind() == k {
			n++
		}
	}
	return n
}

// First returns the first name of one kind that begins with prefix, "" if there
// is none.
func (l *List[M]) First(k Kind, prefix string) string {
	for i := range l.len() {
		if g := l.slot(i).group; g.kind() == k && strings.HasPrefix(g.name, prefix) {
			return g.name
		}
	}
	return ""
}
