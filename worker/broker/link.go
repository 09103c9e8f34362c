package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pushd/pushd/worker/seldom"
)

const (
	// awayLimit is how long a publication waits for a broker that is away, and
	// how long the broker may be away before publishing fails at once.
	awayLimit = time.Second

	// The limits below are generous: a machine that stalls for some seconds
	// must not cut connections that are well. A broker process that hangs is
	// killed by the master, which ends the connection at once.
	dialTimeout  = 2 * time.Second  // of one attempt, handshake included
	writeTimeout = 10 * time.Second // of one write; then the connection is given up
	pingInterval = 5 * time.Second  // a broker that owes three answers is given up
	pingsOwed    = 2
)

// link is the connection to the broker and what is known about it without
// asking nats.go, whose methods may block for as long as a write or a dial.
type link struct {
	log  *slog.Logger
	nc   *nats.Conn
	kick chan struct{} // one token: connected again, or somebody new; read by the sender

	away       atomic.Pointer[time.Time] // since when, nil = connected
	maxPayload atomic.Int64              // bytes, of the broker
	joins      atomic.Int64              // how often it has reconnected
	joined     atomic.Int64              // joins when the last pause began
	slow       seldom.Limit
	rights     rights
	pulse      pulse

	pool      *pool         // servers of a cluster, nil = the broker process of this machine
	backAfter time.Duration // on another server than the first
	askRights time.Duration // after a refusal
	server    atomic.Pointer[string]
	serverID  atomic.Pointer[string]
	over      chan struct{} // closed by cut

	mu     sync.Mutex
	socket net.Conn // the newest one
	cutOff bool     // no more dials
}

var errCut = errors.New("client is closed")

func newLink(log *slog.Logger) *link {
	l := &link{log: log, kick: make(chan struct{}, 1), over: make(chan struct{}), backAfter: backAfter, askRights: askRights}
	now := time.Now()
	l.away.Store(&now)
	l.maxPayload.Store(MaxEnvelope)
	return l
}

// connect tries to reach the broker until o.StartTimeout is over.
func (l *link) connect(o *Options) error {
	last := errors.New("no server has answered")
	for over := time.After(o.StartTimeout); ; {
		attempt := l.attempt(o)
		select {
		case a := <-attempt:
			if a.err == nil {
				l.nc = a.nc
				l.connected(a.nc)
				return nil
			}
			last = a.err
		case <-over: // several servers that are silent take longer
			go func() {
				if a := <-attempt; a.err == nil {
					a.nc.Close()
				}
			}()
			return fmt.Errorf("connect to broker %s: %w", o.where(), last)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-over:
			return fmt.Errorf("connect to broker %s: %w", o.where(), last)
		}
	}
}

type attempt struct {
	nc  *nats.Conn
	err error
}

func (l *link) attempt(o *Options) chan attempt {
	target, options, done := l.target(o), l.options(o), make(chan attempt, 1)
	go func() {
		nc, err := nats.Connect(target, options...)
		done <- attempt{nc, err}
	}()
	return done
}

// target is the URL for nats.go; for a socket of our own it only looks like
// one, and is an address so that nobody resolves it.
func (l *link) target(o *Options) string {
	if o.URL != "" {
		return o.URL
	}
	return "nats://127.0.0.1:4222"
}

func (l *link) options(o *Options) []nats.Option {
	opts := []nats.Option{
		nats.Name(o.ID),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOwed),
		nats.FlusherTimeout(writeTimeout),
		nats.SkipSubjectValidation(), // all subjects are ours
		nats.DisconnectErrHandler(l.disconnected),
		nats.ReconnectHandler(l.reconnected),
		nats.ErrorHandler(l.failed),
	}
	dialer := &socketDialer{link: l, path: o.Path, server: o.Server}
	if o.URL == "" {
		opts = append(opts, nats.IgnoreDiscoveredServers(), nats.CustomReconnectDelay(backOnce))
	} else {
		l.pool = newPool(o.URL)
		opts = append(opts, nats.DontRandomize(), nats.ReconnectToServer(l.pool.choose))
		opts = append(opts, o.Access.options()...)
	}
	return append(opts, nats.SetCustomDialer(dialer))
}

// backOnce is how long to wait before the next attempt to connect to a broker
// process of this machine: the master's socket takes clients before there is
// one, so that the first attempt usually waits in its accept queue.
func backOnce(attempts int) time.Duration {
	return time.Duration(min(attempts, 10))*10*time.Millisecond + rand.N(10*time.Millisecond)
}

// confirmTry is how long one server may take to confirm: longer than a silent one is kept.
const confirmTry = 2 * time.Second

// confirmed returns once a server has confirmed all subscriptions, the one that they were
// made at, or if that has gone meanwhile, the next, or with why it does not.
func (l *link) confirmed(limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := l.nc.FlushTimeout(max(min(time.Until(end), confirmTry), time.Millisecond))
		if err == nil {
			l.rights.note(l.nc.LastError()) // failed may hear of it later
			return l.rights.refused()
		}
		if time.Now().After(end) || l.nc.IsClosed() {
			return err
		}
	}
}

func (l *link) up() bool { return l.away.Load() == nil }

// lost reports whether the connection has been down for longer than awayLimit.
func (l *link) lost() bool {
	since := l.away.Load()
	return since != nil && time.Since(*since) > awayLimit
}

func (l *link) connected(nc *nats.Conn) {
	if !nc.IsConnected() { // already gone again
		return
	}
	l.maxPayload.Store(nc.MaxPayload())
	host := hostOf(nc)
	l.server.Store(&host)
	if l.pool != nil {
		id := nc.ConnectedServerId()
		l.serverID.Store(&id)
		l.pool.connected(host)
	}
	l.away.Store(nil)
}

func (l *link) reconnected(nc *nats.Conn) {
	if since := l.away.Load(); since != nil {
		l.log.Info("broker is back", "away", time.Since(*since).Round(time.Millisecond))
	}
	l.connected(nc)
	l.joins.Add(1)
	l.nudge()
}

// nudge makes the sender announce all positions soon.
func (l *link) nudge() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *link) disconnected(_ *nats.Conn, err error) {
	l.rights.forget()
	now := time.Now()
	if l.away.CompareAndSwap(nil, &now) && !l.isCut() {
		l.log.Warn("broker is away, connecting again", "error", err)
	}
}

// failed gets the errors that belong to no call.
func (l *link) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	l.rights.note(err)
	if l.isCut() || !l.slow.Allow(time.Now()) {
		return
	}
	if errors.Is(err, nats.ErrSlowConsumer) {
		l.log.Warn("publications lost: the worker's loop is slower than what arrives", "subject", sub.Subject)
		return
	}
	l.log.Warn("broker connection", "error", err)
}

// cut ends whatever nats.go waits for and keeps it from dialing again.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cutOff {
		close(l.over)
	}
	l.cutOff = true
	if l.socket != nil {
		l.socket.Close()
	}
}

// current is the newest socket.
func (l *link) current() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.socket
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutOff
}

// socketDialer implements nats.CustomDialer.
type socketDialer struct {
	link   *link
	path   string
	server *Server
}

// Dial ignores the address unless the broker is an external one.
func (d *socketDialer) Dial(network, address string) (net.Conn, error) {
	if d.link.isCut() {
		return nil, errCut
	}
	var conn net.Conn
	var err error
	switch {
	case d.server != nil:
		conn, err = d.server.dial()
	case d.path != "":
		conn, err = net.DialTimeout("unix", d.path, dialTimeout)
	default:
		conn, err = net.DialTimeout(network, address, dialTimeout)
	}
	if err != nil {
		return nil, err
	}
	conn = &socket{Conn: conn}
	d.link.mu.Lock()
	defer d.link.mu.Unlock()
	if d.link.cutOff {
		conn.Close()
		return nil, errCut
	}
	d.link.socket = conn
	return conn, nil
}

// socket closes itself when a write fails. nats.go would drop its buffer and go
// on with the connection; this way it reconnects and the loss is a known one.
type socket struct{ net.Conn }

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err != nil {
		s.Conn.Close()
	}
	return n, err
}
