package master

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// rosterBound is how long the broker process has to acknowledge a list.
const rosterBound = 2 * time.Second

// rosterChanged tells the broker process which workers are alive: those that
// became ready and have not ended, draining ones included; and which groups there
// are. Until all that a start has begun are ready it is told nothing: a list that lacks
// those who serve by then would pass for that of all. The channel rostered is closed once
// the broker process has acknowledged the list. It runs on the loop.
func (m *master) rosterChanged() {
	settled := make(chan struct{})
	m.rostered = settled
	if m.broker == nil || !m.complete && m.stopping == nil {
		close(settled)
		return
	}
	broker := m.broker.proc
	if broker == nil {
		return // it gets the roster when it is adopted
	}
	m.tenure.Held = true
	r := control.Roster{Workers: m.workerNames(), Groups: m.groups(), Draining: m.stopping != nil, Parting: m.stopping != nil && !m.stopping.Graceful}
	// Queued here, so that the broker process gets the lists in their order.
	q, err := broker.begin(control.TypeRoster, r)
	bound := m.verbs
	if r.Draining { // verbs has ended
		bound = context.Background()
	}
	go func() {
		ctx, cancel := context.WithTimeout(bound, rosterBound)
		defer cancel()
		if err == nil {
			_, err = q.await(ctx)
		}
		if err == nil {
			close(settled)
			return
		}
		if broker.isGone() || m.verbs.Err() != nil {
			return
		}
		broker.log.Warn("list of workers not taken", "error", err)
		<-ctx.Done() // then once more, unless there is a newer list or broker process
		m.post(func() {
			if m.rostered == settled && m.broker.proc == broker && m.stopping == nil {
				m.rosterChanged()
			}
		})
	}()
}

// workerNames are those of the workers that live. It runs on the loop.
func (m *master) workerNames() []string {
	names := []string{}
	for p := range m.live {
		if p.unit.role == control.RoleWorker && !p.readySince.IsZero() {
			names = append(names, p.id())
		}
	}
	slices.Sort(names)
	return names
}

// groups names those that have slots, whether a process is in them or not. It runs
// on the loop.
func (m *master) groups() (names []string) {
	for _, s := range m.slots {
		names = append(names, s.unit.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// part waits, not for long, until the broker process knows that clients are about
// to be closed.
func (m *master) part() {
	var told chan struct{}
	m.do(func() { told = m.rostered })
	select {
	case <-told:
	case <-time.After(partBound):
	}
}

// partBound is what a stop waits for a broker process that does not answer.
const partBound = 200 * time.Millisecond

// settleRoster waits until the broker process knows the workers of now.
func (m *master) settleRoster(timeout time.Duration) error {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for {
		var settled chan struct{}
		m.do(func() { settled = m.rostered })
		select {
		case <-settled:
		case <-late.C:
			return errors.New("the broker process has not taken the list of workers")
		case <-m.verbs.Done():
			return errInterrupted
		}
		latest := false
		m.do(func() { latest = m.rostered == settled })
		if latest {
			return nil
		}
	}
}
