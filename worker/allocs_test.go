package worker

import "testing"

// The paths that run for each message allocate nothing. These are counts, so
// they hold on any machine.

// allocs counts the allocations of one turn of the loop that runs fn.
func (s *server) allocs(fn func(l *loop)) (n float64) {
	s.t.Helper()
	s.on(func() {
		l := s.w.loop
		n = testing.AllocsPerRun(20, func() {
			l.Begin()
			fn(l)
			l.End()
		})
	})
	return n
}

// untidied keeps a goroutine out of it that gives memory back once many have come.
func (s *server) untidied() { s.on(func() { s.w.loop.tidying.Keep(1 << 40) }) }

func TestEchoAllocatesNothing(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &testBus{}, nil)
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
		s := launch(t, w, &testBus{}, nil)
		s.untidied()
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
	for range 4 { // other goroutines, and the collector's, are counted too: the least is the loop's
		one, many = min(one, perPublication(1)), min(many, perPublication(400))
	}
	if one > once || many > one {
		t.Errorf("allocations of a publication: %v to one member, %v to 400; want at most %d, and no more to many", one, many, once)
	}
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &testBus{}, nil)
	s.crowd(100, "/")
	s.untidied()
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

// TestInboundAllocatesPerPublication takes the whole way from the broker's client
// to the members: what a publication allocates does not depend on how many get
// it, nor on whether it waits in their queues.
func TestInboundAllocatesPerPublication(t *testing.T) {
	const once = 8 // the batch, the delivery, its frame, places in queues
	perPublication := func(members int, full bool) float64 {
		w, _ := newEchoer(anyWS)
		s := launch(t, w, &testBus{}, nil)
		s.untidied()
		s.crowd(members, "/")
		batch := []Publication{{Kind: KindMessage, Scope: ScopeChannel, Target: "all", Data: make([]byte, 128)}}
		publish := func(l *loop) {
			l.Deliver(batch)
			for l.Woken(nil); l.fan.current != nil || len(l.fan.queue) > 0; {
				l.fan.step(l)
			}
		}
		s.on(func() {
			for _, c := range w.loop.conns.all {
				if full { // as after a write that found no room; the queue has room for all
					c.out = &queue{frames: make([][]byte, 1, 64), bytes: 1}
					c.out.frames[0] = []byte{0}
				}
			}
		})
		before := s.stats().MessagesOut
		n := s.allocs(publish)
		if sent := s.stats().MessagesOut - before; sent != uint64(21*members) {
			t.Errorf("%d messages went to %d members", sent, members)
		}
		waiting := 0
		s.on(func() {
			for _, c := range w.loop.conns.all {
				if c.out != nil && len(c.out.frames) == 22 {
					waiting++
				}
				c.out = nil
			}
			w.loop.counts.queueBytes = 0
		})
		if full && waiting != members || !full && waiting != 0 {
			t.Errorf("the messages of %d members are in their queues", waiting)
		}
		return n
	}
	one := perPublication(1, false)
	for _, full := range []bool{false, true} {
		if many := perPublication(400, full); one > once || many > one {
			t.Errorf("allocations of a publication: %v to one member, %v to 400 (full: %v); want at most %d, and no more to many", one, many, full, once)
		}
	}
}
