// Package reactor is the event loop of a process: it accepts, reads, closes and
// tells, and knows nothing of what is said. It stands on gnet and on what gnet
// does not offer: listeners and connections that another process has opened, a
// door for other goroutines, an event for sockets that take bytes again, and a
// life after an accept error.
//
// There is one goroutine that matters, the loop. Methods of a Reactor or Handle
// are for the loop alone, that is for calls of the Handler and posted functions,
// unless they say otherwise.
package reactor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// Handler is what stands on a Reactor. C is what it keeps of a socket, a
// pointer as a rule; every call but Woken and Restarted is about one. All run on
// the loop, within a turn: one entry from outside, for whatever reason.
type Handler[C any] interface {
	// Begin and End enclose a turn. In End the handler closes what is to be
	// closed, and the calls of Closed that this causes belong to the turn.
	Begin()
	End()
	// Opened: listener i has accepted a client. Without ok it is refused.
	//
	// A datagram is a socket that is Opened, Readable once and Closed in one turn;
	// its handle can be told apart by its listener, and only asked and Replied to.
	Opened(h Handle, i int) (c C, ok bool)
	// Readable: p was read, up to ReadChunk bytes. It is the reactor's one buffer
	// and the callee's to overwrite until it returns.
	Readable(c C, p []byte)
	// Writable: the socket that was given to AwaitWritable takes bytes again.
	Writable(c C)
	// Closed: the socket is closed, by Close (then err is nil), by the peer
	// (errors.Is io.EOF) or by an error. The handle must not be used any more.
	Closed(c C, err error)
	// Settled: what Settle asked for is done; h is the socket's handle from now on.
	// It is neither muted nor waited for.
	Settled(c C, h Handle)
	// Landed: the socket of an Adopt is in the loop under that handle, or was lost
	// on the way. Then the handle is only good for Close.
	Landed(c C, h Handle, err error)
	// Lost: the engine has died. With true the socket is kept and Landed follows,
	// with another handle; this one must not be used any more. With false, or when
	// it cannot be kept, Closed follows at once.
	Lost(c C) bool
	// Restarted: the engine runs again and accepts nobody until Listen.
	Restarted()
	// Woken: posted functions to run, valid until it returns, or a Wake.
	Woken(posted []func())
}

// Listener is a socket that listens, or one for datagrams, opened by somebody
// else. The reactor closes FD in CloseListeners, not before.
type Listener struct {
	FD        int
	Datagrams bool
}

// ReadChunk is how many bytes are read at once.
const ReadChunk = 64 << 10

// A Reactor is one event loop.
type Reactor[C any] struct {
	h         Handler[C]
	log       *slog.Logger
	listeners []*listener

	tasks    tasks
	writable *writable
	adopting adoptions[C]
	rescue   rescue[C]
	surplus  surplus
	alarm    alarm
	own      own[C]
	round    round
	packet   front // gnet's socket of the datagram at hand
	balance  *Balance
	fronts   int  // sockets that gnet has
	resting  bool // clients are left to other processes for a moment
	spinning bool // spin waits, in our own set

	depth   int    // of nested entries; the outermost is the turn
	current Handle // what the turn is about; gnet has it in hand, so it is closed at the end
	doomed  bool   // current is to be closed
	settles bool   // current leaves gnet at the end of the turn
	closing Handle // what Close is about

	engine  engine
	last    atomic.Bool   // an engine that dies is not started again
	over    chan struct{} // closed when there is no loop and none will come
	failure error         // why, unless it was asked for; valid after over
}

// engine is what a restart of gnet renews.
type engine struct {
	first    int // gnet's first listener: the wake-up came by it, then adoptions do
	epoll    int // gnet's, -1 until known
	wakeFD   int // eventfd that wakes the loop
	wake     gnet.Conn
	wakeAddr string        // local address of the connection that becomes the wake-up
	booted   chan struct{} // closed when the wake-up is in place
	ended    chan error    // gnet.Rotate's return
	leave    bool          // return gnet.Shutdown
}

// events are gnet's callbacks. A type of its own keeps them out of Reactor's.
type events[C any] struct {
	gnet.BuiltinEventEngine
	r *Reactor[C]
}

// nullLogger keeps gnet from printing; what matters comes back as errors.
type nullLogger struct{}

func (nullLogger) Debugf(string, ...any) {}
func (nullLogger) Infof(string, ...any)  {}
func (nullLogger) Warnf(string, ...any)  {}
func (nullLogger) Errorf(string, ...any) {}
func (nullLogger) Fatalf(string, ...any) {}

// New makes a reactor that does not run yet. Functions may be posted already.
func New[C any](h Handler[C], log *slog.Logger, listeners []Listener) (*Reactor[C], error) {
	r := &Reactor[C]{h: h, log: log, over: make(chan struct{})}
	for _, ln := range listeners {
		r.listeners = append(r.listeners, &listener{Listener: ln, fd: -1, in: nowhere})
	}
	r.rescue.spare = newSpares()
	var err error
	if r.writable, err = newWritable(r.Wake); err != nil {
		return r, err
	}
	return r, r.own.open()
}

// Start runs the loop and returns when it takes posted functions. Clients are
// accepted from Listen on. Any goroutine, once.
func (r *Reactor[C]) Start() error {
	if err := r.boot(); err != nil {
		return err
	}
	go r.supervise()
	return nil
}

// boot runs gnet on throw-away listeners. The first of them only serves to get
// the wake-up into gnet, and then adopted sockets; the others give up their
// descriptor numbers to ours in Listen.
func (r *Reactor[C]) boot() error {
	r.engine = engine{epoll: -1, wakeFD: -1, booted: make(chan struct{}), ended: make(chan error, 1)}
	addrs := []string{"tcp://" + throwaway(0)}
	for i, ln := range r.listeners {
		addrs = append(addrs, ln.network()+"://"+throwaway(i+1))
	}
	go func() {
		r.engine.ended <- gnet.Rotate(&events[C]{r: r}, addrs,
			gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReadBufferCap(ReadChunk),
			gnet.WithLoadBalancing(gnet.LeastConnections), gnet.WithLogger(nullLogger{}))
	}()
	select {
	case <-r.engine.booted:
		return nil
	case err := <-r.engine.ended:
		if err == nil {
			err = errors.New("gnet ended without a reason; the log may have one")
		}
		return fmt.Errorf("start event loop: %w", err)
	case <-time.After(bootTimeout):
		return fmt.Errorf("start event loop: not running after %s", bootTimeout)
	}
}

const bootTimeout = 10 * time.Second

// supervise starts an engine again that has died, until the last one has ended.
func (r *Reactor[C]) supervise() {
	defer close(r.over)
	for {
		err := <-r.engine.ended
		switch {
		case r.engine.leave:
			return
		case r.last.Load():
			r.log.Error("event loop stopped while its clients were leaving", "error", fmt.Sprint(err))
			return
		}
		if r.failure = r.revive(err); r.failure != nil {
			return
		}
	}
}

// Last says that the process is about to end: an engine that dies from here on
// is not started again, and its sockets are lost. Any goroutine.
func (r *Reactor[C]) Last() { r.last.Store(true) }

// Over is closed when the loop has ended for good. Any goroutine.
func (r *Reactor[C]) Over() <-chan struct{} { return r.over }

// Err tells why the loop has ended, nil if that was asked for. It is valid once
// Over is closed. Any goroutine.
func (r *Reactor[C]) Err() error { return r.failure }

// Halt ends the loop after this turn. What is still open is Closed.
func (r *Reactor[C]) Halt() {
	r.engine.leave = true
	r.tasks.ring()
}

// Shutdown ends the loop, waits for that, and lets go of all that it has had.
// What is posted from then on gets ErrStopped. Any goroutine but the loop.
func (r *Reactor[C]) Shutdown() {
	r.Last()
	_ = r.Do(r.Halt)
	<-r.over
	r.WakeAt(0)
	r.tasks.close()
	r.writable.close()
	r.own.close()
	r.rescue.spare.release()
	closeFD(r.engine.wakeFD)
	r.engine.wakeFD = -1
}

// OnBoot runs before gnet has loops: it only looks up descriptor numbers.
func (e *events[C]) OnBoot(eng gnet.Engine) gnet.Action {
	r := e.r
	first, err := listenerFD(eng, "tcp", throwaway(0))
	for i, ln := range r.listeners {
		if err == nil {
			ln.fd, err = listenerFD(eng, ln.network(), throwaway(i+1))
		}
	}
	var addr net.Addr
	if err == nil {
		addr, err = boundAddr(first)
	}
	if err != nil {
		r.log.Error("event loop has no listeners", "error", err)
		return gnet.Shutdown
	}
	r.engine.first = first
	go r.dialWake(addr, r.engine.booted)
	return gnet.None
}

// wakeMu orders dialWake before the OnOpen that it causes.
var wakeMu sync.Mutex

// dialWake connects to the throw-away listener; OnOpen turns the accepted end
// into the wake-up.
func (r *Reactor[C]) dialWake(addr net.Addr, booted <-chan struct{}) {
	wakeMu.Lock()
	c, err := net.Dial("tcp", addr.String())
	if err == nil {
		r.engine.wakeAddr = c.LocalAddr().String()
	}
	wakeMu.Unlock()
	if err != nil {
		r.log.Error("event loop cannot reach itself", "error", err)
		return
	}
	<-booted
	c.Close()
}

// becomeWake puts an eventfd at the descriptor of the connection to ourselves.
func (r *Reactor[C]) becomeWake(s gnet.Conn) gnet.Action {
	wakeMu.Lock()
	ours := s.RemoteAddr().String() == r.engine.wakeAddr
	wakeMu.Unlock()
	if !ours {
		return gnet.Close
	}
	epoll, fd, err := installWake(s.Fd())
	if err != nil {
		r.log.Error("event loop has no wake-up", "error", err)
		return gnet.Shutdown
	}
	r.engine.epoll, r.engine.wakeFD, r.engine.wake = epoll, fd, s
	r.tasks.open(fd)
	if err := r.openAdoptions(); err != nil {
		r.log.Error("event loop cannot take connections over", "error", err)
		return gnet.Shutdown
	}
	if err := r.own.watch(epoll); err != nil {
		r.log.Error("event loop cannot watch gnet's", "error", err)
		return gnet.Shutdown
	}
	close(r.engine.booted)
	return gnet.None
}

// OnOpen runs for each accepted socket.
func (e *events[C]) OnOpen(s gnet.Conn) ([]byte, gnet.Action) {
	r := e.r
	switch i := listenerOf(s); {
	case i == 0 && r.engine.wake == nil:
		return nil, r.becomeWake(s)
	case i == 0:
		return nil, r.arrived(s)
	case i < 1 || i > len(r.listeners) || !r.listeners[i-1].placed:
		return nil, gnet.Close // a stranger on a throw-away listener
	default:
		return nil, r.accepted(s, i-1)
	}
}

func (r *Reactor[C]) accepted(s gnet.Conn, i int) gnet.Action {
	g := &guest[C]{front: front{s}}
	h := g.handle()
	r.own.busy = true
	r.enter(h)
	r.trim(s)
	var ok bool
	if g.c, ok = r.h.Opened(h, i); ok {
		s.SetContext(g)
		r.fronts++
	} else {
		r.doomed = true // without a context OnClose tells nobody
	}
	action := r.exit()
	if ok && r.balance.accepted(r.sockets()) && !r.resting {
		r.rest()
	}
	return action
}

// OnTraffic runs when a socket is readable; gnet has read up to ReadChunk.
func (e *events[C]) OnTraffic(s gnet.Conn) gnet.Action {
	r := e.r
	buf, _ := s.Next(-1)
	if g, ok := s.Context().(*guest[C]); ok {
		r.own.busy = true
		r.enter(g.handle())
		r.h.Readable(g.c, buf)
		return r.exit()
	}
	if s != r.engine.wake {
		r.datagram(s, buf)
		return gnet.None
	}
	r.wakened()
	if !r.engine.leave {
		r.spin()
	}
	if r.engine.leave {
		r.closeOwned()
		return gnet.Shutdown
	}
	return gnet.None
}

// wakened is the turn for everything that is not a socket with input.
func (r *Reactor[C]) wakened() {
	r.enter(Handle{})
	r.woken()
	r.exit()
}

func (r *Reactor[C]) woken() {
	posted := r.tasks.take() // first: whoever rings from here on is heard in another turn
	r.writable.flush(func(h Handle) {
		if c, ok := r.keeperOf(h); ok {
			r.h.Writable(c)
		}
	})
	r.h.Woken(posted)
}

// datagram delivers a UDP packet.
func (r *Reactor[C]) datagram(s gnet.Conn, p []byte) {
	i := listenerOf(s)
	if i < 1 || i > len(r.listeners) || !r.listeners[i-1].placed {
		return
	}
	r.enter(Handle{})
	r.packet.conn = s
	if c, ok := r.h.Opened(Handle{front: &r.packet, fd: int32(s.Fd())}, i-1); ok {
		r.h.Readable(c, p)
		r.h.Closed(c, nil)
	}
	r.exit()
}

// OnClose runs for every close, ours or the peer's. err is nil when it was ours,
// and when gnet is going down.
func (e *events[C]) OnClose(s gnet.Conn, err error) gnet.Action {
	r := e.r
	g, ok := s.Context().(*guest[C])
	closing := r.closing
	r.closing = Handle{}
	if !ok {
		return gnet.None
	}
	c, h := g.c, g.handle()
	r.fronts--
	ours := h == closing
	r.enter(Handle{})
	if err == nil && !ours && !r.engine.leave {
		r.keep(c, h)
	} else {
		r.closed(c, h, err)
	}
	r.exit()
	return gnet.None
}

func (r *Reactor[C]) closed(c C, h Handle, err error) {
	r.writable.forget(h)
	r.balance.note(r.sockets())
	r.h.Closed(c, err)
}

// enter begins an entry from gnet about h. The outermost one is a turn.
func (r *Reactor[C]) enter(h Handle) {
	if r.depth++; r.depth == 1 {
		r.current, r.doomed, r.settles = h, false, false
		r.h.Begin()
	}
}

// exit ends what enter has begun and tells gnet what to do with its socket.
func (r *Reactor[C]) exit() gnet.Action {
	if r.depth == 1 {
		r.h.End()
	}
	r.depth--
	if r.depth > 0 {
		return gnet.None
	}
	h, settles := r.current, r.settles
	r.current, r.settles = Handle{}, false
	switch {
	case r.doomed:
		r.doomed, r.closing = false, h
		return gnet.Close
	case settles && r.settle(h):
		return gnet.Close // what gnet has of it: the socket has another number now
	}
	return gnet.None
}
