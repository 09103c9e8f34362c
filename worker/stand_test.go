package worker

import (
	"fmt"
	"testing"

	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/history"
)

// split is a publisher of which two processes hear at different times, as they hang on
// different servers.
type split struct {
	seq    [Shards]uint64
	shards [Shards]uint64 // offsets
	epochs history.Epoch
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
	m.Stamp.Epoch, m.Stamp.Offset, m.Stamp.Prev = 7+p.epochs, *last, *last-1
}

// anew has the sequence begin with nothing.
func (p *split) anew() { p.epochs, p.shards = p.epochs+1, [Shards]uint64{} }

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

// TestAnHeirThatHasTheRest asks for nothing: its journal has what follows.
func TestAnHeirThatHasTheRest(t *testing.T) {
	b, a := &testBus{}, &asked{}
	w1, _ := newRecalling()
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	_ = c.id()
	p := &split{}
	p.numbered("1")
	p.numbered("2")
	s1.on(func() { w1.loop.conns.all[0].Join("room") })
	p.to(s1, 1)
	c.want("1")
	w2, _ := newRecalling()
	s2 := launch(t, w2, b, s1)
	s2.askedOn(a)
	p.to(s2, 2)
	s2.eventually("the heir has it", func() bool { return len(w2.loop.recall.chains) == 1 })
	s1.moveTo(s2)
	c.want("2")
	s2.on(func() {
		if len(w2.loop.recall.of) != 0 {
			t.Error("it joins again")
		}
	})
}

// TestAnHeirOfAQuietShard goes on where the old worker stood, also if it has heard other
// shards of the app: what comes next shows that something is missing.
func TestAnHeirOfAQuietShard(t *testing.T) {
	b, a := &testBus{}, &asked{}
	w1, _ := newRecalling()
	s1 := launch(t, w1, b, nil)
	c := connect(t, s1.addrs[0], "/")
	_ = c.id()
	p := &split{}
	for i := range 3 {
		p.numbered(fmt.Sprint(i + 1))
	}
	s1.on(func() { w1.loop.conns.all[0].Join("room") })
	p.to(s1, 1)
	c.want("1")
	w2, _ := newRecalling()
	s2 := launch(t, w2, b, s1)
	s2.askedOn(a)
	s2.on(func() { w2.loop.followed("", Shard(ScopeChannel, "room")^1, 7, 0, 1) })
	s1.moveTo(s2)
	p.to(s2, 3)
	if wants := a.take(s2); len(wants) != 1 || wants[0].After != (history.Position{Epoch: 7, Offset: 1}) {
		t.Errorf("asked %+v", wants)
	}
}

// TestAnHeirInAnotherEpoch: the sequence of an app has begun anew, and one of the two
// processes has heard of it. Which one is the later only the service knows: those that
// move ask from where they stood, be it answered or told.
func TestAnHeirInAnotherEpoch(t *testing.T) {
	for _, which := range []string{"the heir knows the new one", "the old one knows it", "the old one hears of it between two batches"} {
		t.Run(which, func(t *testing.T) {
			b, a := &testBus{}, &asked{}
			w1, _ := newRecalling()
			s1 := launch(t, w1, b, nil)
			c := connect(t, s1.addrs[0], "/")
			_ = c.id()
			p := &split{}
			p.numbered("1")
			p.anew()
			p.numbered("2")
			p.numbered("3")
			p.anew()
			p.numbered("4")
			at := func(s *server, epoch history.Epoch) {
				s.eventually("it has heard it", func() bool { ch := s.w.loop.recall.chains[""]; return ch != nil && ch.epoch == epoch })
			}
			s1.on(func() { w1.loop.conns.all[0].Join("room") })
			p.to(s1, 1)
			c.want("1")
			w2, _ := newRecalling()
			s2 := launch(t, w2, b, s1)
			s2.askedOn(a)
			stood := history.Position{Epoch: 8, Offset: 1}
			switch which {
			case "the heir knows the new one":
				stood = history.Position{Epoch: 7, Offset: 1}
				p.to(s2, 3)
				at(s2, 8)
			case "the old one knows it":
				p.to(s2, 1)
				at(s2, 7)
				p.to(s1, 2)
				at(s1, 8)
			default:
				p.to(s2, 4)
				at(s2, 9)
			}
			x := newExport(w1.loop, nil)
			must(t, x.start())
			s1.on(func() { x.freeze(0) })
			if which == "the old one hears of it between two batches" {
				p.to(s1, 2)
				at(s1, 8)
			}
			var s *shipment
			m := &imports{l: w2.loop}
			s1.on(func() {
				for c := range w1.loop.recall.of { // what it asks for itself is another matter
					delete(w1.loop.recall.of, c)
				}
				x.freeze(1)
				body, fds, err := x.pack()
				must(t, err)
				s, err = m.read(handover.Parcel{Body: body, Files: fds})
				must(t, err)
			})
			must(t, x.release())
			m.landed = make(chan struct{})
			s2.on(func() { m.admit(s) })
			<-m.landed
			if wants := a.take(s2); len(wants) != 1 || wants[0].After != stood {
				t.Errorf("asked %+v, want %v", wants, stood)
			}
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
