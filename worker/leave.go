package worker

import (
	"encoding/json"
	"math/rand/v2"
	nethttp "net/http"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/protocol/websocket"
)

// How a worker process ends: its clients are closed as the order says, the
// handlers are told, and the numbers go to the master last.

// leave closes the clients as the order says and returns when they are gone or
// time is up. In a graceful stop a further order ends the waiting for those who
// go by themselves, not the time that the others have for the goodbye.
func (s *serving) leave(o control.Stop) {
	l := s.l
	s.turnAway(o.Code)
	s.breakOff()
	if o.Graceful {
		_ = l.do(l.closeIdle)
	}
	if o.Graceful && !until(s.gone, time.Duration(o.TimeoutMS)*time.Millisecond, s.stop) {
		l.log.Info("clients are still here; closing them")
	}
	s.lastWords()
	drain := time.Duration(o.DrainMS) * time.Millisecond
	_ = l.do(func() { l.disperse(o.Code, o.Reason, drain) })
	until(s.gone, drain+leaveTimeout, nil)
	if n := s.count(); n > 0 {
		l.log.Warn("clients that have not answered the goodbye are cut", "clients", n)
	}
}

// lastWords lets the handlers say to the clients what they have to, while these are here.
func (s *serving) lastWords() {
	said := make(chan struct{})
	_ = s.l.do(func() {
		open := 1 // this call
		ready := func() {
			if open--; open == 0 {
				close(said)
			}
		}
		_ = s.l.each(func(r *route) error {
			if r.onLeaving != nil {
				open++
				defer s.l.contain("OnWorkerLeaving", nil)
				r.onLeaving(s.l.w, ready)
			}
			return nil
		})
		ready()
	})
	select {
	case <-said:
	case <-time.After(leaveTimeout):
	}
}

// breakOff ends a hand-over that a stop has come into: the batch at hand is
// finished or taken back, so that each client has one process that says goodbye
// to it. What has moved is told by the new one, which waits for the end of the
// hand-over too; see count.
func (s *serving) breakOff() {
	x := s.given.Load()
	if x == nil {
		return
	}
	select {
	case <-x.over:
	case <-time.After(leaveTimeout): // the new one does not go on
		x.k.Close()
		<-x.over
	}
	if x.broken {
		x.back.Do(func() { _ = s.l.do(x.resume) })
	}
}

// turnAway lets nobody in any more.
func (s *serving) turnAway(code int) {
	l := s.l
	_ = l.do(func() {
		l.become(phaseLeaving)
		l.reactor.Deafen(true)
		if l.phase == phaseLeaving && code == int(websocket.CloseRestart) {
			_ = l.each(func(r *route) error {
				if r.onWorkerReload != nil {
					defer l.contain("OnWorkerReload", nil)
					r.onWorkerReload(l.w)
				}
				return nil
			})
		}
	})
	l.reactor.CloseListeners()
}

// leaveTimeout is how long clients may take to answer the goodbye of a process
// that leaves, beyond the time over which they are closed. Some never do.
const leaveTimeout = time.Second

// until waits for something that nobody tells: it asks done, at once and then again
// and again, and reports whether that has said yes before the timeout (0 = none)
// or a stop. It must not run on the loop.
func until(done func() bool, timeout time.Duration, stop <-chan control.Stop) bool {
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-expired:
			return false
		case <-stop:
			return false
		}
	}
	return true
}

// askEvery is how often until asks.
const askEvery = 20 * time.Millisecond

// gone reports whether all clients have left.
func (s *serving) gone() bool { return s.count() == 0 }

// count returns how many clients are here, or may still come by a hand-over,
// each of which counts as one.
func (s *serving) count() (n int) {
	_ = s.l.do(func() { n = s.l.conns.len() + s.l.importing })
	return n
}

// closeIdle closes the HTTP connections that wait for a next request.
func (l *loop) closeIdle() {
	for _, c := range l.conns.all {
		if c.asks() && !c.has(flagHeld) && c.in == nil {
			l.closeConn(c, 0, "", nil)
		}
	}
}

// disperse closes all clients at random moments within drain, so that they do
// not come back all at once; who waits for an answer, at its end.
func (l *loop) disperse(code int, reason string, drain time.Duration) {
	end := l.now + drain
	l.parting = func(c *Conn) { // who comes late has what is left of the time
		left := end - l.now
		switch {
		case left > 0 && c.has(flagHeld): // an answer under way has time to end
			l.after(left, func() { l.sendAway(c, code, reason) })
			return
		case left <= 0 || !c.open():
			l.sendAway(c, code, reason)
			return
		}
		l.after(time.Duration(rand.Int64N(int64(left))), func() { l.sendAway(c, code, reason) })
	}
	for _, c := range l.conns.snapshot() {
		l.progress.Add(1)
		l.parting(c)
	}
}

// sendAway closes a client, since the process ends. Who waits for an answer that has not
// begun is told so, and that he may come back.
func (l *loop) sendAway(c *Conn, code int, reason string) {
	if c.has(flagHeld) && c.more != nil && c.more.held != nil {
		if w, ok := c.more.held.answer.(*Response); ok && !w.started {
			w.header = nethttp.Header{"Retry-After": {"1"}}
			w.fail(nethttp.StatusServiceUnavailable, "the server stops")
			return
		}
	}
	l.closeConn(c, code, reason, nil)
}

// report tells the master all that this process has counted. Nothing is counted
// after it but what happens to clients that are cut.
func (s *serving) report() {
	var raw json.RawMessage
	var err error
	if s.l.do(func() { raw, err = json.Marshal(s.l.snapshot()) }) != nil || err != nil {
		return // the loop has ended before its time, and has said so
	}
	_ = s.ctl.SetWriteDeadline(time.Now().Add(reportBound))
	s.send(control.Message{Type: control.TypeReport, Body: raw})
}

// reportBound is how long a master that does not read holds up the end.
const reportBound = time.Second

// shutdown ends the loop and the broker client, after a report if one is wanted.
func (s *serving) shutdown(report bool) error {
	l := s.l
	_ = l.do(func() {
		_ = l.each(func(r *route) error {
			if r.onWorkerStop != nil {
				defer l.contain("OnWorkerStop", nil)
				r.onWorkerStop(l.w)
			}
			return nil
		})
		l.tellPanics()
	})
	if report {
		s.report()
	}
	err := l.broker.Close()
	l.fan.mu.Lock()
	l.fan.shut = true
	l.fan.room.Broadcast()
	l.fan.mu.Unlock()
	l.reactor.Shutdown()
	return err
}
