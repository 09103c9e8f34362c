// Package delivered knows what of the bus's stream has reached the connections of a
// process, so that one that moves to another process gets each publication once: from
// the one, from the other, or from what the other has kept for it.
//
//	Heard    how far this process is with each publisher; kept for ever, cheaply
//	Vector   that in writing, as of the moment at which connections left
//	Journal  what was delivered since, while connections are on their way here
//	Skips    which of them have had what is yet to arrive here
//
// All belongs to the loop, without locks, but for what reads and writes a Vector.
package delivered

import (
	"maps"
	"time"

	"github.com/pushd/pushd/worker/bus"
)

// Idle is how long a silent source is remembered, at least. A number that comes after
// that is taken for the first: who would be wrong about it, a hand-over, takes seconds.
const Idle = 10 * time.Minute

// Heard is the vector of this process. It forgets sources that have been silent
// for a while: publishers come and go with every reload.
type Heard struct {
	recent, older Vector
	turned        time.Duration // when recent became older
	news          Vector        // since TakeNews; nil when nobody takes them
}

// Note says that p has been delivered to its last member. now is of a clock that does
// not go back.
func (h *Heard) Note(p *bus.Publication, now time.Duration) {
	if h.recent == nil || now-h.turned >= Idle {
		h.recent, h.older, h.turned = Vector{}, h.recent, now
	}
	s := SourceOf(p)
	h.recent[s] = p.Seq
	if h.news != nil {
		h.news[s] = p.Seq
	}
}

// NoteNews begins to keep what TakeNews returns: at first all is news.
func (h *Heard) NoteNews() { h.news = h.Vector() }

// TakeNews returns what has changed since it was called last.
func (h *Heard) TakeNews() Vector {
	news := h.news
	if len(news) > 0 {
		h.news = Vector{}
	}
	return news
}

// HasNews reports whether TakeNews would return something.
func (h *Heard) HasNews() bool { return len(h.news) > 0 }

// EndNews undoes NoteNews.
func (h *Heard) EndNews() { h.news = nil }

// Covers reports whether everything in v has been delivered here. Marked entries do not
// count.
func (h *Heard) Covers(v Vector) bool {
	for s, n := range v {
		if s.Shard < bus.Shards && h.recent[s] < n && h.older[s] < n {
			return false
		}
	}
	return true
}

// Vector returns a copy.
func (h *Heard) Vector() Vector {
	v := make(Vector, len(h.recent)+len(h.older))
	maps.Copy(v, h.older)
	maps.Copy(v, h.recent)
	return v
}
