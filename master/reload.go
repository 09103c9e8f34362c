package master

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// waiter is a client that wants to know how a reload ends.
type waiter struct {
	steps chan Progress
	end   chan answer // one value
	all   bool        // it wants every worker replaced
}

func newWaiter() *waiter {
	return &waiter{steps: make(chan Progress, progressQueue), end: make(chan answer, 1)}
}

// progress never blocks.
func (w *waiter) progress(p Progress) {
	select {
	case w.steps <- p:
	default: // the client is slow; the report is what counts
	}
}

func (w *waiter) result(r *ReloadReport, err error) { w.end <- reloadAnswer(r, err) }

// requestReload asks for a reload. Requests that come while one runs share one
// more. It runs on the loop.
func (m *master) requestReload(w *waiter) {
	if w != nil {
		m.waiters = append(m.waiters, w)
	}
	select {
	case m.wanted <- struct{}{}:
	default: // one is wanted already
	}
}

// reloadForAll carries out one reload for all who wait for it.
func (m *master) reloadForAll() {
	var waiters []*waiter
	m.do(func() { waiters, m.waiters = m.waiters, nil })
	r := &reload{m: m, tell: func(p Progress) {
		for _, w := range waiters {
			w.progress(p)
		}
	}}
	r.all = slices.ContainsFunc(waiters, func(w *waiter) bool { return w.all })
	m.manage(isReloading())
	m.log.Info("reload begins")
	start := time.Now()
	err := r.run(m.verbs)
	if err == nil && r.report.Master != nil {
		m.log.Info("slots are renewed", "slots", len(r.report.Slots), "drained", r.report.Drained, "took", time.Since(start).Round(time.Millisecond))
		err = r.upgrade(r.next.program, waiters) // the new version tells that the reload is done
	}
	switch {
	case err != nil && m.verbs.Err() != nil:
		m.log.Info("reload given up: the master stops", "error", err, "replaced", r.done)
		err = interrupted(r.done)
	case err != nil:
		if f := (*ReloadError)(nil); errors.As(err, &f) {
			f.Done = r.done
		}
		m.log.Error("reload failed; what it had not reached serves on", "error", err, "replaced", r.done)
	default:
		m.log.Info("reload done", "slots", len(r.report.Slots), "drained", r.report.Drained, "took", time.Since(start).Round(time.Millisecond))
	}
	r.report.OK = err == nil
	m.unlockData(m.brokerData())
	m.do(func() { m.reloads.add(&r.report) }) // before a caller who knows the result can ask
	m.manage(isReady)
	for _, w := range waiters {
		w.result(&r.report, err)
	}
	debug.FreeOSMemory() // plans and reports are gone, and the next may be weeks away
}

// interrupted is the error of every reload that a stop falls into or comes before: what it
// fails at then, a program or a process that is ended, is none of theirs.
func interrupted(done int) *ReloadError {
	return &ReloadError{Step: StepInterrupted, Done: done, Err: errors.New("the master stops")}
}

// reload is one run of the verb, on Run's goroutine.
type reload struct {
	m           *master
	all         bool // workers whose programs alone would be replaced are replaced too
	tell        func(Progress)
	next        *generation
	report      ReloadReport
	pauses      pauses
	done, total int
}

// run prepares the next generation and moves slot by slot to it. A failure
// leaves the slots that it has reached new and all others untouched.
func (r *reload) run(ctx context.Context) error {
	m := r.m
	if err := m.reopen(); err != nil {
		return &ReloadError{Step: "reopen log", Err: err}
	}
	on := foundation{bus: m.bus}
	m.do(func() {
		m.generation++
		on.number = m.generation
		on.sockets, on.fixed, on.copies = maps.Clone(m.listeners), m.plan.Fixed, maps.Clone(m.copies)
		if m.broker != nil {
			on.broker = m.broker.unit.cred
		}
	})
	next, err := m.prepare(ctx, on)
	if err != nil {
		return err
	}
	r.next = next
	if !next.program.same(m.self) {
		if err := r.rehearse(ctx, next.program); err != nil {
			next.discard()
			return err
		}
	}
	if err := r.readable(ctx, next.plan.Record); err != nil {
		next.discard()
		return err
	}
	only := false
	m.do(func() { only = m.onlyCopies(next); m.enter(next) })
	defer m.do(m.release)
	r.takeCopies(next)
	if only && !r.all {
		return r.renewScripts(ctx)
	}
	if next.plan.LogFile != m.out.path {
		if err := m.changeLog(next.plan.LogFile); err != nil {
			return &ReloadError{Step: "reopen log", Err: err}
		}
	}
	return r.replaceAll(ctx)
}

// enter takes over what a generation opened, so that release knows of it.
func (m *master) enter(g *generation) {
	m.programs[g.program] = true
	for e, l := range g.sockets {
		if old := m.listeners[e]; old != nil && old != l { // it was lost, and processes have it yet
			old.forsake(g.number)
			m.listeners[old.endpoint] = old
		}
		m.listeners[e] = l
	}
}

// replaceAll brings every slot to the next generation: a broker process that
// is new first, then workers, then what is no longer wanted, and last the
// broker process if it changed.
func (r *reload) replaceAll(ctx context.Context) error {
	m := r.m
	var slots []planned
	var surplus []*slot
	var oldBroker *slot
	m.do(func() {
		slots, surplus = m.arrange(r.next)
		oldBroker = m.broker
	})
	r.total = len(slots) + len(surplus)
	if r.next.broker != nil && oldBroker == nil {
		if err := r.addBroker(ctx); err != nil {
			return err
		}
	}
	for _, s := range slots {
		if err := r.step(ctx, s.slot, s.unit); err != nil {
			return err
		}
	}
	m.do(func() { m.settle(r.next, surplus) })
	for _, s := range surplus {
		r.remove(ctx, s)
	}
	switch {
	case oldBroker == nil:
		return nil
	case r.next.broker == nil:
		m.do(func() { m.broker = nil; m.rosterChanged() })
		r.remove(ctx, oldBroker)
		return nil
	case oldBroker.unit.equal(r.next.broker):
		return nil
	}
	return r.replaceBroker(ctx, oldBroker)
}

// planned is a slot and what it is to run.
type planned struct {
	*slot
	unit *unit
}

// arrange finds or makes the slots of g, in plan order, and those that g has no
// use for. It runs on the loop and changes nothing.
func (m *master) arrange(g *generation) (slots []planned, surplus []*slot) {
	wanted := map[*slot]bool{}
	for i, u := range g.groups {
		for n := range g.plan.Workers[i].Count {
			s := m.findSlot(u.name, n)
			if s == nil {
				s = &slot{unit: u, index: n}
			}
			wanted[s] = true
			slots = append(slots, planned{s, u})
		}
	}
	for _, s := range m.slots {
		if !wanted[s] {
			surplus = append(surplus, s)
		}
	}
	return slots, surplus
}

func (m *master) findSlot(name string, index int) *slot {
	for _, s := range m.slots {
		if s.unit.name == name && s.index == index {
			return s
		}
	}
	return nil
}

// settle makes g what the master acts on from now on. It runs on the loop.
func (m *master) settle(g *generation, surplus []*slot) {
	m.plan = g.plan
	m.out.format(g.plan)
	slots, _ := m.arrange(g)
	m.slots = m.slots[:0:0]
	for _, s := range slots {
		m.slots = append(m.slots, s.slot)
	}
	for _, s := range surplus {
		s.discard()
	}
	m.rosterChanged() // a group may be gone of which nobody was alive
}

// step replaces one slot's process and reports it.
func (r *reload) step(ctx context.Context, s *slot, u *unit) error {
	r.progress(u, s, "start")
	begin := time.Now()
	was := r.m.servedBy(ctx, s)
	if done, err := r.renew(ctx, s, u, begin); done || err != nil {
		return err
	}
	e, err := r.m.replace(ctx, s, u, was)
	if err != nil {
		return failedAt(u, s, err)
	}
	r.through(u, s, e, begin)
	return nil
}

// remove lets a slot's process leave that no other one follows.
func (r *reload) remove(ctx context.Context, s *slot) {
	r.progress(s.unit, s, "drain")
	begin := time.Now()
	was := r.m.servedBy(ctx, s)
	var p, heir *process
	r.m.do(func() { s.discard(); p, heir = s.proc, r.m.heirOf(s) })
	var e exchange
	if was = r.m.succeeded(ctx, was, p, &e); was.p != nil {
		var before clients
		if heir != nil {
			before = r.m.clientsOf(ctx, heir)
			e.moved = r.m.bequeath(ctx, was.p, heir)
		}
		r.m.retire(ctx, was, &e)
		if heir != nil {
			e.drained += r.m.closedIn(ctx, heir, before)
		}
	}
	r.through(s.unit, s, e, begin)
}

// addBroker starts the broker process of a plan that had none.
func (r *reload) addBroker(ctx context.Context) error {
	s := &slot{unit: r.next.broker}
	p, err := r.m.boot(ctx, s, s.unit)
	if err == nil {
		r.m.do(func() { r.m.broker = s; _, err = r.m.exchange(s, s.unit, p) })
	}
	if err != nil {
		return failedAt(s.unit, s, err)
	}
	return nil
}

// progress tells those who wait what happens next.
func (r *reload) progress(u *unit, s *slot, step string) {
	r.tell(Progress{Worker: u.name, Slot: s.index, Step: step, Done: r.done, Total: r.total})
}

// through notes that a slot is done.
func (r *reload) through(u *unit, s *slot, e exchange, begin time.Time) {
	r.report.Drained += e.drained + e.moved.Drained
	r.report.Moved += e.moved.Moved
	r.report.BytesCarried += e.moved.Bytes
	r.pauses.add(e.moved)
	r.report.Pause = r.pauses.report()
	r.report.Slots = append(r.report.Slots, SlotReport{
		Worker: u.name, Slot: s.index, OldPID: e.oldPID, NewPID: e.newPID,
		Moved: e.moved.Moved, HandoverMS: float64(e.moved.TookUS) / 1000, MS: time.Since(begin).Milliseconds(), Scripts: e.scripts,
	})
	r.done = min(r.done+1, r.total)
	r.progress(u, s, "done")
}

// failedAt makes err the report of a failed reload.
func failedAt(u *unit, s *slot, err error) *ReloadError {
	e := &ReloadError{Worker: u.name, Slot: s.index, Step: "start", Err: err}
	if b := (*bootError)(nil); errors.As(err, &b) {
		e.Step, e.Err, e.Lost = b.step, b.err, b.lost
	}
	return e
}

// equal says whether a process of v would do what one of u does.
func (u *unit) equal(v *unit) bool {
	return string(u.spec) == string(v.spec) && u.drainMS == v.drainMS && reflect.DeepEqual(u.cred, v.cred) &&
		slices.Equal(u.listen, v.listen) && slices.Equal(u.copies, v.copies) && u.program.same(v.program)
}

// reopen opens the log file anew, here and in every process: it has been moved
// away. Any goroutine but the loop's may call it.
func (m *master) reopen() error {
	m.logs.Lock()
	defer m.logs.Unlock()
	path := m.out.name()
	if path == "" {
		return nil
	}
	return m.logTo(path)
}

// reopenOnSignal is reopen for who cannot be answered.
func (m *master) reopenOnSignal() {
	if err := m.reopen(); err != nil {
		m.log.Warn("log not reopened: lines go where they went", "error", err)
	}
}

// changeLog makes the file at path the log, "" = what the master was started with.
func (m *master) changeLog(path string) error {
	m.logs.Lock()
	defer m.logs.Unlock()
	return m.logTo(path)
}

// logTo opens the file at path and hands it to every process; m.logs is held.
func (m *master) logTo(path string) error {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	m.do(func() {
		m.out.swap(path, f)
		_, stderr := m.out.files()
		for p := range m.live {
			if err := p.send(control.Message{Type: control.TypeReopen}, stderr); err != nil {
				p.log.Warn("log file not reopened", "error", err)
			}
		}
	})
	if !m.o.Foreground {
		m.adoptLog()
	}
	return nil
}
