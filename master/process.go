package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Bounds of the conversation with one child.
const (
	outMax    = 64              // messages that wait for a child to read
	askedMax  = 256             // questions without an answer
	sendBound = 2 * time.Second // a child that does not read for so long loses the message

	destroyBound = 5 * time.Second // from SIGKILL to the end
)

var errBusy = errors.New("does not read its control messages")

// process is a running child. Its methods may be called by any goroutine and
// never block on the child; fields below "loop" belong to the master's loop.
//
// It has three goroutines: write sends what is queued, read takes what the
// child says, reap waits for its end. All three end with it.
type process struct {
	unit    *unit
	slot    *slot
	pid     int
	start   uint64 // procStat.start
	started time.Time
	log     *slog.Logger

	proc *os.Process
	ctl  *control.Conn
	out  chan outgoing

	verdict  chan error    // one value: nil for ready, else a *bootError
	busy     chan struct{} // holds a token when it has said that it gets on
	readEnd  chan struct{} // closed when the child's end of the channel is
	gone     chan struct{} // closed once it is reaped
	exit     string        // how it ended; set before gone is closed
	silent   atomic.Int64  // ns since the last answer to a ping, or to "stats", as the watchdog counts
	prompt   atomic.Bool   // "stats" was answered in time since the watchdog last relied on it
	isReady  atomic.Bool
	leaving  atomic.Bool // told to stop
	onQuery  func(*process, control.Message)
	onKeep   func(*process, json.RawMessage)
	onExited func(*process)
	still    atomic.Pointer[standstill] // not nil while the master comes to a stand

	mu      sync.Mutex
	lastID  uint64
	asked   map[uint64]chan control.Message
	stats   json.RawMessage // newest answer to "stats", or report
	statsID uint64          // of the question that it answers

	onAbort atomic.Pointer[func()] // what is to end before the child runs on to write its stacks

	// loop
	readySince time.Time // zero = not ready
	aborted    bool      // the watchdog has dumped it

	heir  bool                // was told that connections will come
	given map[string]*os.File // copies that it has, or is about to get, by name
}

type outgoing struct {
	msg   control.Message
	files []*os.File
	stand *stand // not nil: no message, but the order to stand still
}

// bootError says at which step a child gave up before it was ready.
type bootError struct {
	step string
	err  error
	lost int // connections that it had taken over
}

func (e *bootError) Error() string { return e.step + ": " + e.err.Error() }
func (e *bootError) Unwrap() error { return e.err }

// run starts the goroutines of p.
func (p *process) run(kin *family) {
	go p.write()
	go p.read()
	go p.reap(kin)
}

func (p *process) write() {
	for {
		select {
		case o := <-p.out:
			if o.stand != nil {
				o.stand.wait()
				continue
			}
			_ = p.ctl.SetWriteDeadline(time.Now().Add(sendBound))
			if err := p.ctl.SendMessage(o.msg, o.files...); err != nil && !p.isGone() {
				p.log.Debug("message not delivered", "type", o.msg.Type, "error", err)
			}
		case <-p.gone:
			return
		}
	}
}

func (p *process) read() {
	defer close(p.readEnd)
	for {
		m, files, err := p.ctl.Receive()
		for _, f := range files { // no message to the master carries any
			f.Close()
		}
		if p.paused(err) {
			continue
		}
		if err != nil {
			time.AfterFunc(sendBound, func() { p.lost(err) })
			return
		}
		p.receive(m)
	}
}

// lost deals with a child that lives on without its control channel.
func (p *process) lost(err error) {
	if !p.isGone() && !p.leaving.Load() {
		p.log.Error("process has lost its control channel and is killed", "error", err)
		p.kill()
	}
}

func (p *process) receive(m control.Message) {
	switch m.Type {
	case control.TypeBusy:
		select {
		case p.busy <- struct{}{}:
		default:
		}
	case control.TypeReady:
		p.isReady.Store(true)
		p.decide(nil)
	case control.TypeFailed:
		var f control.Failed
		if err := json.Unmarshal(m.Body, &f); err != nil || f.Step == "" {
			f = control.Failed{Step: "start", Error: "it gave no reason; see the log"}
		}
		p.decide(&bootError{step: f.Step, err: errors.New(f.Error)})
	case control.TypePong:
		p.silent.Store(0)
	case control.TypeAnswer:
		p.mu.Lock()
		c := p.asked[m.ID]
		delete(p.asked, m.ID)
		p.mu.Unlock()
		if c != nil {
			c <- m // has room for one
		}
	case control.TypeReport:
		p.heard(lastWord, m.Body)
	case control.TypeQuery:
		p.onQuery(p, m)
	case control.TypeKeep:
		p.onKeep(p, m.Body)
	default:
		p.log.Warn("unknown control message ignored", "type", m.Type)
	}
}

// decide records the first word about the child's start.
func (p *process) decide(err error) {
	select {
	case p.verdict <- err:
	default:
	}
}

// reap waits for the child's end. What it said last is read before its end is
// announced; a channel that a grandchild holds open is waited for a second.
func (p *process) reap(kin *family) {
	state, err := kin.wait(p.proc)
	select {
	case <-p.readEnd:
	case <-time.After(time.Second):
	}
	p.ctl.Close()
	<-p.readEnd
	if p.exit = "wait failed"; err == nil {
		p.exit = state.String()
	}
	p.onExited(p) // before gone is closed: whoever waits for it finds the loop informed
	close(p.gone)
}

func (p *process) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// patience returns a context that ends when the child has not said for so long that
// it gets on. Only one at a time hears it.
func (p *process) patience(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		late := time.NewTimer(bound)
		defer late.Stop()
		for {
			select {
			case <-p.busy:
				late.Reset(bound)
			case <-late.C:
				cancel()
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// waitReady returns nil once the child is ready, else a *bootError. The child
// then still runs, unless it is gone.
func (p *process) waitReady(ctx context.Context, timeout time.Duration) error {
	waits, cancel := p.patience(ctx, timeout)
	defer cancel()
	select {
	case err := <-p.verdict:
		return err
	case <-p.gone:
		select {
		case err := <-p.verdict: // it said why, then left
			if err != nil {
				return err
			}
		default:
		}
		return &bootError{step: "start", err: fmt.Errorf("pid %d ended before it was ready (%s); see the log", p.pid, p.exit)}
	case <-waits.Done():
		if ctx.Err() != nil {
			return &bootError{step: "start", err: errors.New("interrupted: the master stops")}
		}
		return &bootError{step: "start", err: fmt.Errorf("pid %d was not ready within %s", p.pid, timeout)}
	}
}

// send queues a message; the files must stay open until it is sent. errBusy
// means that the queue is full.
func (p *process) send(m control.Message, files ...*os.File) error {
	select {
	case p.out <- outgoing{msg: m, files: files}:
		return nil
	default:
		return fmt.Errorf("%s %w", p, errBusy)
	}
}

// tell queues a message with a body.
func (p *process) tell(typ string, body any, files ...*os.File) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode control message %q: %w", typ, err)
	}
	return p.send(control.Message{Type: typ, Body: raw}, files...)
}

// question waits for its answer.
type question struct {
	p      *process
	id     uint64
	answer chan control.Message
}

// begin queues a question. Its answer must be awaited; the files stay open
// until then.
func (p *process) begin(typ string, body any, files ...*os.File) (*question, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode control message %q: %w", typ, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) >= askedMax {
		return nil, fmt.Errorf("%s %w", p, errBusy)
	}
	p.lastID++
	q := &question{p, p.lastID, make(chan control.Message, 1)}
	if err := p.send(control.Message{Type: typ, ID: q.id, Body: raw}, files...); err != nil {
		return nil, err
	}
	p.asked[q.id] = q.answer
	return q, nil
}

// await returns the answer, or why there is none when ctx ends.
func (q *question) await(ctx context.Context) (json.RawMessage, error) {
	defer func() {
		q.p.mu.Lock()
		delete(q.p.asked, q.id)
		q.p.mu.Unlock()
	}()
	select {
	case m := <-q.answer:
		if m.Error != "" {
			return nil, fmt.Errorf("%s: %s", q.p, m.Error)
		}
		return m.Body, nil
	case <-q.p.gone:
		return nil, fmt.Errorf("%s is gone", q.p)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s has not answered: %w", q.p, context.Cause(ctx))
	}
}

// ask is begin and await.
func (p *process) ask(ctx context.Context, typ string, body any, files ...*os.File) (json.RawMessage, error) {
	q, err := p.begin(typ, body, files...)
	if err != nil {
		return nil, err
	}
	return q.await(ctx)
}

// stop tells the child to leave. A busy child is left to the caller's bound.
func (p *process) stop(s control.Stop) {
	p.leaving.Store(true)
	s.Report = true
	if err := p.tell(control.TypeStop, s); err != nil {
		p.log.Warn("stop not sent", "error", err)
	}
}

// waitGone says whether the child was gone before timeout or the end of ctx.
func (p *process) waitGone(ctx context.Context, timeout time.Duration) bool {
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-p.gone:
	case <-late.C:
	case <-ctx.Done():
	}
	return p.isGone()
}

// waitLeft is waitGone for a child that says that it gets on: bound is for its silence.
func (p *process) waitLeft(ctx context.Context, bound time.Duration) bool {
	waits, cancel := p.patience(ctx, bound)
	defer cancel()
	select {
	case <-p.gone:
	case <-waits.Done():
	}
	return p.isGone()
}

// abort makes the child write its stacks to the log and die, stopped or not,
// and kills it after grace.
func (p *process) abort(grace time.Duration) {
	if end := p.onAbort.Load(); end != nil {
		(*end)()
	}
	_ = p.proc.Signal(syscall.SIGABRT) // each fails only when it is gone
	_ = p.proc.Signal(syscall.SIGCONT)
	time.AfterFunc(grace, p.kill)
}

// kill ends the child at once, without waiting.
func (p *process) kill() { _ = p.proc.Kill() }

// destroy kills the child and waits until it is gone.
func (p *process) destroy() {
	p.kill()
	if !p.waitGone(context.Background(), destroyBound) {
		p.log.Error("killed process does not end: the kernel holds it, perhaps in disk I/O")
	}
}

// String names p in messages.
func (p *process) String() string {
	return fmt.Sprintf("%s (pid %d)", p.unit.slotName(p.slot.index), p.pid)
}
