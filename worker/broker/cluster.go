package broker

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What is here is for servers of a cluster of somebody else, reached over a
// network: which one is tried, how long one may be silent, when to go back.
const (
	beatEvery = 500 * time.Millisecond
	// beatSlices of beatSlice each is the silence after which a server is given
	// up. They are counted rather than timed: a process that was stopped has not
	// waited.
	beatSlices = 15
	beatSlice  = 100 * time.Millisecond

	backAfter = 60 * time.Second // on another server than the first; and up to a quarter more, not all processes at once
	backEvery = time.Second      // look whether the first is there

	// askRights is how long a link that the server refuses something waits before it
	// connects anew: what rights there are now is said then, and only then.
	askRights = 10 * time.Second
)

var errSilent = errors.New("the server does not answer")

// pool says which server comes next. All methods may be called by any goroutine.
type pool struct {
	order []string // host:port, as in the config

	mu    sync.Mutex
	next  int // in order
	tried int // since the last connection
}

func newPool(list string) *pool {
	p := &pool{}
	all, _ := hosts(list) // Options are checked
	for _, h := range all {
		_, h, _ = strings.Cut(h, "://")
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), "4222")
		}
		p.order = append(p.order, h)
	}
	return p
}

// choose implements nats.ReconnectToServerHandler: the servers of the config, one
// after the other, with a breath after each round.
func (p *pool) choose(servers []nats.Server, _ nats.ServerInfo) (*nats.Server, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.next % len(p.order)
	wait := time.Duration(0)
	if p.tried++; p.tried > len(p.order) {
		wait = 50*time.Millisecond + rand.N(100*time.Millisecond)
	}
	p.next++
	for i := range servers {
		if u := servers[i].URL; u != nil && u.Host == p.order[at] {
			return &servers[i], wait
		}
	}
	return nil, wait // nats.go has another idea of it
}

// connected notes which server it is: if that goes, the one behind it is next.
func (p *pool) connected(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.tried = 0, 0
	for i, h := range p.order {
		if h == host && len(p.order) > 1 {
			p.next = (i + 1) % len(p.order)
		}
	}
}

// first makes the first one the next.
func (p *pool) first() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = 0
}

// watch keeps an eye on the server until the link is cut.
func (l *link) watch(turn sync.Locker) {
	beat, back := time.NewTicker(beatEvery), time.NewTicker(backEvery)
	defer beat.Stop()
	defer back.Stop()
	since, joins, spread := time.Now(), l.joins.Load(), rand.N(l.backAfter/4)
	refused := time.Time{} // since when; zero = not
	for {
		select {
		case <-l.over:
			return
		case <-beat.C:
			if socket := l.current(); l.up() && l.answers() != nil && l.current() == socket && !l.isCut() {
				l.log.Warn("the server of the bus is silent: the connection is given up", "server", l.nc.ConnectedAddr(), "silence", beatSlices*beatSlice)
				socket.Close()
			}
		case <-back.C:
			if now := l.joins.Load(); now != joins {
				since, joins = time.Now(), now
			}
			if time.Since(since) > l.backAfter+spread && l.up() && l.firstIsBack() {
				l.goBack(turn)
				since = time.Now()
			}
			switch now := time.Now(); {
			case l.rights.refused() == nil || !l.up():
				refused = time.Time{}
			case refused.IsZero():
				refused = now
			case now.Sub(refused) > l.askRights:
				refused = time.Time{}
				_ = l.nc.ForceReconnect()
			}
		}
	}
}

// answers asks the server for a sign of life; an error means that there is none.
// It does not wait for a write that is stuck.
func (l *link) answers() error {
	if !l.up() {
		return errSilent
	}
	done := make(chan error, 1)
	go func() { done <- l.nc.FlushTimeout(writeTimeout) }()
	t := time.NewTicker(beatSlice)
	defer t.Stop()
	for range beatSlices {
		select {
		case err := <-done:
			return err
		case <-t.C:
		}
	}
	return errSilent
}

// firstIsBack reports whether this link hangs on another server than the first,
// and the first takes clients.
func (l *link) firstIsBack() bool {
	first := l.pool.order[0]
	if len(l.pool.order) < 2 || l.hung() == first {
		return false
	}
	c, err := net.DialTimeout("tcp", first, backEvery)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(backEvery))
	hello, err := bufio.NewReader(c).Peek(5)
	return err == nil && string(hello) == "INFO "
}

// hostOf is the server that the connection hangs on, as the config names it.
func hostOf(nc *nats.Conn) string {
	_, h, _ := strings.Cut(nc.ConnectedUrlRedacted(), "://")
	return h[strings.LastIndexByte(h, '@')+1:]
}

// hung is the server that the link hangs on, or did last.
func (l *link) hung() string {
	if p := l.server.Load(); p != nil {
		return *p
	}
	return ""
}

// goBack connects to the first server. What was sent has reached the other one;
// what comes during the change is lost, and counted as gaps.
func (l *link) goBack(turn sync.Locker) {
	turn.Lock()
	defer turn.Unlock()
	if l.answers() != nil {
		return
	}
	l.log.Info("back to the first server of the bus", "server", l.pool.order[0])
	l.pool.first()
	_ = l.nc.ForceReconnect()
}
