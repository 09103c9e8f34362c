package worker

import (
	"maps"
	"time"

	"github.com/pushd/pushd/worker/connid"
)

// skips says which publications connections have had in the process that they
// came from, and will not get a second time when those arrive here. Batches that
// moved in a calm moment stood at the same vector: that is kept once, and costs
// their connections nothing.
type skips struct {
	at    []vector      // each unlike the one before
	other map[*Conn]int // place in at of those that are not at the first
	conns int           // that have flagSkip
}

// add notes that conns stood at v.
func (s *skips) add(conns []*Conn, v vector) {
	if n := len(s.at); n == 0 || !maps.Equal(s.at[n-1], v) {
		s.at = append(s.at, v)
	}
	last := len(s.at) - 1
	for _, c := range conns {
		c.set(flagSkip)
		if last > 0 {
			if s.other == nil {
				s.other = map[*Conn]int{}
			}
			s.other[c] = last
		}
	}
	s.conns += len(conns)
}

// has reports whether c, which has flagSkip, has had p.
func (s *skips) has(c *Conn, p *Publication) bool { return s.at[s.other[c]].has(p) }

// drop ends what add began. With the last of them all memory goes.
func (s *skips) drop(conns []*Conn) {
	for _, c := range conns {
		c.clear(flagSkip)
		delete(s.other, c)
	}
	if s.conns -= len(conns); s.conns == 0 {
		*s = skips{}
	}
}

// skipFor is how long a publication that the old worker has delivered may still be
// on its way through the broker, at least.
const skipFor = 10 * time.Second

// unskip drops conns when all that had reached the broker by now has been delivered
// here, however far behind this process is. While the broker is away it asks again.
func (l *loop) unskip(conns []*Conn) {
	token := connid.New().String()
	l.syncs[token] = func() { l.skip.drop(conns) }
	var ask func()
	ask = func() {
		if l.syncs[token] != nil {
			_ = l.broker.Barrier(true, func() { l.arrive(token) })
			l.after(skipFor, ask)
		}
	}
	ask()
}
