package master

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// timing holds the bounds that tests shorten.
type timing struct {
	plan       time.Duration // for the program to write its plan
	boot       time.Duration // from spawn to ready
	delayMin   time.Duration // before the first respawn
	delayMax   time.Duration // before any respawn
	window     time.Duration // deaths within it count together; as long alive means healthy
	abortGrace time.Duration // from SIGABRT to SIGKILL
	orphans    time.Duration // how long start waits for sockets of a killed master's children
	leave      time.Duration // beyond the drain, until a worker that leaves is killed
	leaveBus   time.Duration // the same for the broker process
	leaveData  time.Duration // the same where it is known to be at work: it may have a history to write
	silence    time.Duration // the same in a stop: who writes a history says so
	query      time.Duration // for an answer to "stats" and the like
	calm       time.Duration // from the start, or a reload, to Options.Calm
}

var defaultTiming = timing{
	plan: 8 * time.Second, boot: 8 * time.Second, delayMin: 100 * time.Millisecond, delayMax: 10 * time.Second,
	window: 10 * time.Second, abortGrace: 2 * time.Second, orphans: 3 * time.Second,
	leave: 3 * time.Second, leaveBus: 1500 * time.Millisecond, leaveData: 10 * time.Second, silence: 5 * time.Second, query: time.Second, calm: 2 * time.Second,
}

// deathsMax is how many deaths within timing.window a slot may have before it
// is degraded.
const deathsMax = 5

// master supervises. Three kinds of goroutines share the work:
//
//   - the loop owns the state below and never waits for a process;
//   - Run's own goroutine carries out the verbs start, reload and stop, one
//     after the other, and reaches the state by do;
//   - each process, control client and timer has its own and uses do or post.
type master struct {
	o      Options
	t      timing
	out    *logOutput
	log    *slog.Logger
	kin    *family
	events chan func()
	quit   chan struct{} // closed by Run: the loop is to end
	done   chan struct{} // closed by the loop: nothing runs on it any more

	verbs  context.Context // ends when the master is to stop
	cancel context.CancelFunc
	wanted chan struct{} // holds one value when a reload is wanted
	hurry  chan struct{} // closed when a graceful stop is to become a plain one

	dir      *Folder // runtime_dir
	lock     *os.File
	data     map[string]*os.File // data directories that are locked, by path; of Run's goroutine
	self     *program            // what this process runs
	srv      *server
	signals  chan os.Signal
	from     disposition
	started  time.Time
	bus      *listener // the broker's own socket
	busFD    int       // O_PATH descriptor of it
	statuses sharedStatus
	upward   chan struct{} // holds a value for each question of a child that is being answered
	logs     sync.Mutex    // held while the log is opened anew
	looking  sync.Mutex    // held while files of copies are looked at
	mute     bool          // it was told that there is no control socket; of Run's goroutine

	// Owned by the loop.
	plan       *Plan
	generation int
	reloads    ReloadStatus
	programs   map[*program]bool // open ones
	listeners  map[endpoint]*listener
	slots      []*slot // of workers, by group in plan order and index
	broker     *slot   // nil = no broker process
	live       map[*process]bool
	ended      map[place]control.Counters
	copies     map[string]*hold
	balances   map[string]*os.File      // by group, see balanceOf
	issues     map[string]control.Issue // what the broker process says of certificates that it orders, by file
	renewed    time.Time                // when a look has last renewed one of files, since the last reload; zero = it has not
	orphans    []Orphan                 // of the killed master before this one
	waiters    []*waiter
	stopping   *StopOptions // nil = not stopping
	rostered   chan struct{}
	tenure     tenure
	complete   bool // a start is over, see rosterChanged
	frozen     bool // the master is about to execute its new version: no process may come
}

func newMaster(o Options, t timing) *master {
	m := &master{
		o: o, t: t, out: newLogOutput(), kin: &family{own: map[int]bool{}},
		events: make(chan func(), 64), quit: make(chan struct{}), done: make(chan struct{}),
		wanted: make(chan struct{}, 1), hurry: make(chan struct{}),
		started: time.Now(), plan: &Plan{}, signals: make(chan os.Signal, 16),
		upward:   make(chan struct{}, 16),
		programs: map[*program]bool{}, listeners: map[endpoint]*listener{}, live: map[*process]bool{},
		ended: map[place]control.Counters{}, copies: map[string]*hold{}, balances: map[string]*os.File{}, data: map[string]*os.File{}, tenure: newTenure(),
	}
	m.log = newLogger(m.out, m.plan)
	return m
}

// post hands f to the loop. After the loop's end it is dropped.
func (m *master) post(f func()) {
	select {
	case m.events <- f:
	case <-m.done:
	}
}

// within returns a context that ends after d or when the master is to stop.
func (m *master) within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.verbs, d)
}

// do runs f on the loop and waits for it; false means that the master is gone.
func (m *master) do(f func()) bool {
	ran := make(chan struct{})
	m.post(func() { f(); close(ran) })
	select {
	case <-ran:
		return true
	case <-m.done:
		return false
	}
}

// loop runs until quit is closed.
func (m *master) loop() {
	defer close(m.done)
	defer signal.Stop(m.signals)
	unread := make(chan os.Signal, 1) // a log reader that left is no reason to die
	signal.Notify(unread, syscall.SIGPIPE)
	defer signal.Stop(unread)

	ended := m.verbs.Done()
	watch := newWatch()
	defer watch.timer.Stop()
	alive, quiet := keepAlive()
	defer quiet()
	for {
		select {
		case f := <-m.events:
			f()
		case sig := <-m.signals:
			m.onSignal(sig)
		case <-watch.timer.C:
			m.patrol(watch)
		case <-alive:
			m.manage(isAlive)
		case <-ended:
			ended = nil
			if m.stopping == nil { // it was Run's own context
				m.requestStop(StopOptions{})
			}
		case <-m.quit:
			return
		}
	}
}
