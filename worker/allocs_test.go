package worker

import (
	"testing"
	"time"
)

// The paths that run for each message allocate nothing. These are counts, so
// they hold on any machine.

// allocs counts the allocations of one turn of the loop that runs fn.
func (s *server) allocs(fn func(l *loop)) (n float64) {
	s.t.Helper()
	s.on(func() {
		l := s.w.loop
		n = testing.AllocsPerRun(20, func() {
			l.begin()
			fn(l)
			l.end(nil)
		})
	})
	return n
}

func TestEchoAllocatesNothing(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &bus{}, nil)
	s.crowd(1, "/")
	frame := mask(0x82, make([]byte, 128))
	buf := make([]byte, len(frame))
	before := s.stats().MessagesOut
	n := s.allocs(func(l *loop) {
		copy(buf, frame) // it is unmasked in place
		l.conns.all[0].receive(buf)
	})
	if n != 0 {
		t.Errorf("receive, OnMessage, Send: %v allocations", n)
	}
	if sent := s.stats().MessagesOut - before; sent != 21 { // one to warm up
		t.Errorf("%d echoes were sent", sent)
	}
}

// TestFanoutAllocatesOnce compares a publication to many with one to a single
// member: each further receiver costs nothing.
func TestFanoutAllocatesOnce(t *testing.T) {
	const once = 4 // the publication's own: the delivery, its frame, places in queues
	perPublication := func(members int) float64 {
		w, _ := newEchoer(anyWS)
		s := launch(t, w, &bus{}, nil)
		s.crowd(members, "/")
		data := make([]byte, 128)
		before := s.stats().MessagesOut
		n := s.allocs(func(l *loop) {
			l.fan.bytes += len(data) + 64 // as Deliver has counted it
			l.fan.queue = append(l.fan.queue, Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "all", Data: data})
			l.fan.step(l)
		})
		if sent := s.stats().MessagesOut - before; sent != uint64(21*members) {
			t.Errorf("%d messages were sent to %d members", sent, members)
		}
		return n
	}
	one, many := perPublication(1), perPublication(400)
	if one > once || many > one {
		t.Errorf("allocations of a publication: %v to one member, %v to 400; want at most %d, and no more to many", one, many, once)
	}
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &bus{}, nil)
	s.crowd(100, "/")
	s.on(func() { s.w.loop.tidying.kept = 1 << 40 }) // the collector stays out of it
	if n := s.allocs(func(l *loop) { l.sweep() }); n != 0 {
		t.Errorf("a scan: %v allocations", n)
	}
	pings := 0
	n := s.allocs(func(l *loop) {
		for i, c := range l.conns.all {
			c.lastRecv = seconds(l.now - w.PingInterval)
			c.clear(flagPinged)
			l.conns.deadline[i] = 1
		}
		l.sweep()
		for _, c := range l.conns.all {
			if c.has(flagPinged) {
				pings++
			}
		}
	})
	if n != 0 || pings != 21*100 {
		t.Errorf("100 pings: %v allocations, %d pings in 21 scans", n, pings)
	}
}

// clockError is far below the second in which deadlines are kept, and above what
// a busy machine may put between two readings at start.
const clockError = 500 * time.Millisecond

// TestClock compares the clock that costs no system call with the system's.
func TestClock(t *testing.T) {
	for range 100 {
		before, now, after := bootClock(), clock(), bootClock()
		if now < before-clockError || now > after+clockError {
			t.Fatalf("clock says %v, between %v and %v", now, before, after)
		}
	}
}
