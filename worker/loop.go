package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/pushd/pushd/timer"
	"github.com/pushd/pushd/worker/hub"
)

// This file is the only one that names gnet. gnet reads, accepts and closes;
// pushd writes. Everything in loop belongs to gnet's event loop goroutine, but
// for the door and the atomics.

// sock is gnet's handle of a connection.
type sock = gnet.Conn

// loop is the event loop of a worker process and all that it owns.
type loop struct {
	w          *Worker
	log        *slog.Logger
	slot       int
	generation int
	identity   string // "name/slot/generation"
	broker     Broker
	proxies    proxies

	conns registry
	hub   *hub.Hub[*Conn]
	ports []*port
	plain *route   // what no route matches
	paths *pathMap // nil: no routes

	door   door
	wheel  *timer.Wheel
	alarm  alarm
	cork   cork
	dying  []dying
	thaw   []*Conn // reading resumed during this turn
	fan    fanout
	writer *writable
	accept admission
	beat   heartbeat
	spare  spares

	tidying tidying
	surplus surplus

	now    time.Duration // monotonic, at the start of the turn
	mark   time.Duration // when the last callback ended
	counts counters
	panics atomic.Int64
	tasks  atomic.Int64

	engine    engine
	closing   bool        // stop was asked for: no new clients
	parting   func(*Conn) // since disperse: sends one away
	retired   bool        // another process has taken over
	moving    bool        // connections are being handed over: timers rest
	waiting   bool        // nothing is frozen and answers are due first: timers run, requests wait
	skip      skips
	importing int               // hand-overs to this process under way
	syncs     map[string]func() // barriers under way, by token
	late      []lateAnswer
	arrive    arrivals
	stopped   atomic.Bool
	over      chan struct{} // closed when there is no loop and none will come
}

// engine is the part that gnet sees and that a restart of gnet renews.
type engine struct {
	door0    int // gnet's first listener: the wake-up came by it, then arrivals do
	epoll    int // gnet's, -1 until known
	wakeFD   int // eventfd that wakes the loop
	wake     sock
	wakeAddr string        // local address of the connection that becomes the wake-up
	booted   chan struct{} // closed when the wake-up is in place
	ended    chan error    // gnet.Rotate's return
	leave    bool          // return gnet.Shutdown
	rescued  []rescue      // connections kept over an accept error
}

// dying is a connection to be closed at the end of the turn.
type dying struct {
	c   *Conn
	err error
}

// events are gnet's callbacks. A type of its own keeps them out of loop's.
type events struct {
	gnet.BuiltinEventEngine
	l *loop
}

// nullLogger keeps gnet from printing; what matters comes back as errors.
type nullLogger struct{}

func (nullLogger) Debugf(string, ...any) {}
func (nullLogger) Infof(string, ...any)  {}
func (nullLogger) Warnf(string, ...any)  {}
func (nullLogger) Errorf(string, ...any) {}
func (nullLogger) Fatalf(string, ...any) {}

// start runs gnet on throw-away listeners and returns when the loop takes
// posted functions. The first of them only serves to get the wake-up
// descriptor into gnet; the others give up their descriptor numbers to the
// inherited sockets in open.
func (l *loop) start() error {
	l.engine = engine{epoll: -1, wakeFD: -1, booted: make(chan struct{}), ended: make(chan error, 1)}
	addrs := []string{"tcp://" + throwaway(0)}
	for i, p := range l.ports {
		network := "tcp"
		if p.addr.udp {
			network = "udp"
		}
		addrs = append(addrs, network+"://"+throwaway(i+1))
	}
	go func() {
		l.engine.ended <- gnet.Rotate(&events{l: l}, addrs,
			gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReadBufferCap(readChunk),
			gnet.WithLoadBalancing(gnet.LeastConnections), gnet.WithLogger(nullLogger{}))
	}()
	select {
	case <-l.engine.booted:
		return nil
	case err := <-l.engine.ended:
		if err == nil {
			err = errors.New("gnet ended without a reason; the log may have one")
		}
		return fmt.Errorf("start event loop: %w", err)
	case <-time.After(bootTimeout):
		return fmt.Errorf("start event loop: not running after %s", bootTimeout)
	}
}

const (
	bootTimeout = 10 * time.Second
	readChunk   = 64 << 10 // bytes gnet reads at once, into one buffer per process
)

// throwaway returns the address of listener i: loopback, any port, and an IP
// that tells i.
func throwaway(i int) string { return fmt.Sprintf("127.0.%d.%d:0", 1+i/200, 1+i%200) }

// portOf undoes throwaway.
func portOf(ip net.IP) int {
	ip = ip.To4()
	if ip == nil {
		return -1
	}
	return int(ip[2]-1)*200 + int(ip[3]-1)
}

// OnBoot runs before gnet has loops: it only looks up descriptor numbers.
func (e *events) OnBoot(eng gnet.Engine) gnet.Action {
	l := e.l
	wake, err := listenerFD(eng, "tcp", throwaway(0))
	for i, p := range l.ports {
		network := "tcp"
		if p.addr.udp {
			network = "udp"
		}
		if err == nil {
			p.fd, err = listenerFD(eng, network, throwaway(i+1))
		}
	}
	var addr net.Addr
	if err == nil {
		addr, err = boundAddr(wake)
	}
	if err != nil {
		l.log.Error("event loop has no listeners", "error", err)
		return gnet.Shutdown
	}
	l.engine.door0 = wake
	go l.dialWake(addr)
	return gnet.None
}

// listenerFD returns the number of gnet's own descriptor of a listener.
func listenerFD(eng gnet.Engine, network, addr string) (int, error) {
	dup, err := eng.DupListener(network, addr)
	if err != nil {
		return -1, fmt.Errorf("find listener %s: %w", addr, err)
	}
	return twin(dup)
}

// wakeMu orders dialWake before the OnOpen that it causes.
var wakeMu sync.Mutex

// dialWake connects to the throw-away listener; OnOpen turns the accepted end
// into the wake-up.
func (l *loop) dialWake(addr net.Addr) {
	wakeMu.Lock()
	c, err := net.Dial("tcp", addr.String())
	if err == nil {
		l.engine.wakeAddr = c.LocalAddr().String()
	}
	wakeMu.Unlock()
	if err != nil {
		l.log.Error("event loop cannot reach itself", "error", err)
		return
	}
	<-l.engine.booted
	c.Close()
}

// OnOpen runs for each accepted socket.
func (e *events) OnOpen(s gnet.Conn) ([]byte, gnet.Action) {
	l := e.l
	i := -1
	if a, ok := s.LocalAddr().(*net.TCPAddr); ok {
		i = portOf(a.IP)
	}
	if i == 0 {
		if l.engine.wake == nil {
			return nil, l.becomeWake(s)
		}
		return nil, l.arrived(s)
	}
	if i < 1 || i > len(l.ports) || !l.ports[i-1].open {
		return nil, gnet.Close // a stranger on a throw-away listener
	}
	l.begin()
	c := l.admit(s, l.ports[i-1])
	if c == nil {
		l.end(nil)
		return nil, gnet.Close
	}
	return nil, l.end(c)
}

// becomeWake puts an eventfd at the descriptor of the connection to ourselves.
func (l *loop) becomeWake(s sock) gnet.Action {
	wakeMu.Lock()
	ours := s.RemoteAddr().String() == l.engine.wakeAddr
	wakeMu.Unlock()
	if !ours || l.engine.wake != nil {
		return gnet.Close
	}
	epoll, fd, err := installWake(s.Fd())
	if err != nil {
		l.log.Error("event loop has no wake-up", "error", err)
		return gnet.Shutdown
	}
	l.engine.epoll, l.engine.wakeFD, l.engine.wake = epoll, fd, s
	l.door.open(fd)
	if err := l.openArrivals(); err != nil {
		l.log.Error("event loop cannot take connections over", "error", err)
		return gnet.Shutdown
	}
	close(l.engine.booted)
	return gnet.None
}

// OnTraffic runs when a socket is readable; gnet has read up to readChunk.
func (e *events) OnTraffic(s gnet.Conn) gnet.Action {
	l := e.l
	buf, _ := s.Next(-1)
	c, ok := s.Context().(*Conn)
	l.begin()
	switch {
	case ok:
		c.receive(buf)
	case s == l.engine.wake:
		l.wake()
		l.end(nil)
		if l.engine.leave {
			return gnet.Shutdown
		}
		return gnet.None
	default:
		l.datagram(s, buf)
	}
	return l.end(c)
}

// OnClose runs for every close, ours or the peer's. err is nil when it was ours.
func (e *events) OnClose(s gnet.Conn, err error) gnet.Action {
	l := e.l
	c, ok := s.Context().(*Conn)
	if !ok {
		return gnet.None
	}
	if c.has(flagMoving) && c.has(flagDead) {
		l.moved(c)
		return gnet.None
	}
	if err == nil && !c.has(flagDead|flagMoving) && !l.engine.leave {
		l.keep(c) // gnet is going down on us
		return gnet.None
	}
	nested := l.cork.depth > 0
	if !nested {
		l.begin()
	}
	l.gone(c, err)
	if !nested {
		l.end(nil)
	}
	return gnet.None
}

// begin starts a turn: one entry from gnet.
func (l *loop) begin() {
	l.cork.depth++
	l.now = monotonic()
	l.mark = l.now
}

// end finishes the turn: corked bytes go out, dead connections are closed,
// resumed ones get what was held back. It tells gnet to close c if c is dead.
func (l *loop) end(c *Conn) gnet.Action {
	l.uncork()
	for len(l.thaw) > 0 || len(l.dying) > 0 { // OnClose may resume another one
		for len(l.thaw) > 0 {
			t := l.thaw[0]
			l.thaw = l.thaw[1:]
			l.melt(t)
		}
		l.reap(c)
	}
	l.arm()
	l.cork.depth--
	l.measure()
	if c != nil && c.has(flagDead) && c.sock != nil {
		return gnet.Close
	}
	return gnet.None
}

// reap closes the dying ones, except c, which gnet closes on our return.
func (l *loop) reap(c *Conn) {
	for i := 0; i < len(l.dying); i++ {
		d := l.dying[i]
		if d.err != nil && d.c.extra().err == nil {
			d.c.more.err = d.err
		}
		if d.c != c && d.c.sock != nil {
			_ = d.c.sock.EventLoop().Close(d.c.sock)
		}
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

// halt makes gnet return. It runs on the loop.
func (l *loop) halt() {
	l.engine.leave = true
	l.door.ring()
}

// monotonic is the system's monotonic clock: the same in all processes, so that
// deadlines can move between them.
func monotonic() time.Duration { return clock() }

// seconds rounds down to what deadlines are kept in.
func seconds(t time.Duration) uint32 { return uint32(t / time.Second) }

// action is what a callback tells gnet to do.
type action = gnet.Action

const closeAction = gnet.Close
