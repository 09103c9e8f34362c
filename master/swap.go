package master

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// busBound is how long a step of the broker process's replacement may take for
// one process. Together they keep publishes waiting, which give up after 1 s.
const busBound = 500 * time.Millisecond

// replaceBroker puts a process of the next generation in the place of the
// broker process. Two at once would split the workers between them, so the new
// one stands by until the old one has gone, and before that everything that was
// published has arrived: see control.Bus for the steps. A step that fails costs
// what a crash of the broker process would, not the reload.
func (r *reload) replaceBroker(ctx context.Context, s *slot) error {
	m, u := r.m, r.next.broker
	r.progress(u, s, "start")
	begin := time.Now()
	standby := *u
	standby.standby = true
	next, err := m.boot(ctx, s, &standby)
	if err != nil {
		m.giveBack(s.unit, u)
		return failedAt(u, s, err) // nothing else has been touched
	}
	var old *process
	var workers []*process
	m.do(func() { old, workers = s.suspend(), m.readyWorkers() })
	e := exchange{newPID: next.pid}
	r.progress(u, s, "drain")
	if old != nil {
		e.oldPID = old.pid
		bound := m.silence(ctx, old, next, workers)
		m.dismiss(ctx, old, control.Stop{Code: codeReload}, bound)
	}
	err = u.entrust(s.unit.cred) // what the old one has left
	if err == nil {
		err = m.open(ctx, next)
	}
	if err == nil {
		m.do(func() { _, err = m.exchange(s, u, next) })
	}
	if err != nil {
		next.destroy()
		m.giveBack(s.unit, u)
		m.do(func() { s.held = false; m.respawn(s) }) // its unit is still the old one
		m.busSteps(ctx, workers, control.BusProceed)
		return failedAt(u, s, &bootError{step: "open", err: err})
	}
	m.busSteps(ctx, workers, control.BusRejoin)
	m.busSteps(ctx, workers, control.BusProceed)
	r.through(u, s, e, begin)
	return nil
}

// open has the new broker process serve. It may have much to read, and says so.
func (m *master) open(ctx context.Context, next *process) error {
	bound := m.t.boot + m.t.leaveData
	waits, cancel := next.patience(ctx, bound)
	defer cancel()
	_, err := next.ask(waits, control.TypeBus, control.Bus{Do: control.BusOpen, BoundMS: bound.Milliseconds()})
	if err != nil && waits.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%s has not opened, nor said anything, for %s", next, bound)
	}
	return err
}

// giveBack is for an old broker process that goes on, or is started again.
func (m *master) giveBack(old, next *unit) {
	if reflect.DeepEqual(old.cred, next.cred) {
		return
	}
	back := *old
	back.data = next.data // an older program knew nothing of it
	if err := back.entrust(next.cred); err != nil {
		m.log.Error("data_dir not given back to the user of the broker process before", "error", err)
	}
}

// silence brings the bus of old to a stand at which nothing is under way, and
// the clients of old to next. It returns how long old may take to leave: one that
// has answered is waited for while it writes what its services leave.
func (m *master) silence(ctx context.Context, old, next *process, workers []*process) (bound time.Duration) {
	bound = m.t.leaveBus
	if from, to, err := control.PairFiles(); err == nil {
		err = m.busStep(ctx, next, control.BusReceive, busBound, to)
		to.Close()
		m.warnBus(next, control.BusReceive, err)
		if err = m.busStep(ctx, old, control.BusPause, m.t.leaveBus, from); err == nil {
			bound = m.t.leaveData
		}
		m.warnBus(old, control.BusPause, err)
		from.Close()
	}
	m.busSteps(ctx, workers, control.BusPause)
	m.warnBus(old, control.BusDrain, m.busStep(ctx, old, control.BusDrain, bound))
	m.busSteps(ctx, workers, control.BusDrain)
	return bound
}

// readyWorkers runs on the loop.
func (m *master) readyWorkers() (workers []*process) {
	for p := range m.live {
		if p.unit.role == control.RoleWorker && p.unit.bus && !p.readySince.IsZero() {
			workers = append(workers, p)
		}
	}
	return workers
}

// busStep has one process do a step.
func (m *master) busStep(ctx context.Context, p *process, do string, bound time.Duration, files ...*os.File) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	_, err := p.ask(ctx, control.TypeBus, control.Bus{Do: do, BoundMS: bound.Milliseconds()}, files...)
	return err
}

// busSteps has all of procs do a step at the same time.
func (m *master) busSteps(ctx context.Context, procs []*process, do string) {
	var all sync.WaitGroup
	for _, p := range procs {
		all.Go(func() { m.warnBus(p, do, m.busStep(ctx, p, do, busBound)) })
	}
	all.Wait()
}

func (m *master) warnBus(p *process, do string, err error) {
	if err != nil && !p.isGone() {
		p.log.Warn("step of the broker process's replacement failed: publications may be lost", "step", do, "error", err)
	}
}
