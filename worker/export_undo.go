package worker

import (
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/reactor"
)

// resume takes back what was not committed, if anything, and goes on serving,
// as if nothing had been. It runs on the loop, when the new worker is known to
// be dead: one that lives might still read from the sockets that it was sent.
//
// In this order: the sockets are watched again, so that a client that has gone is
// seen; then they get what was published while they were frozen; and only then is
// what they have sent acted on, as an answer to it must not come before.
func (x *export) resume() {
	l := x.l
	l.become(phaseServing)
	l.fan.complete(l)
	l.fan.seen.EndNews()
	for _, c := range x.held {
		if c.has(flagDead) {
			continue // its client left meanwhile
		}
		c.clear(flagMoving)
		if err := l.retake(c); err != nil {
			l.destroy(c, err)
		}
	}
	l.replay(x.held, x.at)
	l.underway.heir = ""
	l.questions.passes, l.questions.answer = false, nil
	l.allLanded()
	for _, c := range x.held {
		l.resume(c)
	}
	for _, c := range l.conns.all { // their requests have waited
		if !c.transport.talks && c.in != nil {
			l.resume(c)
		}
	}
	if len(x.held) > 0 { // else nobody was to get it
		l.lackedBy(x.at)
	}
	x.held = nil
	l.closeJournal()
	if l.phase.leaving() {
		return
	}
	_ = l.each(func(r *route) error {
		if r.onWorkerResume != nil {
			defer l.contain("OnWorkerResume", nil)
			r.onWorkerResume(l.w)
		}
		return nil
	})
	l.accept.paused = false
	l.listen()
	if fd := reactor.LowestFree(); fd < 0 || l.full(fd) {
		l.pause()
	}
}

// retake watches a connection again: it is the loop's as before freeze.
func (l *loop) retake(c *Conn) error {
	if !c.sock.Valid() {
		return nil
	}
	c.clear(flagMuted)
	if err := l.reactor.Attach(c.sock); err != nil {
		return err
	}
	l.watch(c)
	if c.transport.collect != nil {
		l.polled = append(l.polled, c)
	}
	if c.out != nil {
		l.awaitRoom(c)
	}
	return nil
}

// takeBack answers the master's order to resume. It runs once for an export, however
// often it is ordered, since breakOff may have done it already. The order may come
// before the hand-over has noticed that the new worker is dead: it waits for that.
// Without a hand-over (nil), or one taken back already, there is nothing to do.
func (s *serving) takeBack(x *export, id uint64) {
	if x != nil {
		x.back.Do(func() {
			<-x.over
			_ = s.l.do(x.resume)
			s.given.Store(nil)
		})
	}
	s.send(control.Message{Type: control.TypeAnswer, ID: id})
}
