package master

import (
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// watch measures how long processes have been silent, by the master's own
// turns: however late a turn comes, it counts for one interval only. So a
// machine, or a master, that stalled as a whole shoots nobody.
type watch struct {
	timer *time.Timer
	last  time.Time

	counted time.Time // when the workers were asked for their numbers
}

// turnMax is the time between two turns, or less if the watchdog is short.
const turnMax = time.Second

func newWatch() *watch {
	return &watch{timer: time.NewTimer(turnMax), last: time.Now()}
}

// patrol pings every process that is ready and deals with those that have not
// answered for the plan's watchdog time. Once a second it asks the workers for
// their numbers, which is a ping as well for those who have answered the last time.
// It runs on the loop.
func (m *master) patrol(w *watch) {
	limit := time.Duration(m.plan.WatchdogMS) * time.Millisecond
	turn := turnMax
	counts := !m.frozen && time.Since(w.counted) >= countEvery
	if limit > 0 && !m.frozen {
		turn = min(max(limit/5, 10*time.Millisecond), turnMax)
		elapsed := min(time.Since(w.last), turn)
		for p := range m.live {
			m.check(p, elapsed, limit, counts)
		}
	}
	w.last = time.Now()
	if counts {
		w.counted = w.last
		m.count()
	}
	w.timer.Reset(turn)
}

// check counts the silence of p. Whoever is late with its numbers is pinged beside: a
// worker answers a ping when it gets on, a question when it gets to it.
func (m *master) check(p *process, elapsed, limit time.Duration, counts bool) {
	if p.readySince.IsZero() || p.aborted {
		return
	}
	silent := time.Duration(p.silent.Add(int64(elapsed))) // an answer sets it to 0
	if silent < limit && counts && p.prompt.Swap(false) {
		return // it is about to be asked
	}
	if silent < limit {
		// A full queue, or a ping that was lost on the way, is silence too.
		_ = p.send(control.Message{Type: control.TypePing, ID: 1})
		return
	}
	p.aborted = true
	p.log.Error("process does not answer: its stacks follow, then it is replaced", "silent", silent)
	p.abort(m.t.abortGrace)
}
