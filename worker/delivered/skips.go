package delivered

import (
	"maps"

	"github.com/pushd/pushd/worker/bus"
)

// Skips says which publications connections have had in the process that they
// came from, and will not get a second time when those arrive here. Batches that
// moved in a calm moment stood at the same vector: that is kept once, and costs
// their connections nothing. Who is in it the connections know themselves, by a bit:
// only these may be asked for.
type Skips[C comparable] struct {
	at    []Vector  // each unlike the one before
	other map[C]int // place in at of those that are not at the first
	conns int
}

// Add notes that conns stood at v, and returns the copy that is kept.
func (s *Skips[C]) Add(conns []C, v Vector) Vector {
	if n := len(s.at); n == 0 || !maps.Equal(s.at[n-1], v) {
		s.at = append(s.at, maps.Clone(v))
	}
	if last := len(s.at) - 1; last > 0 {
		if s.other == nil {
			s.other = map[C]int{}
		}
		for _, c := range conns {
			s.other[c] = last
		}
	}
	s.conns += len(conns)
	return s.at[len(s.at)-1]
}

// Of returns where c, which Add has noted, stood.
func (s *Skips[C]) Of(c C) Vector { return s.at[s.other[c]] }

// Has reports whether c, which Add has noted, has had p.
func (s *Skips[C]) Has(c C, p *bus.Publication) bool { return s.Of(c).Has(p) }

// Len returns how many are noted.
func (s *Skips[C]) Len() int { return s.conns }

// Cost returns how many vectors and connections are kept beside Len.
func (s *Skips[C]) Cost() (vectors, conns int) { return len(s.at), len(s.other) }

// Drop ends what Add began for conns. With the last of them all memory goes.
func (s *Skips[C]) Drop(conns []C) {
	for _, c := range conns {
		delete(s.other, c)
	}
	if s.conns -= len(conns); s.conns == 0 {
		*s = Skips[C]{}
	}
}
