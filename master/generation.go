package master

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
)

// generation is what one plan asks for, with everything at hand whose opening
// can fail: until a generation is complete, nothing that runs is touched.
type generation struct {
	number  int
	plan    *Plan
	program *program
	sockets map[endpoint]*listener // of the plan
	copies  map[string]*hold       // of the plan
	opened  []*listener            // those of sockets that are new
	groups  []*unit                // in plan order
	broker  *unit                  // nil = the plan has no broker process
}

// foundation is what a generation is built on.
type foundation struct {
	number   int
	bus      *listener
	sockets  map[endpoint]*listener // bound already
	copies   map[string]*hold       // read already
	fixed    map[string]string      // keys that must not change
	broker   *syscall.Credential    // of the broker process that runs
	patience time.Duration          // with sockets that others still close
}

// prepare runs the program for its plan and opens what the plan names. On
// failure everything that was opened is closed again. The error is a
// *ReloadError that names the step.
func (m *master) prepare(ctx context.Context, on foundation) (*generation, error) {
	back := m.arrive()
	prog, err := openProgram(m.o.Program)
	if err != nil {
		back()
		return nil, &ReloadError{Step: "open program", Err: err}
	}
	g := &generation{number: on.number, program: prog}
	if step, err := m.fill(ctx, g, on); err != nil {
		back()
		g.discard()
		return nil, &ReloadError{Step: step, Err: err}
	}
	return g, nil
}

// discard closes what prepare opened.
func (g *generation) discard() {
	g.program.close()
	for _, l := range g.opened {
		l.close()
	}
}

func (m *master) fill(ctx context.Context, g *generation, on foundation) (step string, err error) {
	if g.plan, err = readPlan(ctx, m.kin, g.program, m.o.PlanArgs, m.t.plan); err != nil {
		return "plan", err
	}
	if g.plan.RuntimeDir != m.o.RuntimeDir {
		return "plan", fmt.Errorf("runtime_dir is %s, but the master runs in %s: use restart", g.plan.RuntimeDir, m.o.RuntimeDir)
	}
	if err := g.plan.changeable(on.fixed); err != nil {
		return "plan", err
	}
	m.adjust(g.plan)
	creds := make([]*syscall.Credential, len(g.plan.Workers))
	for i, w := range g.plan.Workers {
		if creds[i], err = credentialOf(w.User, w.Group); err != nil {
			return "user", fmt.Errorf("worker group %q: %w", w.Name, err)
		}
	}
	var brokerCred *syscall.Credential
	if b := g.plan.Broker; b != nil {
		if brokerCred, err = credentialOf(b.User, b.Group); err != nil {
			return "user", fmt.Errorf("the broker process: %w", err)
		}
		if on.broker != nil && brokerCred != nil && on.broker.Uid != brokerCred.Uid {
			return "user", errors.New("broker.user has changed to a third one, and while both run data_dir can belong to one only: use restart")
		}
	}
	if b := g.plan.Broker; b != nil {
		if err := m.lockData(b.Data); err != nil {
			return "data_dir", err
		}
	}
	if err := certs.HideMemory(); err != nil {
		m.log.Warn("a core dump of this process, or of one that it starts, would have keys and other secrets in it", "error", err)
	}
	if g.copies, err = g.plan.readCopies(on.copies, time.Now()); err != nil {
		return "certificates", err
	}
	if err := g.bindAll(ctx, on); err != nil {
		return "bind", err
	}
	for i, w := range g.plan.Workers {
		g.groups = append(g.groups, &unit{
			role: control.RoleWorker, name: w.Name, cred: creds[i], spec: w.Spec,
			generation: g.number, program: g.program, drainMS: g.plan.DrainMS,
			listen: g.inherit(w.Listen), bus: g.plan.Broker != nil, copies: w.Copies, scripts: w.Scripts,
		})
	}
	if b := g.plan.Broker; b != nil {
		g.broker = &unit{
			role: control.RoleBroker, name: "broker", spec: b.Spec, cred: brokerCred, data: b.Data,
			generation: g.number, program: g.program, drainMS: g.plan.DrainMS,
			listen: append([]inherited{{busAddress, on.bus}}, g.inherit(b.Listen)...), copies: b.Copies, answers: b.Answers,
		}
	}
	return "", nil
}

// adjust puts what the master was started with in the place of what a plan
// leaves open.
func (m *master) adjust(p *Plan) {
	if p.LogFile == "" {
		p.LogFile = m.o.LogFile
	}
}

// bindAll finds or opens every socket of the plan.
func (g *generation) bindAll(ctx context.Context, on foundation) error {
	g.sockets = map[endpoint]*listener{}
	for _, l := range g.plan.Listeners {
		e, err := endpointOf(l.Address)
		if err != nil {
			return err
		}
		s := on.sockets[e]
		if s == nil || s.lost() {
			if s, err = bind(ctx, l, on.patience); err != nil {
				return err
			}
			g.opened = append(g.opened, s)
		} else if err := s.setOptions(l); err != nil {
			return fmt.Errorf("set options of %s: %w", l.Address, err)
		}
		g.sockets[e] = s
	}
	return nil
}

// inherit looks up addresses that Plan.Check has found in the plan.
func (g *generation) inherit(addresses []string) []inherited {
	var list []inherited
	for _, a := range addresses {
		e, _ := endpointOf(a) // bindAll has read it
		list = append(list, inherited{a, g.sockets[e]})
	}
	return list
}

// install makes g the first generation. It runs on the loop.
func (m *master) install(g *generation) {
	m.plan, m.generation = g.plan, g.number
	m.listeners, m.copies = g.sockets, g.copies
	m.programs[g.program] = true
	for i, u := range g.groups {
		for n := range g.plan.Workers[i].Count {
			m.slots = append(m.slots, &slot{unit: u, index: n})
		}
	}
	if g.broker != nil {
		m.broker = &slot{unit: g.broker}
	}
}

// release closes the sockets and programs, and forgets the copies, that no slot
// uses any more. It runs
// on the loop.
func (m *master) release() {
	used := map[*program]bool{}
	sockets := map[*listener]bool{}
	copies := map[string]bool{}
	names := map[string]bool{}
	for _, s := range m.allSlots() {
		used[s.unit.program] = true
		names[s.unit.name] = true
		for _, name := range s.unit.copies {
			copies[name] = true
		}
		for _, l := range s.unit.listen {
			sockets[l.listener] = true
		}
	}
	for p := range m.programs {
		if !used[p] {
			p.close()
			delete(m.programs, p)
		}
	}
	maps.DeleteFunc(m.copies, func(name string, _ *hold) bool { return !copies[name] })
	maps.DeleteFunc(m.balances, func(name string, f *os.File) bool {
		if !names[name] {
			f.Close()
		}
		return !names[name]
	})
	maps.DeleteFunc(m.listeners, func(_ endpoint, l *listener) bool {
		if !sockets[l] {
			l.close()
		}
		return !sockets[l]
	})
}

// closePrograms is for the end. It runs on the loop.
func (m *master) closePrograms() {
	for p := range m.programs {
		p.close()
		delete(m.programs, p)
	}
}

// allSlots returns the slots of workers and of the broker process.
func (m *master) allSlots() []*slot {
	if m.broker == nil {
		return m.slots
	}
	return append(slices.Clone(m.slots), m.broker)
}

// openBus makes the broker's own socket. Workers reach it through an inherited
// descriptor, so that it keeps no name: whoever has no descriptor has no way
// in, and a worker that runs as another user needs no right to the directory.
func (m *master) openBus(ctx context.Context) error {
	path := filepath.Join(m.o.RuntimeDir, busSock)
	_ = m.dir.Remove(busSock) // ours alone: the lock is held
	l, err := open(ctx, endpoint{"unix", path})
	if err != nil {
		return explainBind("unix://"+path, endpoint{"unix", path}, err)
	}
	m.busFD = -1
	if err = m.dir.openFor(busSock, 0o666); err == nil {
		m.busFD, err = m.dir.socket(busSock)
	}
	l.endpoint.network = nameless // nothing to remove when it is closed
	m.bus = l
	if err = errors.Join(err, m.dir.Remove(busSock)); err != nil {
		return fmt.Errorf("open broker socket: %w", err)
	}
	return nil
}

func (m *master) closeBus() {
	if m.bus != nil {
		m.bus.close()
		syscall.Close(m.busFD)
	}
}
