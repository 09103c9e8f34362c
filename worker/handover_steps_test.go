package worker

import (
	"encoding/binary"
	"testing"

	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
)

// heardBy counts what a client of the bus is woken for.
type heardBy struct{ n int }

func (h *heardBy) Deliver(ps []Publication)  { h.n += len(ps) }
func (h *heardBy) Query(BusQuery)            {}
func (h *heardBy) Gap(uint64, uint8, uint64) {}

// TestWakeUpsOfABatch: a batch takes the old loop three turns (freeze, pack,
// close) and the new one's loop two beside those of the sockets, asks the broker
// one question, and wakes no other process.
func TestWakeUpsOfABatch(t *testing.T) {
	const conns = handover.CanaryConns + 2*handover.BatchConns + 10
	const batches = 4
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	echoes(s1, conns)
	third, heard := b.client(), &heardBy{}
	must(t, third.Start(heard))
	old := uint64(0)
	s1.on(func() { old = w1.loop.counts.woken })
	w2, _ := newEchoer(anyWS)
	fresh := uint64(0)
	w2.OnResume = func(*Conn) { // the first of a batch is told in the turn after its admission
		if fresh == 0 {
			fresh = w2.loop.counts.woken
		}
	}
	s2, report := s1.replace(w2, b)
	if report.Moved != conns || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	s1.on(func() { old = w1.loop.counts.woken - old })
	s2.on(func() { fresh = w2.loop.counts.woken - fresh })
	// Beside the batches: the order, the hello, who answers questions, the beginning, its
	// mark, the last look, which finds none, in two turns, whether to wait, the numbers, the query.
	if most := uint64(3*batches + 11); old > most {
		t.Errorf("the old loop was woken %d times for %d batches, want at most %d", old, batches, most)
	}
	if most := uint64(2*batches + 10); fresh > most {
		t.Errorf("the new loop was woken %d times for %d batches, want at most %d", fresh, batches, most)
	}
	t.Logf("%d and %d turns for %d batches", old, fresh, batches)
	must(t, third.Close())
	if heard.n != 0 || s1.broker.barriers != batches+1 {
		t.Errorf("another process was told %d times; %d barriers", heard.n, s1.broker.barriers)
	}
}

// TestVectorIsSentOnce: a reader of version 2 gets what has changed, one before
// it all, each time.
func TestVectorIsSentOnce(t *testing.T) {
	for _, version := range []byte{1, 2} {
		w, _ := newEchoer(anyWS)
		s := serve(t, w)
		echoes(s, handover.CanaryConns+1)
		say := func(text string) {
			s.on(func() { must(t, w.Publish("nobody's", Text(text))); must(t, w.Publish("all", Text(text))) })
		}
		say("before")
		x := newExport(w.loop, nil)
		x.reads = version
		pack := func() delivered.Vector {
			var v delivered.Vector
			s.on(func() {
				x.freeze(handover.CanaryConns)
				body, fds, err := x.pack()
				must(t, err)
				closeAll(fds)
				v, _, err = delivered.Parse(body[8:])
				must(t, err)
				if binary.BigEndian.Uint64(body) != 0 {
					t.Error("no room for the time")
				}
			})
			return v
		}
		must(t, x.start())
		first := pack()
		again := pack() // not sent yet
		x.unsent = delivered.Vector{}
		none := pack()
		say("between")
		s.eventually("it has come", func() bool { return w.loop.fan.seen.HasNews() })
		s.on(func() {})
		changed := pack()
		if len(first) == 0 || len(again) != len(first) {
			t.Errorf("version %d: %v, again %v", version, first, again)
		}
		if version == 1 && len(none) != len(first) || version == 2 && len(none) != 0 || len(changed) == 0 {
			t.Errorf("version %d: %v, nothing new %v, changed %v", version, first, none, changed)
		}
		for at, n := range changed {
			if version == 2 && first[at] >= n {
				t.Errorf("%v has not changed", at)
			}
		}
		s.on(x.resume)
	}
}

// TestVectorOfTheNewProcess adds up what has changed, and knows whether the old
// one is ahead.
func TestVectorOfTheNewProcess(t *testing.T) {
	l := paper(t)
	m := &imports{l: l}
	a, b := delivered.Source{Publisher: 1, Shard: 1}, delivered.Source{Publisher: 2, Shard: 2}
	l.fan.seen.Note(&Publication{Publisher: 1, Shard: 1, Seq: 5}, 0)
	for i, step := range []struct {
		changed delivered.Vector
		heard   uint64 // of b
		ahead   bool
	}{
		{delivered.Vector{a: 5}, 0, false},
		{delivered.Vector{b: 3}, 0, true},
		{delivered.Vector{}, 2, true},
		{delivered.Vector{}, 3, false},
		{delivered.Vector{b: 4}, 0, true},
		{delivered.Vector{a: 5}, 4, false}, // all of it, as from a worker of version 1
	} {
		if step.heard > 0 {
			l.fan.seen.Note(&Publication{Publisher: 2, Shard: 2, Seq: step.heard}, 0)
		}
		m.advance(step.changed)
		if m.ahead != step.ahead {
			t.Errorf("step %d: ahead %v", i, m.ahead)
		}
	}
	if m.at[a] != 5 || m.at[b] != 4 {
		t.Errorf("%v", m.at)
	}
}
