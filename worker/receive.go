package worker

import "github.com/pushd/pushd/worker/reactor"

// receive takes what was read. p is the reactor's buffer: it may be changed, and
// is used again after this returns.
func (c *Conn) receive(p []byte) {
	c.received(len(p))
	c.lastRecv = seconds(c.loop.now)
	c.clear(flagPinged)
	switch {
	case c.has(flagDead) || c.stage == stageDrain:
	case c.session != nil:
		c.unseal(p)
	case c.shaking() != nil:
		c.shaking().fed(p)
	default:
		c.take(p)
	}
}

// take takes what the client has said, in the clear. p may be changed.
func (c *Conn) take(p []byte) {
	l := c.loop
	if c.has(flagRest) { // read before it was put off
		c.in.wait.add(p)
		return
	}
	if l.rest.crowded(l) && !c.has(flagPaused|flagHeld|flagMoving) {
		c.input().wait.add(p)
		l.putOff(c)
		return
	}
	l.rest.grant(l, turnTime)
	if c.in != nil && c.in.wait.len() > 0 {
		c.in.wait.add(p)
		c.consume()
		return
	}
	if rest := c.work(p); len(rest) > 0 {
		c.input().wait.add(rest)
		c.await()
	}
	c.emptied()
}

// consume works on the bytes that wait.
func (c *Conn) consume() {
	in := c.in
	p := in.wait.bytes()
	rest := c.work(p)
	in.wait.drop(len(p) - len(rest))
	if len(rest) > 0 {
		c.await()
	}
	c.emptied()
}

// await decides when the bytes that wait are worked on.
func (c *Conn) await() {
	if c.holdsBack() {
		c.route.clients.waits(c)
	}
	if c.unfinished() {
		c.loop.putOff(c)
		return
	}
	c.loop.watch(c)
}

// work works on p, in the turn that was granted, until it is used up or has to
// wait, and returns what has to.
func (c *Conn) work(p []byte) []byte {
	if c.has(flagPaused | flagHeld | flagMoving) {
		return p
	}
	if c.holdsBack() {
		return p
	}
	c.loop.holdFor(c)
	if c.has(flagHeader) {
		if p = c.introduce(p); c.has(flagHeader) {
			return p
		}
	}
	for t := (*transport)(nil); t != c.transport && !c.holdsBack(); { // again after an upgrade
		t = c.transport
		p = t.receive(c, p)
	}
	if c.has(flagDead|flagEnd) || c.stage == stageDrain {
		return nil
	}
	return p
}

// maxAhead is the most that is read ahead while an answer is deferred or unsent;
// the socket is watched so that a client that gives up is noticed.
const maxAhead = reactor.ReadChunk

// watch turns reading on or off as the flags demand.
func (l *loop) watch(c *Conn) {
	ahead := c.has(flagHeld) || c.transport.collect != nil || c.asks() && (l.phase == phaseWaiting || c.out != nil)
	waits := c.in != nil && c.in.wait.len() > 0
	mute := c.has(flagPaused) || waits && c.holdsBack() || ahead && waits && c.in.wait.len() > maxAhead
	if mute == c.has(flagMuted) || !c.sock.Valid() || c.has(flagDead|flagMoving|flagRest) {
		return
	}
	if err := l.reactor.Mute(c.sock, mute); err != nil {
		l.destroy(c, err)
		return
	}
	c.flags ^= flagMuted
}

// resume lets held-back input be worked on at the end of this turn.
func (l *loop) resume(c *Conn) { l.thaw = append(l.thaw, c) }

// melt works on held-back input.
func (l *loop) melt(c *Conn) {
	if c.has(flagDead|flagPaused|flagHeld|flagMoving|flagRest) || !c.sock.Valid() {
		return
	}
	l.watch(c)
	if c.in == nil || c.in.wait.len() == 0 {
		c.heardAll()
		return
	}
	if l.rest.crowded(l) {
		l.putOff(c)
		return
	}
	l.rest.grant(l, turnTime)
	c.consume()
	l.uncork()
}
