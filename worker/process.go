package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/timer"
	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/fault"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/memory"
	"github.com/pushd/pushd/worker/reactor"
)

// Process is what a worker process gets from outside.
type Process struct {
	Control        *control.Conn // to the master; its Init has been received
	Init           control.Init
	Node           string // "" = the only one; else as in the Broker's options
	Broker         Broker
	TrustedProxies []netip.Prefix
	Certs          *certs.Store         // what listeners behind TLS need; may be nil without any
	Apps           channel.Apps         // whose channels are "ID:NAME"
	Reopen         func(*os.File) error // makes a file the log; default: the order to do so is ignored
	Log            *slog.Logger         // default slog.Default()

	// Memory stands in for sockets and the clock, see Drive. Default: there is none.
	Memory *reactor.Memory[*Conn]
}

// serving is a running worker process.
type serving struct {
	l     *loop
	ctl   *control.Conn
	init  control.Init
	certs *certs.Store

	reopen func(*os.File) error

	stop chan control.Stop // an order to stop; the second one ends a graceful stop

	seen uint64 // of loop.progress at the last ping; obey's

	given atomic.Pointer[export] // the hand-over under way, or that may be taken back until stop
}

// Serve runs the worker in this process until the master tells it to stop, and
// returns nil then. It reports readiness and failures to the master. Call it
// once.
func (w *Worker) Serve(p Process) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(memory.GCPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(memory.Threads)
	}
	s := &serving{ctl: p.Control, init: p.Init, certs: p.Certs, reopen: p.Reopen, stop: make(chan control.Stop, 2)}
	step, err := s.prepare(w, p)
	if err != nil {
		_ = p.Control.Send(control.TypeFailed, 0, control.Failed{Step: step, Error: err.Error()})
		return fmt.Errorf("%s: %w", step, err)
	}
	go s.obey()
	fault.Point("ready")
	if err := p.Control.Send(control.TypeReady, 0, nil); err != nil {
		s.order(masterGone(p.Init))
	}
	return s.run()
}

// prepare does everything up to accepting. It names the step that failed.
func (s *serving) prepare(w *Worker, p Process) (step string, err error) {
	fault.Point("start")
	if s.l, err = newLoop(w, p); err != nil {
		return "configure worker", err
	}
	l := s.l
	w.loop = l
	if err = l.reactor.Start(); err != nil {
		return "start event loop", err
	}
	if err = p.Broker.Start(l); err != nil {
		return "connect to broker", err
	}
	step = "OnWorkerStart"
	if err = l.begin(p.Memory); err != nil {
		return step, err
	}
	step = "accept clients"
	if doErr := l.do(func() {
		l.countOthers()
		err = l.reactor.Listen()
		if l.heir {
			l.after(heirWait, func() {
				if l.importing == 0 && !l.phase.moving() { // nobody has come
					l.closeJournal()
				}
			})
		} else { // who is to get its connections yet would look as if it had none
			l.reactor.Share(l.balance)
		}
		l.beatAgain() // tidies up after the start
	}); doErr != nil || err != nil {
		return step, errors.Join(doErr, err)
	}
	return "", nil
}

// newLoop makes a loop that does not run yet.
func newLoop(w *Worker, p Process) (*loop, error) {
	if err := w.Settings.Validate(); err != nil {
		return nil, err
	}
	l := &loop{
		w: w, log: p.Log, slot: p.Init.Slot, generation: p.Init.Generation, heir: p.Init.Heir, first: p.Init.Generation <= 1 && p.Init.Restarts == 0, broker: bus.PartsOf(p.Broker),
		identity: p.Init.Identity().On(p.Node).String(),
		proxies:  p.TrustedProxies, hub: hub.New[*Conn](),
		recall: recall{apps: p.Apps, ordered: w.ChannelRules.Ordered(), shared: w.Services.SharedHistory()},
	}
	l.getsOn = func() {
		if p.Control != nil { // nil: nobody waits
			_ = p.Control.Send(control.TypeBusy, 0, nil)
		}
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.log = l.log.With("worker", w.Name, "slot", l.slot)
	l.counts.refusedLog = map[string]*rateLimit{}
	l.counts.culprits = map[culprit]*repeats{}
	l.landing, l.syncs = map[*Conn]func(bool){}, map[string]func(){}
	l.fan.room = sync.NewCond(&l.fan.mu)
	if l.heir {
		l.fan.journal.Open()
	}
	l.accept.files = reactor.OpenFiles()
	if w.Limits.PerIP > 0 || w.Limits.PerIPRate > 0 {
		l.accept.byIP = map[netip.Addr]*visitor{}
	}
	var listeners []reactor.Listener
	for _, in := range p.Init.Listeners {
		a, err := parseListen(in.Address)
		if err != nil {
			return nil, err
		}
		at := &port{addr: a}
		if err := l.guard(at, p.Certs); err != nil {
			return nil, err
		}
		l.ports = append(l.ports, at)
		listeners = append(listeners, reactor.Listener{FD: in.FD, Datagrams: a.udp})
	}
	l.direct()
	if err := l.routes(w); err != nil {
		return nil, err
	}
	if err := l.standOn(p.Memory, listeners); err != nil {
		return nil, err
	}
	l.mapBalance(p.Init.BalanceFD)
	l.wheel = timer.New(l.reactor.Now())
	return l, nil
}

// standOn makes the reactor, of sockets unless there is another.
func (l *loop) standOn(m *reactor.Memory[*Conn], listeners []reactor.Listener) error {
	if m != nil {
		m.Serve(l)
		l.reactor = m
		return nil
	}
	r, err := reactor.New(l, l.log, listeners)
	l.reactor = r
	return err
}

// mapBalance maps the table of those who accept from the same listeners. Without it the
// worker does its work, too.
func (l *loop) mapBalance(fd int) {
	if fd <= 0 {
		return
	}
	var err error
	if l.balance, err = reactor.OpenBalance(fd, l.slot); err != nil {
		l.log.Warn("other workers are not told how many clients there are here", "error", err)
	}
}

// run waits for the order to stop and takes the process down.
func (s *serving) run() error {
	select {
	case <-s.l.reactor.Over():
		return s.l.reactor.Err()
	case order := <-s.stop:
		s.l.reactor.Last()
		s.leave(order)
		return s.shutdown(order.Report)
	}
}

// obey works on the master's messages until the channel ends.
func (s *serving) obey() {
	for {
		m, files, err := s.ctl.Receive()
		if errors.Is(err, control.ErrCut) { // what was to be done is not done, and can be asked again
			s.l.log.Error("an order of the master is refused", "error", err)
			s.send(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: err.Error()})
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.l.log.Error("control channel", "error", err)
			}
			s.order(masterGone(s.init))
			return
		}
		s.handle(m, files)
		for _, f := range files {
			f.Close()
		}
	}
}

// masterGone is the order that a worker gives itself when its master has died.
func masterGone(i control.Init) control.Stop {
	return control.Stop{Code: int(websocket.CloseGoingAway), Reason: "server is shutting down", DrainMS: i.DrainMS}
}

// order passes on an order to stop; a third one changes nothing.
func (s *serving) order(o control.Stop) {
	select {
	case s.stop <- o:
	default:
	}
}

func (s *serving) handle(m control.Message, files []*os.File) {
	switch m.Type {
	case control.TypeStop:
		var o control.Stop
		if err := json.Unmarshal(m.Body, &o); err == nil {
			s.order(o)
		}
	case control.TypePing:
		s.pulse(m.ID)
	case control.TypeQuery:
		s.question(m)
	case control.TypeImport, control.TypeExport:
		s.handover(m, files)
	case control.TypeBus:
		go s.busStep(m)
	case control.TypeRenew:
		s.renewScripts(m.ID)
	case control.TypeResume:
		go s.takeBack(s.given.Load(), m.ID)
	case control.TypeCopy:
		if s.certs != nil {
			go s.send(s.certs.Obey(m, files))
		}
	case control.TypeReopen:
		if len(files) == 1 && s.reopen != nil {
			if err := s.reopen(files[0]); err != nil {
				s.l.log.Error("reopen log", "error", err)
			}
		}
	}
}

// pulse answers the master's ping: at once if the loop has done anything since
// the last one, else when it gets to the question. A loop that is busy is alive,
// however much it has to do before it looks at its door; one that hangs does
// neither.
func (s *serving) pulse(id uint64) {
	pong := func() { go s.send(control.Message{Type: control.TypePong, ID: id}) }
	if n := s.l.progress.Load(); n != s.seen {
		s.seen = n
		pong()
		return
	}
	s.l.post(pong)
}

// handover starts one side of a hand-over on a goroutine of its own.
func (s *serving) handover(m control.Message, files []*os.File) {
	var k *handover.Courier
	err := errors.New("no channel came with the order")
	if len(files) == 1 {
		k, err = handover.New(files[0])
	}
	x := newExport(s.l, k)
	var to control.Export
	if json.Unmarshal(m.Body, &to) == nil {
		x.heir = s.l.neighbour(to.To)
	}
	if err == nil && m.Type == control.TypeExport && !s.given.CompareAndSwap(nil, x) {
		k.Close()
		err = errors.New("the hand-over before has neither been taken back nor ended with this process")
	}
	if err != nil {
		s.send(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: err.Error()})
		return
	}
	if m.Type == control.TypeExport {
		go s.hand(x, m.ID)
	} else {
		go s.take(k, m.ID)
	}
}

func (s *serving) question(m control.Message) {
	var q control.Query
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	if err := json.Unmarshal(m.Body, &q); err != nil {
		answer.Error = err.Error()
		s.send(answer)
		return
	}
	if q.What == control.QuerySettled {
		s.settled(m.ID)
		return
	}
	s.l.post(func() {
		data, err := s.l.query(q.What, q.Args)
		if answer.Body = data; err != nil {
			answer.Error = err.Error()
		}
		go s.send(answer)
	})
}

// busStep takes the client of the bus through a step of the broker process's
// replacement.
func (s *serving) busStep(m control.Message) {
	var step control.Bus
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	err := json.Unmarshal(m.Body, &step)
	if p := s.l.broker; err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(step.BoundMS)*time.Millisecond)
		defer cancel()
		switch step.Do {
		case control.BusPause:
			err = p.Pause(ctx)
		case control.BusDrain:
			err = p.Drain(ctx)
		case control.BusRejoin:
			err = p.Rejoin(ctx)
		case control.BusProceed:
			p.Proceed()
		}
	}
	if err != nil {
		answer.Error = err.Error()
	}
	s.send(answer)
}

// send talks to the master off the loop, since the master may be slow to read.
func (s *serving) send(m control.Message) {
	if err := s.ctl.SendMessage(m); err != nil && !errors.Is(err, io.EOF) {
		s.l.log.Debug("answer the master", "error", err)
	}
}
