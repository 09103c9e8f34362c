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

// momentOf is when a message was published. A client of the bus of an earlier version
// does not say.
func momentOf(p *worker.Publication, now time.Time) moment {
	m := moment{now.UnixMicro(), p.Publisher}
	if p.Seq > 1 {
		m.at = min(max(int64(p.Seq), m.at-skew.Microseconds()), m.at+skew.Microseconds())
	}
	return m
}

// outrun reports whether a newer event of its cache channel has come here already.
func (s *Sequencer) outrun(p *worker.Publication) bool {
	if s.env.Node == "" || !keeping(s.env.Channels)(p.Target).Latest {
		return false
	}
	m := momentOf(p, s.env.Now())
	if is, known := s.moments[p.Target]; known && m.before(is) && !is.ahead(s.env.Now()) {
		return true
	}
	s.moments[p.Target] = m
	return false
}

// forget drops what is not of now any more.
func (m moments) forget(now time.Time) {
	for name, is := range m {
		if is.at < now.Add(-2*skew).UnixMicro() || is.ahead(now) {
			delete(m, name)
		}
	}
}
