package master

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// unit says how to run the processes of a worker group, or the broker process,
// in one generation. It never changes, so that a respawn equals what it replaces.
type unit struct {
	role       control.Role
	name       string // of the group, "broker" for the broker process
	generation int
	program    *program
	listen     []inherited
	bus        bool                // it talks to the broker process
	cred       *syscall.Credential // nil = the master's
	data       *DataPlan           // what it keeps on disk, nil = nothing
	copies     []string            // what it needs of the master's copies
	spec       json.RawMessage
	drainMS    int64
	scripts    bool     // see Group.Scripts
	answers    []string // see BrokerPlan.Answers
	standby    bool     // a broker process that is to open nothing before it is told to
}

// inherited is a listener under the address that its group knows it by.
type inherited struct {
	address string
	*listener
}

// slotName names a process in messages and, after "pushd: ", in ps.
func (u *unit) slotName(index int) string {
	if u.role == control.RoleBroker {
		return "broker"
	}
	return fmt.Sprintf("worker %s/%d", u.name, index)
}

// shown returns the addresses with the ports that were bound.
func (u *unit) shown() []string {
	list := []string{}
	for _, l := range u.listen {
		if l.address != busAddress {
			list = append(list, l.shown(l.address))
		}
	}
	return list
}

// chosen returns those of shown for which port 0 was asked.
func (u *unit) chosen() (list []string) {
	for _, l := range u.listen {
		if shown := l.shown(l.address); l.address != busAddress && shown != l.address {
			list = append(list, shown)
		}
	}
	return list
}

// slot is the place of one process that should always run. It belongs to the
// master's loop.
type slot struct {
	unit    *unit
	index   int
	proc    *process // serves; nil = none at the moment
	booting *process // a respawn that is not ready yet
	removed bool     // no longer part of the plan
	held    bool     // a reload is about to fill it
	record
}

// record is what a slot remembers of deaths.
type record struct {
	restarts int
	recent   []time.Time   // deaths of the last timing.window
	delay    time.Duration // of the next respawn
	degraded bool
	retry    *time.Timer
}

// forget clears the past after a time of health or a reload, not the counter.
func (r *record) forget() {
	if r.retry != nil {
		r.retry.Stop()
	}
	*r = record{restarts: r.restarts}
}

// discard ends the care for s; a process that it has is left to the caller. It
// runs on the loop.
func (s *slot) discard() {
	s.removed = true
	s.forget()
	if s.booting != nil {
		s.booting.kill()
		s.booting = nil
	}
}

// state is the word that status shows for a slot.
func (s *slot) state() State {
	switch {
	case s.proc != nil && s.proc.leaving.Load():
		return Draining
	case s.proc != nil:
		return Ready
	case s.degraded:
		return Degraded
	case s.booting != nil:
		return Starting
	}
	return Stopped
}

// spawn starts a process of u for s. It runs on the loop, which owns the
// descriptors that the child inherits; waiting for readiness does not.
func (m *master) spawn(s *slot, u *unit) (*process, error) {
	if u.cred != nil {
		if err := u.entrust(s.unit.cred); err != nil {
			return nil, err
		}
	}
	given, err := m.copiesFor(u)
	if err != nil {
		return nil, err
	}
	parent, child, err := control.Pair()
	if err != nil {
		return nil, err
	}
	defer child.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		parent.Close()
		return nil, err
	}
	defer null.Close()
	stdout, stderr := m.out.files()
	files := []uintptr{null.Fd(), stdout.Fd(), stderr.Fd(), child.Fd()}
	hello := m.introduce(s, u)
	for i, l := range u.listen {
		hello.Listeners[i].FD = len(files)
		files = append(files, uintptr(l.fd))
	}
	if u.bus {
		hello.BusFD = len(files)
		files = append(files, uintptr(m.busFD))
	}
	if u.role == control.RoleWorker {
		if f := m.balanceOf(u.name); f != nil {
			hello.BalanceFD = len(files)
			files = append(files, f.Fd())
		}
	}
	for i, c := range hello.Copies {
		hello.Copies[i].FD = len(files)
		files = append(files, given[c.Name].Fd())
	}
	env := append(servingEnv(), control.RoleEnv+"="+string(u.role))
	proc, err := m.kin.start(u.program, []string{"pushd: " + u.slotName(s.index)}, env, files, u.cred)
	if err != nil {
		parent.Close()
		return nil, err
	}
	p := m.newProcess(s, u, proc, parent)
	p.given, p.heir = given, hello.Heir
	m.live[p] = true
	m.saveState()
	p.run(m.kin)
	return p, p.tell(control.TypeInit, hello) // into an empty queue, and Plan.Check has bounded it
}

// introduce makes the child's first message, descriptors still missing.
func (m *master) introduce(s *slot, u *unit) control.Init {
	hello := control.Init{
		Version: control.Version, Role: u.role, Name: u.name, Slot: s.index,
		Generation: u.generation, DrainMS: u.drainMS, Spec: u.spec, Standby: u.standby,
		Heir: u.role == control.RoleWorker && s.proc != nil, Restarts: s.restarts,
	}
	if u.role == control.RoleBroker {
		hello.Tenure = m.inherit()
	}
	if s.unit.cred != nil {
		hello.FormerUID = int(s.unit.cred.Uid)
	}
	for _, l := range u.listen {
		hello.Listeners = append(hello.Listeners, control.Listener{Address: l.address})
	}
	for _, name := range u.copies {
		hello.Copies = append(hello.Copies, control.Copy{Name: name, Kind: m.copies[name].Kind})
	}
	if hello.Tenure != nil {
		fit(&hello)
	}
	return hello
}

// fit leaves out what has no room beside a long Spec: the process hears it from others,
// once it serves.
func fit(hello *control.Init) {
	t := hello.Tenure
	for _, leave := range []func(){func() { t.Kept = nil }, func() { t.Workers = nil }} {
		if raw, err := control.Marshal(hello); err != nil || len(raw) < control.MaxMessage-4<<10 {
			return
		}
		leave()
	}
}

func (m *master) newProcess(s *slot, u *unit, proc *os.Process, ctl *control.Conn) *process {
	p := &process{
		unit: u, slot: s, pid: proc.Pid, started: time.Now(), proc: proc, ctl: ctl,
		log:     m.log.With("name", u.name, "slot", s.index, "generation", u.generation, "pid", proc.Pid),
		out:     make(chan outgoing, outMax),
		verdict: make(chan error, 1), busy: make(chan struct{}, 1), readEnd: make(chan struct{}), gone: make(chan struct{}),
		asked:    map[uint64]chan control.Message{},
		given:    map[string]*os.File{},
		onQuery:  m.answerChild,
		onKeep:   m.keepNodes,
		onExited: func(p *process) { m.post(func() { m.exited(p) }) },
	}
	if st, err := readStat(p.pid); err == nil { // a zombie still has it
		p.start = st.start
	}
	return p
}

// id is the name under which a worker is known on the bus.
func (p *process) id() string {
	return control.Identity{Group: p.unit.name, Slot: p.slot.index, Generation: p.unit.generation}.String()
}

// userOf names whom a group runs as, for people.
func userOf(g Group) string {
	return strings.TrimSuffix(g.User+":"+g.Group, ":")
}
