package worker

import "time"

// A connection that gnet did not accept itself gets into gnet by way of its
// accept path: a dummy connection to a listener of our own is accepted, and
// before gnet looks at it the real socket takes its descriptor number. That
// costs no more than an accept, in time and in memory.

// arrivals are the connections on that way, in order. The first sent of them
// have a dummy in the listener's accept queue, which must not overflow.
type arrivals struct {
	to    *address // the dummies' listener, in the abstract namespace
	queue []landing
	sent  int
}

// maxDummies is well below the shortest accept queue that a system may have.
const maxDummies = 64

// landing is a connection that waits for its dummy to be accepted.
type landing struct {
	c  *Conn
	fd int
	fn func(c *Conn, ok bool) // runs when the connection is in place or lost, may be nil
}

// openArrivals puts the listener of the dummies at gnet's first descriptor.
func (l *loop) openArrivals() error {
	fd, to, err := listenAbstract()
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if err := replace(fd, l.engine.door0); err != nil {
		return err
	}
	// After a restart of gnet those that were on their way still are.
	l.arrive = arrivals{to: to, queue: l.arrive.queue}
	l.arrive.send(l)
	return epollAdd(l.engine.epoll, l.engine.door0, eventsRead)
}

// await brings in c, whose socket is fd. It runs on the loop and owns fd from
// then on.
func (a *arrivals) await(l *loop, c *Conn, fd int, fn func(*Conn, bool)) {
	a.queue = append(a.queue, landing{c, fd, fn})
	a.send(l)
}

// send keeps the accept queue supplied.
func (a *arrivals) send(l *loop) {
	for a.sent < min(len(a.queue), maxDummies) {
		if err := connectAbstract(a.to); err != nil {
			if a.sent == 0 { // nothing on its way would make us try again
				l.after(time.Millisecond, func() { a.send(l) })
			}
			return
		}
		a.sent++
	}
}

// arrived puts the next connection in the place of the dummy s.
func (l *loop) arrived(s sock) action {
	if !ourOwn(s.Fd()) || len(l.arrive.queue) == 0 {
		return closeAction // a stranger has found the listener
	}
	a := l.arrive.queue[0]
	l.arrive.queue = l.arrive.queue[1:]
	l.arrive.sent--
	if len(l.arrive.queue) == 0 {
		l.arrive.queue = nil
	}
	l.begin()
	l.arrive.send(l)
	s.SetContext(a.c)
	l.slim(s)
	a.land(l, s)
	return l.end(a.c)
}

// land gives the dummy's place in gnet to the connection.
func (a *landing) land(l *loop, s sock) {
	c := a.c
	err := replace(a.fd, s.Fd())
	closeFD(a.fd)
	if err == nil {
		c.flags &^= flagMuted
		err = epollAdd(l.engine.epoll, s.Fd(), eventsRead)
	}
	c.sock = s
	l.recount(c)
	if a.fn != nil {
		a.fn(c, err == nil)
	}
	if err != nil {
		l.log.Error("connection lost on its way into the event loop", "connection", c.ID(), "error", err)
		l.destroy(c, err)
		return
	}
	l.watch(c)
	if c.out != nil { // nil when OnResume has overflowed the queue, which closes
		if len(c.out.frames) > 0 {
			l.writer.watch(l, c)
		}
		l.drain(c)
	}
	l.resume(c)
}

// lateAnswer is the answer to a publication that came during a hand-over: some
// of the connections that it is for may still be on their way.
type lateAnswer struct {
	d  *delivery
	at time.Duration
}

// lateBy is how long an answer waits for connections on their way.
const lateBy = 60 * time.Millisecond

// answerFor tells whoever asked how many connections a publication reached.
func (l *loop) answerFor(d *delivery) {
	if l.fan.journal.on && !l.moving {
		l.late = append(l.late, lateAnswer{d, l.now + lateBy})
		if len(l.late) == 1 {
			l.after(lateBy, l.answerLate)
		}
		return
	}
	l.broker.Answer(d.pub.Reply, Answer{Worker: l.identity, Reached: d.reached})
}

// answerLate sends the answers whose time has come.
func (l *loop) answerLate() {
	for len(l.late) > 0 && (l.late[0].at <= l.now || !l.fan.journal.on) {
		d := l.late[0].d
		l.late = l.late[1:]
		l.broker.Answer(d.pub.Reply, Answer{Worker: l.identity, Reached: d.reached})
	}
	if len(l.late) > 0 {
		l.after(max(l.late[0].at-l.now, time.Millisecond), l.answerLate)
	}
}

// credit adds a connection that was reached after the fact.
func (l *loop) credit(p *Publication, n int) {
	for i := range l.late {
		if q := &l.late[i].d.pub; q.Publisher == p.Publisher && q.Shard == p.Shard && q.Seq == p.Seq {
			l.late[i].d.reached += n
			return
		}
	}
}
