// Package master supervises pushd's processes: it owns the listening sockets,
// starts the broker process and the workers, watches and replaces them, and
// answers on a control socket. It parses no config, runs no user code and
// touches no client's bytes: the program on disk makes the Plan, children do
// the work.
//
// Invariants: one master per runtime directory; a slot has at most one serving
// process, and at most one that is to become it; nothing ever waits for a
// process without a bound; no signal goes to a bare pid.
package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Options say what to run and where.
type Options struct {
	Program    string        // absolute path; opened anew with each reload
	PlanArgs   []string      // arguments that make Program write its plan to $PUSHD_PLAN_FD
	RuntimeDir string        // absolute; created with mode 0750
	Dir        string        // absolute, entered before each plan; "" = stay
	Version    string        // for status
	Foreground bool          // without it stdout and stderr go to the log file
	LogFile    string        // when the plan names none; "" = stderr, as PID 1 stdout
	Sockets    []Socket      `json:"-"` // listening sockets to begin with; what the plan does not name is closed
	Look       time.Duration // how often files are looked at: those of certificates, the control socket; 0 = once a minute
	Announce   func(Started) `json:"-"` // called once, when every worker is ready; may be nil
	Calm       func()        `json:"-"` // called some time after the start and after each reload, when nothing is under way; may be nil
}

// busAddress is what the broker process knows its own socket by.
const busAddress = "bus"

// quitTimeout bounds the graceful stop of a SIGQUIT.
const quitTimeout = 60 * time.Second

var errInterrupted = errors.New("stopped before it was ready")

// Run is the master's life: it takes the lock, starts everything and supervises
// until it is stopped by a command, a signal or the end of ctx. It returns nil
// after an ordered stop, else why the start failed; in both cases nothing is
// left running. A second master for the same directory fails within a second
// with an *AlreadyRunningError.
func Run(ctx context.Context, o Options) error { return run(ctx, o, defaultTiming) }

func run(ctx context.Context, o Options, t timing) error {
	if err := supported(); err != nil {
		return err
	}
	if !filepath.IsAbs(o.RuntimeDir) || !filepath.IsAbs(o.Program) {
		return fmt.Errorf("runtime directory %q and program %q must be absolute paths", o.RuntimeDir, o.Program)
	}
	dir, err := makeFolder(o.RuntimeDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer releaseLock(lock)
	m := newMaster(o, t)
	m.dir, m.lock, m.from = dir, lock, readDisposition()
	defer m.unlockData(nil)
	defer m.closeBus()
	if err := m.openSelf(); err != nil {
		return err
	}
	// From here to the start of the loop any signal just ends the preparations.
	early, heard := untilSignal(ctx, m.from.heeded(syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)...)
	defer heard()
	first, err := m.prepareFirst(early)
	if early.Err() != nil {
		if err == nil {
			first.discard()
		}
		return errInterrupted
	}
	if err != nil {
		return err
	}
	return m.run(ctx, heard, first)
}

// prepareFirst makes everything that can fail before a process is spawned.
func (m *master) prepareFirst(ctx context.Context) (*generation, error) {
	m.findOrphans()
	if err := m.openBus(ctx); err != nil {
		return nil, err
	}
	on := foundation{number: 1, bus: m.bus, sockets: m.given()}
	if len(m.orphans) > 0 {
		on.patience = m.t.orphans
	}
	g, err := m.prepare(ctx, on)
	if err != nil {
		return nil, err
	}
	for e, l := range on.sockets {
		if s := g.sockets[e]; s != nil && s != l { // it was lost
			l.forsake(g.number)
		}
		if g.sockets[e] != l {
			l.close()
		}
	}
	f, err := openLog(g.plan.LogFile)
	if err != nil {
		g.discard()
		return nil, err
	}
	m.out.swap(g.plan.LogFile, f)
	m.log = newLogger(m.out, g.plan)
	return g, nil
}

// run is the part of the master's life in which there are processes. heard says whether a
// signal came before the loop listened for any.
func (m *master) run(ctx context.Context, heard func() bool, first *generation) error {
	ln, err := m.listenControl()
	if err != nil {
		first.discard()
		return err
	}
	return m.govern(ctx, newServer(m, ln), func() error {
		m.do(func() { m.install(first) })
		if heard() {
			return errInterrupted
		}
		return m.start()
	})
}

// govern runs the loop and serves commands and reloads from begin, which has to
// succeed, to the ordered end.
func (m *master) govern(ctx context.Context, srv *server, begin func() error) error {
	m.verbs, m.cancel = context.WithCancel(ctx)
	defer m.cancel()
	m.srv = srv
	m.listen()
	go m.loop()
	go srv.serve()
	err := begin()
	if err == nil {
		go m.watchCopies()
		m.serve()
	}
	m.shutdown(err)
	srv.close()
	close(m.quit)
	<-m.done
	m.out.lines.Flush(flushWait)
	m.out.swap("", nil)
	return err
}

// openSelf opens the program that this process runs, whatever its path leads to
// by now.
func (m *master) openSelf() (err error) {
	m.self, err = openProgram("/proc/self/exe")
	return err
}

// start carries out the verb: the broker process, then the workers, then the
// good news.
func (m *master) start() error {
	err := m.bootAll()
	if err == nil {
		err = m.settleRoster(m.t.boot)
	}
	if m.verbs.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	var told Started
	m.do(func() { told = m.startedTable() })
	told.room(m.status())
	if m.o.Announce != nil {
		m.o.Announce(told)
	}
	if !m.o.Foreground {
		m.adoptLog()
	}
	m.manage(isReady)
	m.log.Info("ready", "version", m.o.Version, "groups", len(told.Groups))
	return nil
}

// manage tells the service manager, which may be gone.
func (m *master) manage(state string) {
	if err := notifyManager(state); err != nil {
		m.log.Warn("service manager not told", "error", err)
	}
}

// serve carries out reloads until the master is to stop.
func (m *master) serve() {
	calm := time.NewTimer(m.t.calm)
	defer calm.Stop()
	look := time.NewTicker(m.look())
	defer look.Stop()
	for {
		select {
		case <-m.verbs.Done():
			return
		case <-calm.C:
			if m.o.Calm != nil {
				m.o.Calm()
			}
		case <-look.C:
			m.keepControl()
		case <-m.wanted:
			m.keepControl()
			m.reloadForAll()
			calm.Reset(m.t.calm)
		}
	}
}

// bootAll starts the broker process, then the workers.
func (m *master) bootAll() error {
	var broker *slot
	var workers []*slot
	m.do(func() { broker, workers = m.broker, m.slots })
	if broker != nil {
		if err := m.bootSlots([]*slot{broker}); err != nil {
			return err
		}
	}
	if err := m.bootSlots(workers); err != nil {
		return err
	}
	m.do(func() { m.complete = true; m.rosterChanged() })
	return nil
}

// bootSlots starts all of slots at once and returns at the first failure.
func (m *master) bootSlots(slots []*slot) error {
	var procs []*process
	var err error
	m.do(func() {
		for _, s := range slots {
			var p *process
			if p, err = m.spawn(s, s.unit); err != nil {
				err = fmt.Errorf("%s: %w", s.unit.slotName(s.index), err)
				return
			}
			s.booting = p
			procs = append(procs, p)
		}
	})
	if err != nil {
		return err
	}
	verdicts := make(chan error, len(procs))
	for _, p := range procs {
		go func() {
			err := p.waitReady(m.verbs, m.t.boot)
			if err != nil {
				err = fmt.Errorf("%s: %w", p.unit.slotName(p.slot.index), err)
			}
			verdicts <- err
		}()
	}
	for range procs {
		if err := <-verdicts; err != nil {
			return err
		}
	}
	m.do(func() {
		for i, s := range slots {
			if !m.adopt(s, procs[i]) && err == nil {
				err = fmt.Errorf("%s: ended as soon as it was ready; see the log", procs[i])
			}
		}
	})
	return err
}

func (m *master) startedTable() Started {
	t := Started{PID: os.Getpid(), Version: m.o.Version, RuntimeDir: m.o.RuntimeDir, LogFile: m.out.path}
	for _, s := range m.slots {
		if s.index == 0 {
			t.Groups = append(t.Groups, StartedGroup{Name: s.unit.name, Listen: s.unit.shown()})
			t.Chosen = append(t.Chosen, s.unit.chosen()...)
		}
		t.Groups[len(t.Groups)-1].Count++
	}
	for i, g := range m.plan.Workers {
		t.Groups[i].User = userOf(g)
	}
	if m.broker != nil {
		t.Broker = m.broker.unit.shown()
		t.BrokerUser = userOf(Group{User: m.plan.Broker.User, Group: m.plan.Broker.Group})
	}
	return t
}

// room notes what the workers say of their limits.
func (t *Started) room(st *Status) {
	for i := range t.Groups {
		for _, w := range st.Workers {
			var n struct {
				Limit int `json:"connections_limit"`
			}
			if w.Name == t.Groups[i].Name && json.Unmarshal(w.Stats, &n) == nil {
				t.Groups[i].Room = max(t.Groups[i].Room, n.Limit)
			}
		}
	}
}

// adoptLog puts the log file on a daemon's own stdout and stderr, so that even
// a crash of the master is written there.
func (m *master) adoptLog() {
	f, _ := m.out.files()
	if f == os.Stdout {
		return
	}
	for _, fd := range []int{syscall.Stdout, syscall.Stderr} {
		if err := redirect(int(f.Fd()), fd); err != nil {
			m.log.Warn("log file not put on stdout and stderr", "error", err)
		}
	}
}
