package worker

import (
	"testing"

	"github.com/pushd/pushd/worker/handover"
)

// TestSkips: each batch is judged by where it stood, and nothing is left at the end.
func TestSkips(t *testing.T) {
	from := source{7, 1}
	batches := [][]*Conn{{{}, {}}, {{}}, {{}, {}}, {{}}}
	at := []vector{{from: 10}, {from: 10}, {from: 12}, {from: 12, {8, 1}: 1}}
	var s skips
	for i, conns := range batches {
		s.add(conns, at[i])
	}
	if len(s.at) != 3 || len(s.other) != 3 {
		t.Errorf("%d vectors, %d connections not at the first", len(s.at), len(s.other))
	}
	for i, conns := range batches {
		for seq := range uint64(20) {
			p := &Publication{Publisher: from.publisher, Shard: from.shard, Seq: seq}
			for _, c := range conns {
				if !c.has(flagSkip) || s.has(c, p) != (seq <= at[i][from]) {
					t.Fatalf("batch %d, number %d: has had it: %v", i, seq, s.has(c, p))
				}
			}
		}
	}
	for i, conns := range batches {
		s.drop(conns)
		if i < 3 && !s.has(batches[3][0], &Publication{Publisher: 8, Shard: 1, Seq: 1}) {
			t.Fatal("another batch's end has taken what the last one has had")
		}
		if conns[0].has(flagSkip) {
			t.Fatal("it is over, and still skips")
		}
	}
	if s.at != nil || s.other != nil || s.conns != 0 {
		t.Errorf("%+v is left", s)
	}
}

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
		if report.Moved != 2*handover.BatchConns || s.conns != report.Moved || len(s.at) != 1 || s.other != nil {
			t.Errorf("%d moved: %d skip, %d vectors, %d connections not at the first", report.Moved, s.conns, len(s.at), len(s.other))
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
		if w2.loop.skip.conns != 1 {
			t.Errorf("%d skip", w2.loop.skip.conns)
		}
		w2.loop.unskip(w2.loop.conns.all) // skipFor is over
	})
	close(b.hold)
	s2.eventually("it has caught up", func() bool { return w2.loop.skip.conns == 0 })
	must(t, w2.loop.do(func() { must(t, w2.Publish("all", Text("next"))) }))
	c.want("next")
}
