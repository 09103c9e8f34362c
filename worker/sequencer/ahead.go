package sequencer

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// ahead is who has come with a position that has not been reached here: from
// another node, most likely.
type ahead struct {
	want  history.Want
	until time.Time
}

// aheadWait is how long they are kept waiting until they are told that there is
// no such position.
const aheadWait = 2 * time.Second

// askWait is that of who asks for messages: his answer has to come in the time
// that he waits for it.
const askWait = 1500 * time.Millisecond

// maxAhead bounds them. Those beyond ask again after a while, as all do who get
// no answer.
const maxAhead = 64 << 10

// early keeps back who comes before his position has been reached here.
func (h *sharedStore) early(w history.Want) bool {
	s := h.s
	h.doubtStrays(w.Channel)
	if h.live && !h.ahead(w.Channel, w.After) {
		return false
	}
	if len(h.waiting) == maxAhead {
		return true
	}
	h.waiting = append(h.waiting, ahead{w, h.here().Add(aheadWait)})
	if len(h.waiting) == 1 {
		s.env.After(joinPause, h.lookAhead)
	}
	return true
}

// ahead reports whether a position has not been reached here. One of an epoch that
// is not known may be of a node that follows a new log already: who goes to and fro
// between the two would be told so by each at once, for seconds.
func (h *sharedStore) ahead(channel string, p history.Position) bool {
	s := h.s
	now := s.rings.Now(s.env.Apps.Of(channel))
	switch p.Epoch {
	case now.Epoch:
		return p.Offset > now.Offset
	case 0, history.Stranger, h.former:
		return false
	}
	return true
}

// misses reports whether messages that are asked for, the newest first, have not come
// here: another node has given the page before.
func (h *sharedStore) misses(q *worker.HistoryQuery) bool {
	return q.Before > h.s.rings.Now(h.s.env.Apps.Of(q.Channel)).Offset+1
}

// lookAhead lets those join whose position has been reached, or who have waited
// long enough. Whoever comes while the log is read from its beginning waits, and who
// is ahead while it is away: as long as nobody can read on, nobody knows whether his
// position has been given.
func (h *sharedStore) lookAhead() {
	s := h.s
	list, now := h.waiting, h.here()
	h.waiting = nil
	for _, a := range list {
		if h.why != "" {
			a.until = now.Add(aheadWait)
		}
		if !h.live || h.ahead(a.want.Channel, a.want.After) && now.Before(a.until) {
			h.waiting = append(h.waiting, a)
		} else {
			s.joins.add(s, a.want)
		}
	}
	if len(h.waiting) > 0 {
		s.env.After(joinPause, h.lookAhead)
	}
}

func (h *sharedStore) read(q *worker.HistoryQuery, answer func([]byte, error)) {
	h.readAt(q, h.here().Add(askWait), answer)
}

// readAt reads what is kept of a channel once the position has been reached.
func (h *sharedStore) readAt(q *worker.HistoryQuery, until time.Time, answer func([]byte, error)) {
	s := h.s
	h.doubtStrays(q.Channel)
	ahead := h.ahead(q.Channel, q.After) || h.misses(q)
	if (!h.live || ahead) && h.here().Before(until) {
		s.env.After(joinPause, func() { h.readAt(q, until, answer) })
		return
	}
	if !h.live || ahead && h.why != "" {
		answer(nil, fmt.Errorf("%w: %s", worker.ErrUnavailable, h.why))
		return
	}
	answer(json.Marshal(s.page(q)))
}
