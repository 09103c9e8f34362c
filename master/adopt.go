package master

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// TakeOver goes on with the life of the master whose process this is, when
// TakeoverEnv is set: the master has executed this program in its own place.
// It returns as Run does. With the value "check" it only says whether it could.
// version is shown by status; calm is what Options.Calm is to Run.
func TakeOver(ctx context.Context, version string, calm func()) error {
	word := os.Getenv(TakeoverEnv)
	os.Unsetenv(TakeoverEnv) // not for children
	if word == takeoverCheck {
		return checkTakeover(version)
	}
	fd, err := strconv.Atoi(word)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%q is no descriptor: it is for the master only", TakeoverEnv, word)
	}
	if err := supported(); err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "record")
	data, err := io.ReadAll(file)
	file.Close()
	if err != nil {
		return fmt.Errorf("read the record of the running master: %w", err)
	}
	record, err := parseTakeover(data)
	if err != nil {
		return err
	}
	setName(filepath.Base(record.Options.Program))
	return adopt(ctx, record, version, calm)
}

// adopt makes the master of the record and runs it.
func adopt(ctx context.Context, t *takeover, version string, calm func()) error {
	o := t.Options
	o.Version, o.Calm = version, calm
	a := &adopter{t: t, m: newMaster(o, defaultTiming), now: time.Now()}
	t.Begin = arrived(t.Begin, a.now)
	m := a.m
	m.dir = adoptFolder(o.RuntimeDir, m.log)
	defer m.dir.Close()
	m.lock = os.NewFile(uintptr(a.keep(t.Lock)), lockFile)
	defer releaseLock(m.lock)
	defer m.unlockData(nil)
	defer m.closeBus()
	if err := m.openSelf(); err != nil {
		return err
	}
	a.restore()
	srv, err := a.server()
	if err != nil {
		return err
	}
	return m.govern(ctx, srv, func() error {
		m.do(func() { a.revive() })
		m.manage(isReady)
		if err := m.lockData(m.brokerData()); err != nil { // it was free for the moment of the replacement
			m.log.Error("data_dir", "error", err)
		}
		a.answer(srv)
		m.log.Info("reload done, the master's own code too", "version", version, "was", t.Options.Version,
			"slots", len(t.Report.Slots), "drained", t.Report.Drained, "stood_still", time.Since(t.Begin).Round(time.Millisecond))
		m.lookAgain()
		return nil
	})
}

// adoptFolder opens the runtime folder again. checkTakeover has done so a moment
// ago; should it fail now, the service goes on without it, and says so whenever
// there is something to write.
func adoptFolder(path string, log *slog.Logger) *Folder {
	d, err := OpenFolder(path)
	if err != nil {
		log.Error("runtime_dir not opened", "error", err)
		d = &Folder{path: path}
	}
	return d
}

// lookAgain does what a signal would have done that came while nobody listened
// (deafen): it stops if the terminal is gone, reopens the log, and asks for a
// reload if the program or the plan is another than what runs. It runs on Run's
// goroutine.
func (m *master) lookAgain() {
	m.do(func() { m.stopIfHungUp() })
	m.reopenOnSignal()
	p, err := openProgram(m.o.Program)
	if err == nil {
		defer p.close()
		var plan *Plan
		if plan, err = readPlan(m.verbs, m.kin, p, m.o.PlanArgs, m.t.plan); err == nil {
			m.adjust(plan)
			m.do(func() {
				if !p.same(m.self) || !plan.equal(m.plan) {
					m.requestReload(nil)
				}
			})
		}
	}
	if err != nil && m.verbs.Err() == nil {
		m.log.Warn("no look at what there is to reload by now", "error", err)
	}
}

// adopter turns a record, which parseTakeover has checked, into a master.
type adopter struct {
	t        *takeover
	m        *master
	now      time.Time
	programs []*program
	sockets  []*listener
	units    []*unit
	procs    []*process
}

// keep takes over a descriptor.
func (a *adopter) keep(fd int) int {
	_ = setInherited(fd, false) // a bad number fails where it is used
	return fd
}

// restore fills in what the loop owns, before there is one. No process runs
// its goroutines yet.
func (a *adopter) restore() {
	m, t := a.m, a.t
	m.started, m.generation, m.reloads, m.orphans = arrived(t.Started, a.now), t.Generation, t.Reloads, t.Orphans
	if t.Tenure != nil {
		m.tenure = *t.Tenure
		m.tenure.Drawn = arrived(m.tenure.Drawn, a.now)
	}
	m.from = t.From
	m.from.Terminal = m.from.Terminal || hasTerminal() // records of earlier versions do not say
	m.plan = t.Plan
	if t.Log >= 0 {
		m.out.swap(t.LogPath, os.NewFile(uintptr(a.keep(t.Log)), t.LogPath))
	}
	m.log = newLogger(m.out, m.plan)
	m.bus, m.busFD = a.socket(t.Bus), a.keep(t.BusFD)
	for _, p := range t.Programs {
		prog := &program{path: p.Path, file: os.NewFile(uintptr(a.keep(p.FD)), p.Path)}
		a.programs = append(a.programs, prog)
		m.programs[prog] = true
	}
	for _, s := range t.Sockets {
		l := a.socket(s)
		a.sockets = append(a.sockets, l)
		m.listeners[l.endpoint] = l
	}
	for _, b := range t.Balances {
		m.balances[b.Path] = os.NewFile(uintptr(a.keep(b.FD)), b.Path)
	}
	for _, c := range t.Copies {
		h, err := a.copy(c)
		if err != nil {
			m.log.Error("copy not taken over: what needs it cannot be started again before the next reload", "of", c.Copy.Name, "error", err)
			continue
		}
		m.copies[h.Name] = h
	}
	for _, u := range t.Units { // after the sockets
		a.units = append(a.units, a.unit(u))
	}
	a.procs = make([]*process, len(t.Processes))
	for _, s := range t.Slots {
		m.slots = append(m.slots, a.slot(s))
	}
	if t.Broker != nil {
		m.broker = a.slot(*t.Broker)
	}
	for i := range a.procs { // those that leave, of slots that are gone or have another
		c := t.Processes[i]
		a.process(i, &slot{unit: a.units[c.Unit], index: c.Index, removed: true})
	}
	for _, e := range t.Ended {
		m.ended[e.place] = e.Counters
	}
	if t.Wanted {
		m.wanted <- struct{}{}
	}
}

func (a *adopter) socket(s carriedSocket) *listener {
	return &listener{endpoint: endpoint{s.Network, s.Address}, bound: s.Bound, fd: a.keep(s.FD)}
}

func (a *adopter) unit(c carriedUnit) *unit {
	u := &unit{
		role: c.Role, name: c.Name, generation: c.Generation,
		bus: c.Bus, cred: c.Cred, copies: c.Copies, data: c.Data, spec: c.Spec, drainMS: c.DrainMS, answers: c.Answers,
	}
	if c.Answers == nil && c.Role == control.RoleBroker { // the reload that brought us has replaced it first
		u.answers = append(slices.Clone(control.Answers), control.QueryConnections)
	}
	if c.Program >= 0 {
		u.program = a.programs[c.Program]
	}
	for _, l := range c.Listen {
		socket := a.m.bus
		if l.Socket >= 0 {
			socket = a.sockets[l.Socket]
		}
		u.listen = append(u.listen, inherited{l.Address, socket})
	}
	return u
}

func (a *adopter) slot(c carriedSlot) *slot {
	s := &slot{unit: a.units[c.Unit], index: c.Index}
	s.restarts, s.recent, s.delay, s.degraded = c.Restarts, c.Recent, c.Delay, c.Degraded
	for i, t := range s.recent {
		s.recent[i] = arrived(t, a.now)
	}
	s.proc = a.process(c.Proc, s)
	s.booting = a.process(c.Booting, s)
	return s
}

// process makes the process of s that has the place i in the record, once.
func (a *adopter) process(i int, s *slot) *process {
	if i < 0 || a.procs[i] != nil {
		return nil
	}
	c := a.t.Processes[i]
	ctl, err := control.Open(os.NewFile(uintptr(a.keep(c.Control)), "control"))
	if err != nil {
		a.m.log.Error("control channel not taken over", "pid", c.PID, "error", err)
		ctl = nil
	}
	proc, _ := os.FindProcess(c.PID) // never fails on Linux
	p := a.m.newProcess(s, a.units[c.Unit], proc, ctl)
	if p.start != c.Start { // reaped in the last moment of the old program; the number may be a stranger's by now
		if ctl != nil {
			ctl.Close()
		}
		p.ctl = nil
	}
	p.start, p.started, p.lastID, p.stats = c.Start, arrived(c.Started, a.now), c.LastID, c.Stats
	p.readySince, p.aborted = arrived(c.Ready, a.now), c.Aborted
	p.isReady.Store(!c.Ready.IsZero())
	p.leaving.Store(c.Leaving)
	p.silent.Store(c.Silent)
	a.procs[i] = p
	return p
}

// server makes the server of commands, its clients not yet served.
func (a *adopter) server() (*server, error) {
	f := os.NewFile(uintptr(a.keep(a.t.Control)), controlSock)
	defer f.Close() // FileListener has a duplicate
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over the control socket: %w", err)
	}
	u, ok := ln.(*net.UnixListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("take over the control socket: it is a %T", ln)
	}
	u.SetUnlinkOnClose(true)
	return newServer(a.m, u), nil
}

// revive lets the processes run on and does what is due. It runs on the loop.
func (a *adopter) revive() {
	m := a.m
	for _, p := range a.procs {
		m.live[p] = true
		m.kin.adopt(p.pid)
		if p.ctl == nil {
			p.exit = "while the master executed its new version"
			close(p.readEnd)
			m.kin.forget(p.pid)
			m.exited(p)
			close(p.gone)
			continue
		}
		p.run(m.kin)
		if p.aborted {
			time.AfterFunc(m.t.abortGrace, p.kill)
		}
	}
	if os.Getpid() == 1 {
		reapStrangers(m.kin) // whoever died while nobody listened for it
	}
	for _, s := range m.allSlots() {
		m.pickUp(s)
	}
	m.complete = true
	m.rosterChanged()
	m.saveState()
}

// answer goes on with the clients of the control socket: those that wait for
// the reload get its report.
func (a *adopter) answer(srv *server) {
	report := a.t.Report
	report.Master.MS = time.Since(a.t.Begin).Milliseconds()
	for _, c := range a.t.Talks {
		f := os.NewFile(uintptr(a.keep(c.FD)), "command")
		nc, err := net.FileConn(f)
		f.Close()
		uc, ok := nc.(*net.UnixConn)
		if err != nil || !ok {
			a.m.log.Warn("command not taken over", "error", err)
			continue
		}
		t := newTalk(uc)
		t.begun = c.Begun
		if c.Waits != "" {
			t.reload = newWaiter()
		}
		if !srv.enter(t) {
			uc.Close()
			continue
		}
		switch c.Waits {
		case waitsReport:
			t.reload.result(report, nil)
		case waitsReload:
			a.m.do(func() { a.m.requestReload(t.reload) })
		}
		go srv.resume(t)
	}
}

// resume goes on with a client of the master's old program.
func (s *server) resume(t *talk) {
	defer s.exit(t)
	if t.reload != nil && !s.awaitReload(t) {
		return
	}
	s.converse(t)
}
