package master

import (
	"context"
	"errors"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Close codes that clients see.
const (
	codeStop   = 1001 // going away
	codeReload = 1012 // service restart: come back
)

// exchange is what became of one slot's processes.
type exchange struct {
	oldPID, newPID int // 0 = none
	drained        int // connections that ended with the old process, or with its program
	moved          control.Exported
	scripts        []control.Renewed // of a process that stays
}

// replace puts a process of u in the place of the one that s has, if any. Until
// the new one is ready the old one serves; then its clients move. A new process
// that fails is killed and the old one goes on. was is what served when the reload came to
// the slot. It runs on the verbs' goroutine.
func (m *master) replace(ctx context.Context, s *slot, u *unit, was served) (exchange, error) {
	next, err := m.boot(ctx, s, u)
	if err != nil {
		return exchange{}, err
	}
	e := exchange{newPID: next.pid}
	var old *process
	m.do(func() { old = m.accompany(s, next) })
	was = m.succeeded(ctx, was, old, &e)
	if err := m.settleRoster(m.t.query); err != nil {
		next.log.Warn("reload goes on without the broker process", "error", err)
	}
	switch {
	case old != nil && u.role == control.RoleWorker:
		if e.moved, err = m.move(ctx, old, next); err != nil {
			return exchange{}, err
		}
		was.left(&e, m.clientsOf(ctx, next).Connections) // also a last look: one that is dead by now is found so by exchange
	case next.heir:
		m.disinherit(ctx, next)
	}
	before := old
	m.do(func() { old, err = m.exchange(s, u, next) })
	if err != nil {
		m.resume(before)
		return exchange{}, lostWith(err, e.moved.Moved)
	}
	if old != nil && old.pid != e.oldPID { // else it has died, and is counted
		m.retire(ctx, m.succeeded(ctx, was, old, &e), &e)
	}
	e.drained += m.closedIn(ctx, next, clients{})
	return e, ctx.Err()
}

// accompany lists next beside the serving process of s, which it returns: while
// clients move, both are asked how many they have reached. It runs on the loop.
func (m *master) accompany(s *slot, next *process) *process {
	if m.live[next] {
		next.readySince = time.Now()
		m.rosterChanged()
	}
	return s.proc
}

// boot spawns a process of u for s and waits until it is ready. One that fails
// is gone when boot returns.
func (m *master) boot(ctx context.Context, s *slot, u *unit) (*process, error) {
	var p *process
	var err error
	m.do(func() { p, err = m.spawn(s, u) })
	if err != nil {
		return nil, &bootError{step: "spawn", err: err}
	}
	if err := p.waitReady(ctx, m.t.boot); err != nil {
		p.destroy()
		return nil, err
	}
	return p, nil
}

// exchange makes next, a process of u, the serving process of s and returns the
// one before it. It runs on the loop.
func (m *master) exchange(s *slot, u *unit, next *process) (old *process, err error) {
	if !m.live[next] {
		return nil, &bootError{step: "start", err: errors.New("it ended as soon as it was ready (" + next.exit + "); see the log")}
	}
	if old = s.suspend(); old != nil {
		old.leaving.Store(true) // retire says so to itself
	}
	s.held = false
	s.unit, s.proc = u, next
	next.readySince = time.Now()
	if u.role == control.RoleWorker && m.findSlot(u.name, s.index) == nil {
		m.slots = append(m.slots, s)
	}
	m.rosterChanged()
	return old, nil
}

// suspend takes the process, if any, out of s and keeps respawns away until
// held is false again. It runs on the loop.
func (s *slot) suspend() *process {
	if s.booting != nil {
		s.booting.kill()
		s.booting = nil
	}
	s.forget()
	old := s.proc
	s.proc, s.held = nil, true
	return old
}

// retire lets a worker go that has been replaced or is no longer wanted.
func (m *master) retire(ctx context.Context, was served, e *exchange) {
	p := was.p
	e.oldPID, e.drained = p.pid, e.drained+was.cost(m.clientsOf(ctx, p), e.moved)
	drain := time.Duration(p.unit.drainMS) * time.Millisecond
	m.dismiss(ctx, p, control.Stop{Code: codeReload, Reason: "reload", DrainMS: p.unit.drainMS}, drain+m.t.leave)
}

// dismiss stops a process and returns when it is gone, killed if it says nothing for
// longer than bound. The end of ctx leaves the rest to shutdown.
func (m *master) dismiss(ctx context.Context, p *process, s control.Stop, bound time.Duration) {
	p.stop(s)
	m.await(ctx, p, bound)
}

func (m *master) await(ctx context.Context, p *process, bound time.Duration) {
	if p.waitLeft(ctx, bound) || ctx.Err() != nil {
		return
	}
	p.log.Warn("process did not leave in time and is killed", "bound", bound)
	p.destroy()
}
