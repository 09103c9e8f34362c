package sequencer

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// skew is how far the clock of a publisher is believed to be from ours, its way here
// included. One that is further off counts as if it were just so far.
const skew = 500 * time.Millisecond

// moments say which event of a cache channel is the newest where each node keeps its
// own: the one that was published last by the clock of its publisher and, of two in one
// microsecond, that of the higher publisher. So the same one is left on all nodes, in
// whatever order they come to each. Only what is of now is remembered: nothing that
// comes later can be older than that.
type moments map[string]moment // by channel

type moment struct {
	at        int64 // Unix microseconds, as published
	publisher uint64
}

// ahead reports whether no clock that is believed can have said it yet: ours was set
// back.
func (m moment) ahead(now time.Time) bool { return m.at > now.Add(2*skew).UnixMicro() }

func (m moment) before(o moment) bool {
	return m.at < o.at || m.at == o.at && m.publisher < o.publisher
}

// momentOf is when a message was published, which may be on its way for late longer than
// others. A client of the bus of an earlier version does not say.
func momentOf(p *worker.Publication, now time.Time, late time.Duration) moment {
	m := moment{now.UnixMicro(), p.Publisher}
	if p.Seq > 1 {
		m.at = min(max(int64(p.Seq), m.at-(skew+late).Microseconds()), m.at+skew.Microseconds())
	}
	return m
}

// stall notices that this process stood still: what has waited for it meanwhile is that
// much older than it seems. The zero value is ready.
type stall struct {
	ran  time.Time // when it was looked last, once in a sweep at least
	long time.Duration
	over time.Time // when all that has waited has been heard
}

// look returns for how long what is heard now may have waited.
func (s *stall) look(now time.Time) time.Duration {
	if still := now.Sub(s.ran); !s.ran.IsZero() && still > 2*sweepPause {
		s.long, s.over = still, now.Add(sweepPause)
	}
	if s.ran = now; now.After(s.over) {
		return 0
	}
	return s.long
}

// dated returns when a message was published, ms, where all nodes are to agree on it,
// else now, and whether a newer event of its cache channel has come here already.
func (s *Sequencer) dated(p *worker.Publication, now int64) (at int64, outrun bool) {
	if s.env.Node == "" || !keeping(s.env.Channels)(p.Target).Latest {
		return now, false
	}
	clock := s.env.Now()
	m := momentOf(p, clock, s.stall.look(clock))
	if is, known := s.moments[p.Target]; known && m.before(is) && !is.ahead(clock) {
		return now, true
	}
	s.moments[p.Target] = m
	return m.at / 1000, false
}

// forget drops what is not of now any more, late being for how long what comes may have
// waited.
func (m moments) forget(now time.Time, late time.Duration) {
	for name, is := range m {
		if is.at < now.Add(-2*skew-late).UnixMicro() || is.ahead(now) {
			delete(m, name)
		}
	}
}
