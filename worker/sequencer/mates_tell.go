package sequencer

import (
	"math"
	"time"

	"github.com/pushd/pushd/worker/history"
)

// Bounds of what another node is told at a time. It goes in words, with a pause between
// them, so that messages go in between.
const (
	mateChannels = 64 << 10  // channels of an answer, those with the newest events
	mateBytes    = 64 << 20  // of it
	matePage     = 200 << 10 // bytes of a word, beyond the first event
	matePause    = 2 * time.Millisecond
)

// telling is an answer that is under way.
type telling struct {
	to   *mate
	w    mateWord
	left []string // channels
	size int      // bytes that were told
}

// asked answers a node. One that was cut off from this one has something to tell, too.
func (m *mates) asked(t *mate, w *mateWord) {
	a := telling{to: t, w: mateWord{ID: w.ID}}
	since := int64(0)
	if w.Age > 0 {
		since = m.s.now() - w.Age
		if age := time.Duration(w.Age) * time.Millisecond; m.s.env.Now().Sub(t.asked) > mateDoubt {
			m.doubt(t, age)
			m.ask(t)
		}
	}
	t.told = w.ID
	a.left, a.w.More = m.s.rings.Newest(since, mateChannels)
	m.page(&a)
}

// page tells the next part of an answer, unless it was asked anew.
func (m *mates) page(a *telling) {
	if a.to.told != a.w.ID {
		return
	}
	s := m.s
	var list []byte
	for len(a.left) > 0 {
		next := s.kept(a.left[0])
		if len(list) > 0 && len(list)+len(next) > matePage {
			break
		}
		a.left = a.left[1:]
		list = append(list, next...)
	}
	if a.size += len(list); a.size > mateBytes && len(a.left) > 0 {
		a.left, a.w.More = nil, true
	}
	a.w.Part++
	a.w.Last = len(a.left) == 0
	if err := m.tell(a.to, &a.w, list); err != nil {
		s.env.Log.Warn("the last event of a cache channel was not told to another node", "node", a.to.name, "error", err)
		_ = m.tell(a.to, &a.w, nil) // as if it were not there
	}
	if !a.w.Last {
		s.env.After(matePause, func() { m.page(a) })
	}
}

// kept is the newest message of a channel for another node, nothing if it has gone.
func (s *Sequencer) kept(channel string) (b []byte) {
	last := s.rings.Last(s.env.Apps.Of(channel), channel, 1, math.MaxInt, s.now())
	last.Each(func(is history.Message) {
		b = history.AppendKept(b, &history.Kept{Channel: channel, Kind: is.Kind, Time: is.Time, Data: is.Data})
	})
	return b
}
