package master

import (
	"context"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// StopOptions say how to stop.
type StopOptions struct {
	Graceful bool          `json:"graceful,omitempty"`  // wait for clients to leave by themselves
	Timeout  time.Duration `json:"timeout,omitempty"`   // of that wait; 0 = no bound
	ToOthers bool          `json:"to_others,omitempty"` // clients are to come back, to another node of the cluster
	Keep     bool          `json:"keep,omitempty"`      // the listening sockets have another owner now: unix sockets keep their names
}

// requestStop makes the master stop. A plain stop ends the wait of a graceful
// one; any other repetition changes nothing. It runs on the loop.
func (m *master) requestStop(o StopOptions) {
	switch {
	case m.stopping == nil:
		m.stopping = &o
		m.cancel()
	case m.stopping.Graceful && !o.Graceful:
		m.stopping.Graceful = false
		m.rosterChanged()
		close(m.hurry)
	}
}

// shutdown carries out the verb: readiness fails, workers drain, then the broker
// process goes, and nothing is left. After a failed start nobody is drained.
func (m *master) shutdown(startErr error) {
	m.manage(isStopping)
	var o StopOptions
	var workers, others []*process
	var waiters []*waiter
	var drainMS int64
	m.do(func() {
		if m.stopping == nil { // the start has failed
			m.requestStop(StopOptions{})
		}
		o, drainMS, waiters = *m.stopping, m.plan.DrainMS, m.waiters
		workers, others = m.leave()
	})
	for _, w := range waiters {
		w.result(nil, interrupted(0))
	}
	if startErr != nil {
		o, drainMS = StopOptions{}, 0
	}
	m.log.Info("stopping", "graceful", o.Graceful, "workers", len(workers))
	m.stopWorkers(workers, o, drainMS)
	for _, p := range others {
		p.stop(control.Stop{Code: codeStop})
	}
	for _, p := range others {
		m.await(context.Background(), p, m.t.silence)
	}
	m.awaitOrphans()
	m.do(m.removeFiles)
	m.do(m.closePrograms)
	m.log.Info("stopped")
}

// leave closes the master's copies of the listeners, so that new clients are
// refused once the workers have closed theirs, and sorts the processes. Those
// that are not ready yet are killed. It runs on the loop.
func (m *master) leave() (workers, others []*process) {
	for e, l := range m.listeners {
		if m.stopping.Keep {
			syscall.Close(l.fd)
		} else {
			l.close()
		}
		delete(m.listeners, e)
	}
	m.rosterChanged()
	for p := range m.live {
		switch {
		case p.readySince.IsZero():
			p.kill()
			others = append(others, p)
		case p.unit.role == control.RoleWorker:
			workers = append(workers, p)
		default:
			others = append(others, p)
		}
	}
	return workers, others
}

func (m *master) stopWorkers(workers []*process, o StopOptions, drainMS int64) {
	plain := control.Stop{Code: codeStop, Reason: "server stops", DrainMS: drainMS}
	if o.ToOthers {
		plain.Code, plain.Reason = codeReload, "another node serves"
	}
	if o.Graceful {
		s := plain
		s.Graceful, s.TimeoutMS = true, o.Timeout.Milliseconds()
		tellAll(workers, s)
		if m.awaitLeaving(workers, o.Timeout) {
			return
		}
		m.do(func() { m.requestStop(StopOptions{}) }) // its time is over
	}
	m.part()
	tellAll(workers, plain)
	m.awaitAll(workers, time.Duration(drainMS)*time.Millisecond+m.t.leave)
}

func tellAll(procs []*process, s control.Stop) {
	for _, p := range procs {
		p.stop(s)
	}
}

// awaitLeaving waits for a graceful stop: true when all are gone, false when
// the time is over or a plain stop came. It has no other bound if timeout is 0.
func (m *master) awaitLeaving(procs []*process, timeout time.Duration) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	for _, p := range procs {
		select {
		case <-p.gone:
		case <-m.hurry:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// awaitAll returns when all are gone, killed if they take longer than bound.
func (m *master) awaitAll(procs []*process, bound time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	for _, p := range procs {
		if !p.waitGone(ctx, bound) {
			p.log.Warn("process did not leave in time and is killed", "bound", bound)
			p.destroy()
		}
	}
}
