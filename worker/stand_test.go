package worker

import (
	"fmt"
	"testing"

	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/history"
)

// split is a publisher of which two processes hear at different times, as they hang on
// different servers.
type split struct {
	seq    [Shards]uint64
	shards [Shards]uint64 // offsets
	sent   []Publication
}

func (p *split) next(text string) {
	shard := Shard(ScopeChannel, "room")
	p.seq[shard]++
	p.sent = append(p.sent, Publication{
		Kind: KindMessage, Scope: ScopeChannel, Target: "room", Shard: shard, Publisher: 99, Seq: p.seq[shard], Data: []byte(text),
	})
}

// numbered is next of a channel with history.
func (p *split) numbered(text string) {
	p.next(text)
	m := &p.sent[len(p.sent)-1]
	last := &p.shards[m.Shard]
	m.Stamp = &Stamp{Before: *last}
	*last++
	m.Stamp.Epoch, m.Stamp.Offset, m.Stamp.Prev = 7, *last, *last-1
}

// to has a process hear number n, from 1.
func (p *split) to(s *server, n int) { s.broker.in.Deliver([]Publication{p.sent[n-1]}) }

// TestAnHeirHearsWhatTheOldOneHasNot: a message has come to the heir before it was told
// of the hand-over, and comes to the old worker when the client has left.
func TestAnHeirHearsWhatTheOldOneHasNot(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	w1.OnConnect = func(c *Conn) { c.Join("room") }
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	p := &split{}
	for _, text := range []string{"1", "2", "3"} {
		p.next(text)
	}
	p.to(s1, 1)
	c.want("1")
	w2, _ := newEchoer(anyWS)
	s2 := launch(t, w2, b, s1)
	p.to(s2, 2)
	s2.eventually("the heir has it", func() bool {
		return w2.loop.fan.seen.Covers(delivered.Vector{{Publisher: 99, Shard: p.sent[1].Shard}: 2})
	})
	if r := s1.moveTo(s2); r.Error != "" || r.Moved != 1 {
		t.Fatalf("%+v", r)
	}
	p.to(s1, 2)
	p.to(s2, 3)
	c.want("2")
	c.want("3")
	s2.on(func() {
		if w2.loop.fan.journal.On() {
			t.Error("the journal goes on")
		}
	})
}

// TestAProcessThatTakesOverLate is none that was started for it, as when a group gets
// smaller: what it has heard before, and the other has not, is counted.
func TestAProcessThatTakesOverLate(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	w1.OnConnect = func(c *Conn) { c.Join("room") }
	s1 := launch(t, w1, b, nil)
	w2, _ := newEchoer(anyWS)
	s2 := launch(t, w2, b, nil)
	c := connect(t, s1.addrs[0], "/")
	p := &split{}
	for _, text := range []string{"1", "2", "3", "4"} {
		p.next(text)
	}
	p.to(s1, 1)
	c.want("1")
	for n := 1; n <= 3; n++ {
		p.to(s2, n)
	}
	s2.eventually("it has them", func() bool {
		return w2.loop.fan.seen.Covers(delivered.Vector{{Publisher: 99, Shard: p.sent[2].Shard}: 3})
	})
	if r := s1.moveTo(s2); r.Moved != 1 {
		t.Fatalf("%+v", r)
	}
	p.to(s2, 4)
	c.want("4")
	if got := s2.stats().BrokerGaps; got != 2 {
		t.Errorf("%d gaps, want 2", got)
	}
}

// TestHistoryOfAnHeir: what the old worker had not heard of a channel with history, and
// the heir will never, is asked for; once, and by those alone who lack it.
func TestHistoryOfAnHeir(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("heard late %v", late), func(t *testing.T) {
			b, a := &testBus{}, &asked{}
			w1, _ := newRecalling()
			s1 := launch(t, w1, b, nil)
			c := connect(t, s1.addrs[0], "/")
			_ = c.id()
			p := &split{}
			for i := range 4 {
				p.numbered(fmt.Sprint(i + 1))
			}
			s1.on(func() { w1.loop.conns.all[0].Join("room") })
			p.to(s1, 1)
			c.want("1")
			w2, _ := newRecalling()
			s2 := launch(t, w2, b, s1)
			s2.askedOn(a)
			if !late {
				p.to(s2, 3)
			}
			if r := s1.moveTo(s2); r.Error != "" || r.Moved != 1 {
				t.Fatalf("%+v", r)
			}
			if late {
				p.to(s2, 3)
			}
			if wants := a.take(s2); len(wants) != 1 || wants[0].After != (history.Position{Epoch: 7, Offset: 1}) {
				t.Errorf("asked %+v", wants)
			}
			s2.on(func() {
				if at := w2.loop.recall.of[w2.loop.conns.all[0]]; len(at) != 1 || !at[0].again {
					t.Errorf("waits for %+v", at)
				}
			})
		})
	}
}

// TestAnHeirThatIsBehind asks for nothing: what the old worker has delivered comes.
func TestAnHeirThatIsBehind(t *testing.T) {
	b, a := &testBus{}, &asked{}
	w1, _ := newRecalling()
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	_ = c.id()
	p := &split{}
	for i := range 4 {
		p.numbered(fmt.Sprint(i + 1))
	}
	s1.on(func() { w1.loop.conns.all[0].Join("room") })
	for n := 1; n <= 2; n++ {
		p.to(s1, n)
		c.want(fmt.Sprint(n))
	}
	w2, _ := newRecalling()
	s2 := launch(t, w2, b, s1)
	s2.askedOn(a)
	s1.moveTo(s2)
	for n := 2; n <= 4; n++ {
		p.to(s2, n)
	}
	c.want("3")
	c.want("4")
	s2.on(func() {
		if len(w2.loop.recall.of) != 0 {
			t.Error("it joins again")
		}
	})
}

// TestRejoinFromWhereItStood: of those that join again, who has had more where it came
// from does so from there.
func TestRejoinFromWhereItStood(t *testing.T) {
	l := paper(t)
	l.recall.ordered = func(string) bool { return true }
	app, shard := l.recall.apps.Of("room"), Shard(ScopeChannel, "room")
	l.followed(app, shard, 7, 3, 5)
	v := l.recall.stands(0)
	if at, ok := v[delivered.Chain(app, 7, shard)]; !ok || at != 5 {
		t.Errorf("%d %v", at, ok)
	}
	if len(l.recall.stands(l.recall.followed)) != 0 {
		t.Error("nothing has moved")
	}
	moved, own := &Conn{loop: l}, &Conn{loop: l}
	l.skipped([]*Conn{moved}, v)
	for c, want := range map[*Conn]uint64{moved: 5, own: 4} {
		l.recoverAgain(c, "room", history.Position{Epoch: 7, Offset: 4})
		if got := l.recall.of[c]; len(got) != 1 || got[0].after.Offset != want {
			t.Errorf("joins from %+v, want %d", got, want)
		}
	}
}
