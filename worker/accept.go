package worker

import (
	"net/netip"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/worker/reactor"
)

// port is a listener of this process.
type port struct {
	addr     listenAddr
	tls      *certs.Set // nil = plain; who begins a handshake asks it for the config of that moment
	redirect string     // the port behind TLS that requests are sent to; "" = they are answered
}

// begins is what a client speaks at first.
func (p *port) begins() *transport {
	if p.tls != nil {
		return transportTLS
	}
	return p.addr.speaks
}

// admission decides who gets in. An accept that fails for want of descriptors
// would stop the reactor, so accepting pauses before there are none left.
type admission struct {
	files  int  // descriptor limit
	others int  // descriptors that are no connections, as last counted
	paused bool // there is no place but for guests

	guests  int           // connections beyond the limit
	looking bool          // look runs
	waited  time.Duration // since when somebody has, as of the last look; 0 = nobody

	byIP map[netip.Addr]*visitor // only when a limit by address is set
}

// reserve is how many descriptors accepting leaves free: for guests, for what a
// hand-over opens, and for files and connections of callbacks until they are
// counted.
const reserve = 64

// countOthers counts the descriptors that are no connections: what the reactor
// has, and what the program has opened. It runs when the worker begins to accept,
// and once a second. A hand-over has connections that are counted nowhere.
func (l *loop) countOthers() {
	if l.phase != phaseServing || l.importing > 0 {
		return
	}
	if n := reactor.Descriptors(l.conns.len() < listable); n >= 0 {
		l.accept.others = max(n-l.conns.len(), 0)
	}
}

// listable is how many connections a process may have for its descriptors to be
// listed each second, where the kernel keeps no count: that takes about 1 ms.
const listable = 2000

// used is how many descriptors are taken.
func (l *loop) used() int { return l.conns.len() + l.accept.others }

// admit makes a connection of an accepted socket, or returns nil to refuse it.
func (l *loop) admit(h reactor.Handle, p *port) *Conn {
	if l.phase.leaving() {
		return nil
	}
	c := &Conn{
		sock: h, loop: l, seat: l.plain.at(p, p.begins()), id: l.freshID(),
		lastRecv: seconds(l.now), since: uint32(l.reactor.Wall().Unix()),
	}
	if l.expectsHeader(c) {
		c.set(flagHeader)
	} else if l.accept.byIP != nil && !l.behindProxy(c) && !l.welcome(c) {
		l.refused(tooMany, c.peer(), tooManyDetail)
		return nil
	}
	l.conns.add(c)
	guest := l.accept.paused
	if !guest && l.full(h.FD()+1) {
		l.pause()
	}
	if c.has(flagHeader) {
		l.expect(c, l.w.Limits.HandshakeTimeout)
	} else {
		c.transport.open(c)
	}
	if guest {
		l.greet(c)
	}
	return c
}

// full reports whether no further connection should be accepted. At least so
// many descriptors are taken: the kernel gives out the lowest free number, so that
// each new one tells how many there are below it. A settled socket leaves a hole
// behind, so that this alone would not do.
func (l *loop) full(taken int) bool {
	if n := l.w.Limits.MaxConnections; n > 0 && l.conns.len()-l.accept.guests >= n {
		return true
	}
	return max(taken, l.used()) >= l.accept.files-reserve
}

// limit returns how many connections there may be.
func (l *loop) limit() int {
	most := max(l.accept.files-reserve-l.accept.others, 0)
	if n := l.w.Limits.MaxConnections; n > 0 {
		return min(n, most)
	}
	return most
}

// pause stops accepting until admitAgain finds room. Clients wait in the accept
// queue, or go to the other processes, which share it; see look.
func (l *loop) pause() {
	if !l.accept.paused {
		l.accept.paused = true
		l.reactor.Deafen(false)
		l.startLooking()
		if l.counts.acceptLog.allow(l.now) {
			l.log.Warn("accepting is paused: no descriptors or connections left",
				"connections", l.conns.len(), "max_connections", l.w.Limits.MaxConnections, "descriptors", l.accept.files)
		}
	}
}

// admitAgain resumes accepting when there is room. It runs once a second and
// after a close while paused.
func (l *loop) admitAgain() {
	if !l.accept.paused || l.phase != phaseServing { // a hand-over wants no newcomers
		return
	}
	free := reactor.LowestFree()
	if free < 0 || l.full(free) {
		l.startLooking()
		return
	}
	l.accept.paused = false
	l.listen()
}

// listen accepts clients.
func (l *loop) listen() {
	if err := l.reactor.Listen(); err != nil {
		l.log.Error("resume accepting", "error", err)
	}
}
