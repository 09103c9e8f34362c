package worker

import (
	"math/rand/v2"
	"time"
)

// The heartbeat finds connections whose time has come by scanning a slice of
// deadlines once a second: 4 bytes per connection and no timer each. A message
// does not touch the slice; a deadline that comes looks at lastRecv and moves.
type heartbeat struct {
	timer *Timer
}

// deferTimeout is how long a deferred handshake or response may take.
const deferTimeout = 60 * time.Second

// expect sets the moment at which due looks at c, rounded up to the second.
func (l *loop) expect(c *Conn, d time.Duration) {
	if c.has(flagDead) {
		return
	}
	at := uint32(0)
	if d > 0 {
		at = seconds(l.now+d) + 1
	}
	*l.conns.when(c) = at
	l.beatAgain()
}

// hurry is expect, but never moves the moment further away.
func (l *loop) hurry(c *Conn, d time.Duration) {
	if at := *l.conns.when(c); d > 0 && (at == 0 || seconds(l.now+d)+1 < at) {
		l.expect(c, d)
	}
}

// beatAgain starts the scan, which ends by itself when nobody is left.
func (l *loop) beatAgain() {
	if l.beat.timer == nil {
		l.beat.timer = l.every(time.Second, l.sweep)
	}
}

// sweep runs once a second while there are connections, or panics to tell of.
func (l *loop) sweep() {
	now := seconds(l.now)
	for i, at := range l.conns.deadline {
		if c := l.conns.all[i]; at != 0 && at <= now && !c.has(flagMoving) {
			l.conns.deadline[i] = 0
			l.due(c)
		}
	}
	l.countOthers()
	l.admitAgain()
	l.secure.giveWay(l)
	l.forgetVisitors()
	l.tellPanics()
	l.secure.ring.Calm()
	due, untidy := l.tidying.Due(l.conns.len(), l.phase.moving() || l.importing > 0)
	if due {
		l.tidying.Tidy(l.post)
	}
	if l.conns.len() == 0 && !l.accept.paused && !untidy && len(l.counts.culprits) == 0 {
		l.beat.timer.Stop()
		l.beat.timer = nil
	}
}

// due acts on a deadline.
func (l *loop) due(c *Conn) {
	if c.has(flagRest) && c.stage == stageOpen || c.holdsBack() && c.in != nil {
		l.expect(c, time.Second) // it has spoken: we are late, not the client
		return
	}
	switch {
	case c.stage != stageOpen:
		l.destroy(c, nil)
	case c.has(flagHeader) && !c.transport.requests: // its proxy has not said who it is
		if !l.unheard(c) {
			l.destroy(c, ErrHandshake)
		}
	case c.transport.due != nil:
		c.transport.due(c)
	}
}

// unheard reports whether the client has sent something that we have not read
// yet, and if so gives us time to.
func (l *loop) unheard(c *Conn) bool {
	if !c.spoke() {
		return false
	}
	l.expect(c, time.Second)
	return true
}

// spoke reports whether there is something to read: a loop that was stopped or busy
// for long finds its deadlines passed before it sees the answers that came in time.
func (c *Conn) spoke() bool { return !c.has(flagMuted) && c.sock.Unread() }

// beatFrom starts the heartbeat of a connection. The first ping comes up to a
// tenth early, so that clients that came together are not pinged together.
func (l *loop) beatFrom(c *Conn) {
	d := l.w.PingInterval
	if tenth := int64(d / 10); tenth > 0 {
		d -= time.Duration(rand.Int64N(tenth))
	}
	l.expect(c, d)
}
