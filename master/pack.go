package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// packer writes a takeover. It runs on the loop.
type packer struct {
	m        *master
	now      time.Time
	t        *takeover
	luggage  luggage
	programs []*program
	sockets  []*listener
	units    []*unit
	procs    []*process
}

// pack describes the master as it is. The record is valid, and the descriptors
// mean something, for as long as the loop does nothing else.
func (m *master) pack(report *ReloadReport) *packer {
	now, own := time.Now(), m.tenure
	own.Drawn = carried(own.Drawn, now)
	k := &packer{m: m, now: now, t: &takeover{
		Version: takeoverVersion, Options: m.o, From: m.from, Started: carried(m.started, now), Generation: m.generation, Reloads: m.reloads,
		Plan: m.plan, BusFD: m.busFD, Orphans: m.orphans, Report: report, Wanted: len(m.wanted) > 0, Tenure: &own,
	}}
	t, l := k.t, &k.luggage
	t.Reloads.add(report)
	t.Lock, t.Control = l.addFile(m.lock), l.addConn(m.srv.ln)
	t.Bus = k.socket(m.bus)
	l.add(m.busFD)
	t.LogPath, t.Log = m.out.path, l.addFile(m.out.file)
	for p := range m.live {
		k.procs = append(k.procs, p)
	}
	for _, s := range m.listeners {
		k.sockets = append(k.sockets, s)
		t.Sockets = append(t.Sockets, k.socket(s))
	}
	for name, f := range m.balances {
		t.Balances = append(t.Balances, carriedFile{Path: name, FD: l.addFile(f)})
	}
	for _, h := range m.copies {
		t.Copies = append(t.Copies, k.copy(h))
	}
	for _, s := range m.slots {
		t.Slots = append(t.Slots, k.slot(s))
	}
	if m.broker != nil {
		s := k.slot(m.broker)
		t.Broker = &s
	}
	for at, c := range m.ended {
		t.Ended = append(t.Ended, ended{at, c})
	}
	for _, p := range k.procs {
		t.Processes = append(t.Processes, k.process(p))
	}
	return k
}

func (k *packer) socket(l *listener) carriedSocket {
	return carriedSocket{Network: l.endpoint.network, Address: l.endpoint.address, Bound: l.bound, FD: k.luggage.add(l.fd)}
}

func (k *packer) program(p *program) int {
	if !k.m.programs[p] {
		return -1
	}
	if i := slices.Index(k.programs, p); i >= 0 {
		return i
	}
	k.programs = append(k.programs, p)
	k.t.Programs = append(k.t.Programs, carriedFile{Path: p.path, FD: k.luggage.addFile(p.file)})
	return len(k.programs) - 1
}

func (k *packer) unit(u *unit) int {
	if i := slices.Index(k.units, u); i >= 0 {
		return i
	}
	c := carriedUnit{
		Role: u.role, Name: u.name, Generation: u.generation, Program: k.program(u.program),
		Bus: u.bus, Cred: u.cred, Data: u.data, Spec: u.spec, DrainMS: u.drainMS, Answers: append([]string{}, u.answers...),
	}
	for _, name := range u.copies {
		if k.m.copies[name] != nil { // else of a process that leaves
			c.Copies = append(c.Copies, name)
		}
	}
	for _, l := range u.listen {
		socket := slices.Index(k.sockets, l.listener) // -1 = the bus
		if socket < 0 && l.listener != k.m.bus {      // of a process that leaves: nothing needs it any more
			continue
		}
		c.Listen = append(c.Listen, carriedListen{Address: l.address, Socket: socket})
	}
	k.units = append(k.units, u)
	k.t.Units = append(k.t.Units, c)
	return len(k.units) - 1
}

func (k *packer) slot(s *slot) carriedSlot {
	recent := make([]time.Time, len(s.recent))
	for i, t := range s.recent {
		recent[i] = carried(t, k.now)
	}
	return carriedSlot{
		Unit: k.unit(s.unit), Index: s.index,
		Proc: slices.Index(k.procs, s.proc), Booting: slices.Index(k.procs, s.booting),
		Restarts: s.restarts, Recent: recent, Delay: s.delay, Degraded: s.degraded,
	}
}

func (k *packer) process(p *process) carriedProc {
	p.mu.Lock()
	defer p.mu.Unlock()
	return carriedProc{
		Unit: k.unit(p.unit), Index: p.slot.index, PID: p.pid, Start: p.start, Started: carried(p.started, k.now),
		Control: k.luggage.addConn(p.ctl), LastID: p.lastID, Silent: p.silent.Load(), Ready: carried(p.readySince, k.now),
		Leaving: p.leaving.Load(), Aborted: p.aborted, Stats: p.stats,
	}
}

// talks adds the clients, which stand; those of now wait for the report.
func (k *packer) talks(now []*waiter) {
	for t := range k.m.srv.clients {
		c := carriedTalk{FD: k.luggage.addConn(t), Begun: t.begun}
		switch {
		case t.reload == nil:
		case slices.Contains(now, t.reload):
			c.Waits = waitsReport
		default:
			c.Waits = waitsReload
		}
		k.t.Talks = append(k.t.Talks, c)
	}
}

// encode writes the record. It is errRestless if a descriptor was closed
// meanwhile: its process died after it had come to a stand.
func (k *packer) encode() ([]byte, error) {
	if err := k.luggage.err; errors.Is(err, net.ErrClosed) {
		return nil, fmt.Errorf("%w: %w", errRestless, err)
	} else if err != nil {
		return nil, err
	}
	return json.Marshal(k.t)
}
