package worker

import "time"

// What a client sends is worked on in turns. A connection whose turn is over
// with something left goes to the end of the waitlist, and its socket out of
// sight: no more is read of it, and its end is seen, when the rest is done. So
// what one client sends at once costs another one no more than a turn, and
// whoever comes by the door (timers, the master, publications) waits for no
// more than batchTime.
const (
	turnMessages = 1024                  // of one connection, and requests
	turnInflated = 256 << 10             // bytes, of compressed messages
	turnTime     = 2 * time.Millisecond  // so many messages at least one
	batchTime    = 50 * time.Millisecond // of all sockets between two turns of the door; then all they bring is kept
	stepTime     = 10 * time.Millisecond // of the waitlist between two turns of the sockets
)

// budget is what is left of a connection's turn.
type budget struct {
	messages int
	inflated int
	until    time.Duration
}

// waitlist is the connections with a rest, in the order of their turns. It
// belongs to the loop, as does the budget of the connection at work.
type waitlist struct {
	queue  []*Conn
	budget budget
	spent  time.Duration // by sockets since the door had its turn
	served bool          // this turn is the door's
}

// grant begins a connection's turn.
func (b *waitlist) grant(l *loop, d time.Duration) {
	b.budget = budget{messages: turnMessages, inflated: turnInflated, until: l.mark + d}
}

// crowded reports whether sockets have used up what they have between two turns
// of the door.
func (b *waitlist) crowded(l *loop) bool { return b.spent+l.mark-l.now > batchTime }

// note ends a turn that took so long. The door's turn begins the count anew.
func (b *waitlist) note(l *loop, took time.Duration) {
	if b.served {
		b.spent, b.served = 0, false
		return
	}
	if b.spent += took; b.spent > batchTime {
		l.reactor.Wake()
	}
}

// lookEvery is after how many messages the clock is read where no callback does.
const lookEvery = 16

// worked counts a message, of which so many bytes were inflated.
func (l *loop) worked(inflated int) {
	b := &l.rest.budget
	b.messages--
	b.inflated -= inflated
	if inflated > 0 || b.messages%lookEvery == 0 {
		l.mark = l.reactor.Now()
	}
	l.progress.Add(1)
}

// turnOver reports whether the connection at work has used up its turn.
func (l *loop) turnOver() bool {
	b := &l.rest.budget
	return b.messages <= 0 || b.inflated <= 0 || l.mark >= b.until
}

// unfinished reports whether c could go on, were its turn not over.
func (c *Conn) unfinished() bool {
	return c.in != nil && c.in.wait.len() > 0 && c.loop.turnOver() && !c.holdsBack() && c.transport.collect == nil &&
		!c.has(flagPaused|flagHeld|flagMoving|flagDead|flagEnd) && c.stage != stageDrain
}

// putsOff reports whether what waits can be worked on later, though nothing more
// comes.
func (c *Conn) putsOff() bool {
	return c.in != nil && c.in.wait.len() > 0 &&
		(c.has(flagRest|flagPaused|flagHeld) || c.holdsBack() || c.asks() && !c.takesRequests())
}

// putOff lets c go on in a later turn.
func (l *loop) putOff(c *Conn) {
	if !c.has(flagRest) {
		c.set(flagRest)
		c.clear(flagMuted)
		l.reactor.Ignore(c.sock)
		l.rest.queue = append(l.rest.queue, c)
	}
	l.reactor.Wake()
}

// step gives the connections of the waitlist their turns. The more there are,
// the shorter these are, so that each comes up again soon.
func (b *waitlist) step(l *loop) {
	b.served = true
	if len(b.queue) == 0 {
		return
	}
	l.mark = l.reactor.Now()
	end := l.mark + stepTime
	share := min(stepTime/time.Duration(len(b.queue)), turnTime)
	for len(b.queue) > 0 && l.mark < end {
		c := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		l.progress.Add(1)
		l.takeUp(c, share)
		l.mark = l.reactor.Now()
	}
	if len(b.queue) == 0 {
		b.queue = nil
		return
	}
	l.reactor.Wake()
}

// takeUp gives one connection its turn, unless it has left the waitlist: it is
// closed, moving or has lost its engine.
func (l *loop) takeUp(c *Conn, share time.Duration) {
	if !c.has(flagRest) || c.has(flagDead) {
		return
	}
	l.rest.grant(l, share)
	if c.in != nil && c.in.wait.len() > 0 {
		c.consume()
		l.uncork()
	}
	switch {
	case c.has(flagDead):
	case c.unfinished():
		l.rest.queue = append(l.rest.queue, c)
	default:
		c.clear(flagRest)
		if c.heardAll(); c.has(flagDead) {
			return
		}
		if err := l.reactor.Attach(c.sock); err != nil {
			l.destroy(c, err)
			return
		}
		l.watch(c)
	}
}
