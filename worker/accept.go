package worker

import (
	"net/netip"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// port is a listener of this process.
type port struct{ addr listenAddr }

// admission decides who gets in. An accept that fails for want of descriptors
// would stop the reactor, so accepting pauses before there are none left.
type admission struct {
	files  int  // descriptor limit
	paused bool // there is no place but for guests

	guests  int           // connections beyond the limit
	looking bool          // look runs
	waited  time.Duration // since when somebody has, as of the last look; 0 = nobody

	byIP map[netip.Addr]*visitor // only when a limit by address is set
}

// reserve is how many descriptors accepting leaves to the rest of the process:
// files of callbacks, connections of Go, and the spares of the reactor.
const reserve = 64

// admit makes a connection of an accepted socket, or returns nil to refuse it.
func (l *loop) admit(h reactor.Handle, p *port) *Conn {
	if l.phase.leaving() {
		return nil
	}
	c := &Conn{
		sock: h, loop: l, seat: l.plain.at(p, p.addr.speaks), id: newID(),
		lastRecv: seconds(l.now), since: uint32(time.Now().Unix()),
	}
	if l.expectsHeader(c) {
		c.set(flagHeader)
	} else if l.accept.byIP != nil && !l.behindProxy(c) && !l.welcome(c) {
		l.refused(tooMany, c.peer().String(), tooManyDetail)
		return nil
	}
	l.conns.add(c)
	guest := l.accept.paused
	if !guest && l.full(h.FD()) {
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

// full reports whether no further connection should be accepted. fd is the
// newest descriptor: the kernel gives out the lowest free one, so it tells how
// many are in use, unless there are holes: after a rescue there are.
func (l *loop) full(fd int) bool {
	if n := l.w.Limits.MaxConnections; n > 0 && l.conns.len()-l.accept.guests >= n {
		return true
	}
	return max(fd, l.conns.len()) >= l.accept.files-reserve
}

// limit returns how many connections there may be.
func (l *loop) limit() int {
	most := max(l.accept.files-reserve, 0)
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
	fd := reactor.LowestFree()
	if fd < 0 || l.full(fd) {
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
