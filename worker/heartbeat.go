package worker

import (
	"math/rand/v2"
	"time"

	"github.com/pushd/pushd/protocol/websocket"
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

// sweep runs once a second while there are connections.
func (l *loop) sweep() {
	now := seconds(l.now)
	for i, at := range l.conns.deadline {
		if c := l.conns.all[i]; at != 0 && at <= now && !c.has(flagMoving) {
			l.conns.deadline[i] = 0
			l.due(c)
		}
	}
	l.admitAgain()
	l.forgetVisitors()
	if untidy := l.tidy(); l.conns.len() == 0 && !l.accept.paused && !untidy {
		l.beat.timer.Stop()
		l.beat.timer = nil
	}
}

// due acts on a deadline.
func (l *loop) due(c *Conn) {
	if c.has(flagRest) && c.stage != stageClosing && c.stage != stageDrain {
		l.expect(c, time.Second) // it has spoken: we are late, not the client
		return
	}
	switch c.stage {
	case stagePacket:
		if c.has(flagHeader) { // its proxy has not said who it is
			l.destroy(c, ErrHandshake)
		}
	case stageHTTP:
		l.dueHTTP(c)
	case stageWebSocket:
		l.dueWebSocket(c)
	case stageClosing, stageDrain:
		l.destroy(c, nil)
	}
}

func (l *loop) dueHTTP(c *Conn) {
	if c.has(flagHeld) {
		c.more.held.expire()
		return
	}
	if c.out != nil {
		l.failSend("slow")
		l.destroy(c, ErrSlow)
		return
	}
	if l.unheard(c) {
		return
	}
	if c.in != nil { // half a request
		l.refused("timeout", c.peer().String(), "limits.handshake_timeout")
		l.reject(c, 408, "the request took too long")
		return
	}
	l.destroy(c, ErrHandshake)
}

// dueWebSocket pings a silent client and closes one that stays silent.
func (l *loop) dueWebSocket(c *Conn) {
	silent := time.Duration(seconds(l.now)-c.lastRecv) * time.Second
	interval, timeout := l.w.PingInterval, l.w.PingTimeout
	switch {
	case interval == 0:
	case silent < interval*9/10:
		c.clear(flagPinged)
		l.expect(c, interval-silent)
	case c.has(flagPaused) || timeout == 0: // we do not, or need not, see an answer
		c.clear(flagPinged)
		l.ping(c)
		l.expect(c, max(interval, time.Second))
	case !c.has(flagPinged):
		c.set(flagPinged)
		l.ping(c)
		l.expect(c, max(timeout, time.Second))
	case silent >= interval+timeout:
		l.unanswered(c)
	default:
		l.expect(c, interval+timeout-silent)
	}
}

// unheard reports whether the client has sent something that we have not read
// yet, and if so gives us time to: a loop that was stopped or busy for long finds
// its deadlines passed before it sees the answers that came in time.
func (l *loop) unheard(c *Conn) bool {
	if c.has(flagMuted) || !c.sock.Unread() {
		return false
	}
	l.expect(c, time.Second)
	return true
}

// unanswered ends a connection whose client is silent.
func (l *loop) unanswered(c *Conn) {
	if l.unheard(c) {
		return
	}
	if c.route.onTimeout != nil {
		c.extra().err = ErrTimeout
		c.route.timedOut(c)
	}
	if c.stage == stageWebSocket {
		l.destroy(c, ErrTimeout)
	}
}

var pingFrame = websocket.AppendFrame(nil, websocket.Ping, nil)

func (l *loop) ping(c *Conn) { l.control(c, pingFrame, pingMark) }

// beatFrom starts the heartbeat of a connection. The first ping comes up to a
// tenth early, so that clients that came together are not pinged together.
func (l *loop) beatFrom(c *Conn) {
	d := l.w.PingInterval
	if tenth := int64(d / 10); tenth > 0 {
		d -= time.Duration(rand.Int64N(tenth))
	}
	l.expect(c, d)
}
