// Package workertest tries a handler, or a whole worker, in a test: with clients
// that are no sockets, a clock that the test moves, and no process, port or
// goroutine. What lies between is the real thing: the bytes of HTTP and
// WebSocket, limits, queues, heartbeat, channels, timers, and the move of
// connections to another worker that a reload makes.
//
//	s := workertest.Start(t, w)
//	c := s.Dial("/chat?room=red")
//	c.SendText("hello")
//	c.WantText("hello")
//	s.Advance(time.Minute) // timers, pings and deadlines of a minute
//
// Everything here, callbacks too, runs on the goroutine of the test, one step
// after the other: when a call returns, all that it has caused has happened. The
// exception is what the program does on goroutines of its own (Worker.Go, HTTP):
// calls that want something wait for those, Wait waits for a condition.
package workertest

import (
	"bufio"
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/reactor"
)

// patience bounds the wait for goroutines of the program.
const patience = 10 * time.Second

// Options are for what few tests need.
type Options struct {
	Bus            *Bus           // default: one of its own
	Slot           int            // number of the process in its group
	TrustedProxies []netip.Prefix // as in the config
	Log            *slog.Logger   // default: nothing is logged
}

// Server is a worker that serves the clients of a test.
type Server struct {
	t       testing.TB
	w       *worker.Worker
	o       Options
	mem     *reactor.Memory[*worker.Conn]
	end     *end
	driven  *worker.Driven
	clients []*Client
	init    control.Init
	over    bool
}

// Start runs w, whose fields must not change any more, until the test is over.
// Without addresses it listens at websocket://127.0.0.1:2346.
func Start(t testing.TB, w *worker.Worker, options ...Options) *Server {
	t.Helper()
	s := &Server{t: t, w: w}
	for _, o := range options {
		s.o = o
	}
	if s.o.Bus == nil {
		s.o.Bus = &Bus{}
	}
	now, wall := time.Hour, time.Now()
	for _, o := range s.o.Bus.servers { // one clock for all
		now, wall = o.mem.Now(), o.mem.Wall()
	}
	s.mem = reactor.NewMemory[*worker.Conn](now, wall)
	if s.o.Log == nil {
		s.o.Log = slog.New(slog.DiscardHandler)
	}
	if len(w.Listen()) == 0 {
		w.SetListen("websocket://127.0.0.1:2346")
	}
	s.init = control.Init{Name: w.Name, Slot: s.o.Slot, Generation: 1}
	s.start()
	return s
}

// StartHandler is Start of a worker that has h for all paths.
func StartHandler(t testing.TB, h worker.Handler, options ...Options) *Server {
	t.Helper()
	w := worker.New()
	w.Handler = h
	return Start(t, w, options...)
}

func (s *Server) start() {
	s.t.Helper()
	s.end = &end{bus: s.o.Bus}
	for _, address := range s.w.Listen() {
		s.init.Listeners = append(s.init.Listeners, control.Listener{Address: address, FD: -1})
	}
	var err error
	s.driven, err = s.w.Drive(worker.Process{
		Init: s.init, Broker: s.end, TrustedProxies: s.o.TrustedProxies, Log: s.o.Log, Memory: s.mem,
	})
	if err != nil {
		s.t.Fatalf("workertest: start: %v", err)
	}
	s.o.Bus.servers = append(s.o.Bus.servers, s)
	s.t.Cleanup(s.Stop)
	s.settle()
}

// Worker returns the worker, for its methods.
func (s *Server) Worker() *worker.Worker { return s.w }

// Do runs fn on the worker's loop, as a function given to Post does.
func (s *Server) Do(fn func(w *worker.Worker)) {
	s.t.Helper()
	if err := s.w.Post(func() { fn(s.w) }); err != nil {
		s.t.Fatalf("workertest: %v", err)
	}
	s.settle()
}

// settle works until nobody on the bus has anything left to do.
func (s *Server) settle() {
	for busy := true; busy; {
		busy = s.o.Bus.deliver()
		for _, o := range s.o.Bus.servers {
			busy = o.mem.Run() || busy
			for _, c := range o.clients {
				busy = c.work() || busy
			}
		}
	}
}

// Advance moves the clocks of all servers of the bus by d. Timers run at their
// moments on the way, and clients answer pings.
func (s *Server) Advance(d time.Duration) {
	s.settle()
	until := s.mem.Now() + d
	for {
		next := until
		for _, o := range s.o.Bus.servers {
			if at := o.mem.Next(); at != 0 && at < next {
				next = at
			}
		}
		step := max(next-s.mem.Now(), 0)
		for _, o := range s.o.Bus.servers {
			o.mem.Advance(step)
		}
		s.settle()
		if next == until {
			return
		}
	}
}

// Leap sets the time of day that Worker.Now tells, on all servers of the bus,
// forwards or, below 0, back, as when a clock was wrong: no time goes by, and no
// timer runs.
func (s *Server) Leap(d time.Duration) {
	for _, o := range s.o.Bus.servers {
		o.mem.Leap(d)
	}
}

// Wait returns when ok does, which is asked again whenever a goroutine of the
// program has posted something. The test fails when that takes 10 s.
func (s *Server) Wait(what string, ok func() bool) {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		s.settle()
		if ok() {
			return
		}
		select {
		case <-s.mem.Rung():
		case <-limit.C:
			s.t.Fatalf("workertest: waiting for %s", what)
		}
	}
}

// Reload has next take the place of this worker, as a reload does: connections
// move, with their channels, session values and queues, and get OnResume. The
// Server, its clients and its bus go on with next.
func (s *Server) Reload(next *worker.Worker) {
	s.t.Helper()
	s.settle()
	if len(next.Listen()) == 0 {
		next.SetListen(s.w.Listen()...)
	}
	old := *s
	s.w, s.mem = next, reactor.NewMemory[*worker.Conn](old.mem.Now(), old.mem.Wall())
	s.init.Generation++
	s.init.Heir = true
	s.init.Listeners = nil
	s.o.Bus.servers = slices.DeleteFunc(s.o.Bus.servers, func(o *Server) bool { return o == s })
	s.start()
	if err := old.driven.MoveTo(s.driven); err != nil {
		s.t.Fatalf("workertest: reload: %v", err)
	}
	s.settle()
	old.mem.Run()
	if err := old.driven.End(); err != nil {
		s.t.Errorf("workertest: end of the worker that was replaced: %v", err)
	}
	s.settle()
}

// Stop ends the worker as a stop does: clients are closed with 1001, OnWorkerStop
// runs. The end of the test does it too.
func (s *Server) Stop() {
	if s.over {
		return
	}
	s.over = true
	s.driven.SendAway(1001, "server is shutting down")
	s.settle()
	s.o.Bus.servers = slices.DeleteFunc(s.o.Bus.servers, func(o *Server) bool { return o == s })
	if err := s.driven.End(); err != nil {
		s.t.Errorf("workertest: stop: %v", err)
	}
}

// Request sends a plain HTTP request, of http.NewRequest, on a connection of its
// own and returns the answer.
func (s *Server) Request(r *http.Request) *http.Response {
	s.t.Helper()
	c := s.connect(0)
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		s.t.Fatalf("workertest: %v", err)
	}
	c.sock.Send(b.Bytes())
	var answer *http.Response
	s.Wait("the answer to "+r.Method+" "+r.URL.Path, func() bool {
		var err error
		answer, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(c.raw)), r)
		if err != nil {
			return false
		}
		body, err := readAll(answer)
		return err == nil && body
	})
	c.Drop()
	return answer
}
