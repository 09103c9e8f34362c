package master

import "time"

// All of this file runs on the loop.

// adopt makes p the serving process of s; false means that it has died already.
func (m *master) adopt(s *slot, p *process) bool {
	if s.booting == p {
		s.booting = nil
	}
	if !m.live[p] || s.proc != nil {
		return false
	}
	p.readySince = time.Now()
	s.proc = p
	m.rosterChanged()
	return true
}

// exited takes note of a process that is gone.
func (m *master) exited(p *process) {
	delete(m.live, p)
	m.keep(p)
	m.saveState()
	s := p.slot
	serving := s.proc == p
	if serving {
		s.proc = nil
	}
	m.rosterChanged()
	if !serving || m.stopping != nil || p.leaving.Load() {
		p.log.Info("process ended", "exit", p.exit) // whoever booted or stopped it waits for that
		return
	}
	p.log.Error("process died", "exit", p.exit, "after", time.Since(p.started).Round(time.Millisecond))
	m.died(s, time.Since(p.readySince))
}

// died plans the next attempt for a slot whose process died after having been
// ready for the given time.
func (m *master) died(s *slot, healthy time.Duration) {
	if m.stopping != nil || s.removed {
		return
	}
	now := time.Now()
	if healthy >= m.t.window {
		s.forget()
	}
	for len(s.recent) > 0 && now.Sub(s.recent[0]) > m.t.window {
		s.recent = s.recent[1:]
	}
	s.recent = append(s.recent, now)
	s.restarts++
	s.delay = min(max(2*s.delay, m.t.delayMin), m.t.delayMax)
	if len(s.recent) > deathsMax && !s.degraded {
		s.degraded = true
		m.log.Error("slot is degraded: it keeps dying", "name", s.unit.name, "slot", s.index,
			"deaths", len(s.recent), "within", m.t.window, "next attempts every", m.t.delayMax)
	}
	if s.degraded {
		s.delay = m.t.delayMax
	}
	if s.retry != nil {
		s.retry.Stop()
	}
	s.retry = time.AfterFunc(s.delay, func() { m.post(func() { m.respawn(s) }) })
}

// respawn starts the next attempt for a slot without a process.
func (m *master) respawn(s *slot) {
	if m.stopping != nil || m.frozen || s.removed || s.held || s.proc != nil || s.booting != nil {
		return // a reload, a stop or an earlier attempt was faster
	}
	p, err := m.spawn(s, s.unit)
	if err != nil {
		m.log.Error("process not started", "name", s.unit.name, "slot", s.index, "error", err)
		m.died(s, 0)
		return
	}
	s.booting = p
	m.awaitBoot(s, p)
}

// awaitBoot decides about p once it is ready or will not be.
func (m *master) awaitBoot(s *slot, p *process) {
	go func() {
		err := p.waitReady(m.verbs, m.t.boot)
		m.post(func() { m.booted(s, p, err) })
	}()
}

// thaw lets processes come again.
func (m *master) thaw() {
	m.frozen = false
	for _, s := range m.allSlots() {
		if s.booting == nil {
			m.pickUp(s)
		}
	}
}

// pickUp goes on with what was under way for a slot without a process.
func (m *master) pickUp(s *slot) {
	switch {
	case s.proc != nil:
	case s.booting != nil:
		m.awaitBoot(s, s.booting)
	default:
		if s.retry != nil {
			s.retry.Stop()
		}
		s.retry = time.AfterFunc(s.delay, func() { m.post(func() { m.respawn(s) }) })
	}
}

// booted decides about an attempt of respawn.
func (m *master) booted(s *slot, p *process, err error) {
	switch {
	case s.booting != p: // a reload has put another one in its place
		p.kill()
	case err == nil && m.adopt(s, p):
		p.log.Info("process ready")
	default:
		s.booting = nil
		if err == nil {
			err = &bootError{step: "start", err: errGone}
		}
		p.log.Error("process not ready", "error", err)
		p.kill()
		m.died(s, 0)
	}
}
