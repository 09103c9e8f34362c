package worker

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/protocol/forwarded"
	"github.com/pushd/pushd/timer"
	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/memory"
	"github.com/pushd/pushd/worker/paths"
	"github.com/pushd/pushd/worker/reactor"
)

// loop is the event loop of a worker process and all that it owns. It stands on
// a reactor, which calls the methods of this file; everything in it belongs to
// the loop's goroutine, but for the reactor's Post and the atomics.
type loop struct {
	w          *Worker
	log        *slog.Logger
	slot       int
	generation int
	heir       bool   // connections of another process will come
	first      bool   // it was started with the master
	begun      bool   // OnWorkerStart of all handlers was called
	getsOn     func() // tells the master that the start takes longer
	identity   string // text of the control.Identity
	broker     bus.Parts
	proxies    forwarded.Proxies
	reactor    reactor.Engine[*Conn]
	balance    *reactor.Balance // with the other workers of the group; nil = none

	ids   connid.Source
	conns registry
	hub   *hub.Hub[*Conn]
	ports []*port            // the reactor's listeners, in its order
	plain *route             // what no route matches
	paths *paths.Map[*route] // nil: no routes

	wheel  *timer.Wheel
	alarm  time.Duration // when the reactor is to wake the loop, 0 = never
	cork   cork
	dying  []dying
	rest   waitlist
	thaw   []*Conn // reading resumed during this turn
	polled []*Conn // polls for whom something may have come
	terms  *terms  // of the last poll
	fan    fanout
	accept admission
	beat   heartbeat
	secure secure

	tidying   memory.Tidier
	listeners listeners           // nil: nobody has called On
	audiences map[string]Audience // by channel; nil: there are none

	now    time.Duration // monotonic, at the start of the turn
	mark   time.Duration // when the last callback ended
	counts counters
	panics atomic.Int64
	tasks  atomic.Int64

	progress atomic.Uint64 // raised by each step of work; see serving.pulse

	phase     phase
	parting   func(*Conn) // since disperse: sends one away
	skip      delivered.Skips[*Conn]
	recall    recall
	importing int                     // hand-overs to this process under way
	landing   map[*Conn]func(ok bool) // connections of a hand-over that are not in the reactor yet
	syncs     map[string]func()       // barriers under way, by token
	late      []lateAnswer
	underway  underway
	questions questions
}

// dying is a connection to be closed at the end of the turn.
type dying struct {
	c   *Conn
	err error
}

// Begin starts a turn: one entry from the reactor.
func (l *loop) Begin() {
	l.progress.Add(1)
	l.now = l.reactor.Now()
	l.mark = l.now
}

// End finishes the turn: corked bytes go out, dead connections are closed,
// resumed ones get what was held back.
func (l *loop) End() {
	l.uncork()
	for len(l.thaw) > 0 || len(l.dying) > 0 || len(l.polled) > 0 { // OnClose may resume another one
		l.answerPolls()
		for len(l.thaw) > 0 {
			t := l.thaw[0]
			l.thaw = l.thaw[1:]
			l.progress.Add(1)
			l.melt(t)
		}
		l.reap()
	}
	l.arm()
	l.measure()
}

// reap closes the dying ones.
func (l *loop) reap() {
	for i := 0; i < len(l.dying); i++ {
		d := l.dying[i]
		l.progress.Add(1)
		if d.err != nil && d.c.extra().err == nil {
			d.c.more.err = d.err
		}
		l.reactor.Close(d.c.sock)
	}
	l.dying = l.dying[:0]
}

// destroy closes c's socket at the end of the turn. OnClose gets err.
func (l *loop) destroy(c *Conn, err error) {
	if !c.has(flagDead) {
		c.set(flagDead)
		l.dying = append(l.dying, dying{c, err})
	}
}

// Opened makes a connection of an accepted socket, or of a datagram.
func (l *loop) Opened(h reactor.Handle, i int) (*Conn, bool) {
	p := l.ports[i]
	if p.addr.speaks.once {
		return l.datagram(h, p), true
	}
	c := l.admit(h, p)
	return c, c != nil
}

// Readable takes what was read.
func (l *loop) Readable(c *Conn, p []byte) {
	if c.datagram() {
		c.transport.receive(c, p)
		return
	}
	c.receive(p)
}

// Writable goes on with a queue.
func (l *loop) Writable(c *Conn) {
	l.progress.Add(1)
	if c.out != nil {
		l.drain(c)
	}
}

// Closed is the end of a connection in this process.
func (l *loop) Closed(c *Conn, err error) {
	switch {
	case c.datagram():
		c.set(flagDead)
		c.sock = reactor.Handle{}
	case c.has(flagMoving) && c.has(flagDead):
		l.moved(c)
	default:
		if errors.Is(err, reactor.ErrLost) {
			l.log.Error("connection lost with its event loop", "connection", c.ID(), "error", err)
		}
		l.gone(c, err)
	}
}

// Lost lets a connection wait for the next engine: what is sent to it is queued.
func (l *loop) Lost(c *Conn) bool {
	if c.has(flagDead | flagMoving) {
		return false
	}
	c.sock = reactor.Handle{}
	c.clear(flagRest)
	if c.out == nil {
		c.out = &queue{}
	}
	return true
}

// Landed goes on with a connection that came from another process, or from an
// engine that has died.
func (l *loop) Landed(c *Conn, h reactor.Handle, err error) {
	c.sock = h
	c.clear(flagMuted)
	l.recount(c)
	if landed := l.landing[c]; landed != nil {
		delete(l.landing, c)
		landed(err == nil)
	}
	if err != nil {
		l.log.Error("connection lost on its way into the event loop", "connection", c.ID(), "error", err)
		l.destroy(c, err)
		return
	}
	if c.session != nil && c.session.Ended() && !c.session.Closed() {
		l.destroy(c, errBroken)
		return
	}
	l.watch(c)
	if c.transport.collect != nil {
		l.polled = append(l.polled, c)
	}
	if c.out != nil { // nil when OnResume has overflowed the queue, which closes
		if c.out.waits() {
			l.awaitRoom(c)
		}
		l.drain(c)
	}
	l.resume(c)
}

// Settled goes on with a connection whose socket has been settled: it has another handle.
func (l *loop) Settled(c *Conn, h reactor.Handle) {
	c.sock = h
	c.clear(flagMuted)
	if c.has(flagRest) {
		l.reactor.Ignore(h)
	}
	l.watch(c)
	if c.out.waits() {
		l.awaitRoom(c)
	}
}

// Restarted lets clients in again, if they may come.
func (l *loop) Restarted() {
	l.accept.files = reactor.OpenFiles()
	l.accept.paused = true
	l.admitAgain()
}

// Woken is the loop's turn for everything that is not a socket: posted
// functions, timers, a fan-out and input to go on with.
func (l *loop) Woken(posted []func()) {
	if len(posted) > 0 {
		l.counts.woken++
	}
	for _, fn := range posted {
		l.run(fn)
	}
	if l.phase != phaseHanding { // the process that takes over has timers of its own
		l.wheel.Advance(l.now)
	}
	l.fan.step(l)
	l.rest.step(l)
}

// run calls a posted function; a panic in it is logged and counted.
func (l *loop) run(fn func()) {
	defer l.contain("Post", nil)
	l.progress.Add(1)
	fn()
}

// do runs fn on the loop and waits for it; see reactor.Do.
func (l *loop) do(fns ...func()) error { return l.reactor.Do(fns...) }

// post is for the worker's own use: nothing bounds it.
func (l *loop) post(fn func()) { _ = l.reactor.Post(fn, 0) } // a stopped worker wants nothing any more

// seconds rounds down to what deadlines are kept in.
func seconds(t time.Duration) uint32 { return uint32(t / time.Second) }
