package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
)

// TestCalmHandoverKeepsOneVector: batches that nothing was published between
// stand at the same place, and their connections cost nothing.
func TestCalmHandoverKeepsOneVector(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	s1.crowd(2*handover.BatchConns, "/")
	must(t, w1.loop.do(func() { must(t, w1.Publish("all", Text("before"))) }))
	s1.eventually("all have it", func() bool { return w1.loop.counts.messagesOut == 2*handover.BatchConns })
	w2, _ := newEchoer(anyWS)
	s2, report := s1.replace(w2, b)
	s2.on(func() {
		s := &w2.loop.skip
		if vectors, others := s.Cost(); report.Moved != 2*handover.BatchConns || s.Len() != report.Moved || vectors != 1 || others != 0 {
			t.Errorf("%d moved: %d skip, %d vectors, %d connections not at the first", report.Moved, s.Len(), vectors, others)
		}
	})
}

// TestSkipsOutlastALag: a process that is far behind gives nobody a second time what
// the one before has delivered, however late it comes.
func TestSkipsOutlastALag(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	b.mu.Lock()
	b.hold = make(chan struct{})
	b.mu.Unlock()
	w2, _ := newEchoer(anyWS)
	s2 := launch(t, w2, b, s1)
	must(t, w1.loop.do(func() { must(t, w1.Publish("all", Text("once"))) }))
	c.want("once")
	s1.moveTo(s2)
	s2.on(func() {
		if w2.loop.skip.Len() != 1 {
			t.Errorf("%d skip", w2.loop.skip.Len())
		}
		if !w2.loop.conns.all[0].has(flagSkip) {
			t.Error("it does not know")
		}
		w2.loop.unskip(w2.loop.conns.all, w2.loop.skip.Of(w2.loop.conns.all[0]), 0) // skipFor is over
	})
	close(b.hold)
	s2.eventually("it has caught up", func() bool { return w2.loop.skip.Len() == 0 && !w2.loop.conns.all[0].has(flagSkip) })
	must(t, w2.loop.do(func() { must(t, w2.Publish("all", Text("next"))) }))
	c.want("next")
}

// TestSkipsWaitForAllServers: the word of one server says nothing of what comes by another;
// what the old worker has had is skipped until it has come, or is given up.
func TestSkipsWaitForAllServers(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	_ = connect(t, s.addrs[0], "/")
	s.eventually("it is there", func() bool { return w.CountConnections() == 1 })
	l, v := w.loop, delivered.Vector{{Publisher: 99, Shard: 1}: 5}
	passed := func() {
		s.eventually("the barrier is passed", func() bool { return len(l.syncs) == 0 })
	}
	var conns []*Conn
	s.on(func() {
		conns = slices.Clone(l.conns.all)
		v = l.skipped(conns, v)
		l.unskip(conns, v, l.now+time.Hour)
	})
	passed()
	s.on(func() {
		if !conns[0].has(flagSkip) || l.skip.Len() != 1 {
			t.Error("it is skipped no more")
		}
		l.unskip(conns, v, 0)
	})
	passed()
	s.on(func() {
		if conns[0].has(flagSkip) || l.skip.Len() != 0 {
			t.Error("it is skipped for ever")
		}
	})
}
