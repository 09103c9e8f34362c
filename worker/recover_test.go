package worker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/reactor"
)

// recalling joins what its clients name, from a position.
type recalling struct {
	seen  []string
	made  int // messages with a position
	plain bool
}

func (h *recalling) OnConnect(c *Conn) {
	c.SetPositions(!h.plain && c.RawQuery() == "positions")
	_ = c.SendText(c.ID())
}

func (h *recalling) OnMessage(c *Conn, m Message) {
	name, offset, _ := strings.Cut(m.String(), " ")
	var n uint64
	_, _ = fmt.Sscan(offset, &n)
	c.Join(name, After(history.Position{Epoch: 7, Offset: n}))
}

func (h *recalling) OnRecovery(c *Conn, r *Recovery) {
	h.seen = append(h.seen, fmt.Sprint(r.Channel, " ", r.Position, " ", r.Count, " ", r.Reason, " ", r.Again))
	if r.Count > 0 {
		_ = c.SendText("before")
		r.Send()
	}
	_ = c.SendText("joined")
}

func (h *recalling) OnPosition(p *Published) Message {
	h.made++
	return Text(fmt.Sprint(p.Channel, " ", p.Position, " ", p.Prev, " ", p.Message))
}

// asked is a bus to the history service, which does not answer by itself.
type asked struct {
	bus.NoServices
	mu    sync.Mutex
	wants []history.Want
}

func (a *asked) Tell(service, _ string, data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if service != HistoryService {
		return ErrNoServices
	}
	return history.EachWant(slices.Clone(data), func(w history.Want) { a.wants = append(a.wants, w) })
}

// take returns what was asked, once there is something.
func (a *asked) take(s *server) (wants []history.Want) {
	s.t.Helper()
	s.eventually("the service is asked", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		wants, a.wants = a.wants, nil
		return len(wants) > 0
	})
	return wants
}

// play is what the tests publish as the service.
type play struct {
	publish func(...Publication)
	store   *history.Store
	shards  [Shards]uint64
}

func newPlay(b *testBus) *play {
	return &play{publish: b.service(), store: history.New(history.Options{
		Memory: 1 << 20, Keep: func(string) history.Keep { return history.Keep{Messages: 10} },
		Draw: func(string) history.Epoch { return 7 },
	})}
}

// number makes a message of a channel with history; whoever does not publish it
// has lost it.
func (p *play) number(name, text string) Publication {
	last := &p.shards[Shard(ScopeChannel, name)]
	st := &Stamp{Stamp: p.store.Append("", name, history.Text, []byte(text), 1), Before: *last}
	*last = st.Offset
	return Publication{Kind: KindMessage, Scope: ScopeChannel, Target: name, Data: []byte(text), Stamp: st}
}

// answer is what the service says to those who want the same.
func (p *play) answer(wants ...history.Want) Publication {
	w := wants[0]
	a := p.store.From("", w.Channel, w.After, w.Room, 1)
	out := Publication{Kind: KindRecovery, Scope: ScopeList, Target: w.Channel}
	for _, w := range wants {
		out.Conns = append(out.Conns, w.Conn)
	}
	w.Conn, w.Channel = "", ""
	out.Data = history.AppendReply(nil, &w, &a, p.shards[Shard(ScopeChannel, out.Target)])
	return out
}

func newRecalling() (*Worker, *recalling) {
	w, h := New(anyWS), &recalling{}
	w.Routes = []Route{{Pattern: "/", Handler: h}}
	w.ChannelRules = channel.Rules{{Match: "room*", History: new(10)}}
	return w, h
}

// launchAsked starts w beside a history service that answers when the test says so.
func launchAsked(t *testing.T, w *Worker) (*server, *asked, *play) {
	t.Helper()
	b, a := &testBus{}, &asked{}
	s := launch(t, w, b, nil)
	s.askedOn(a)
	return s, a, newPlay(b)
}

func (s *server) askedOn(a *asked) { s.on(func() { s.w.loop.broker.Services = a }) }

func TestJoinTakesItsPlaceInTheStream(t *testing.T) {
	w, h := newRecalling()
	s, a, p := launchAsked(t, w)
	one, two := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/?positions")
	_, _ = one.id(), two.id()
	p.publish(p.number("room", "a"))
	one.text("room 0")
	two.text("room 0")
	var wants []history.Want
	for len(wants) < 2 {
		wants = append(wants, a.take(s)...)
	}
	p.publish(p.number("room", "b"), p.answer(wants...), p.number("room", "c"))
	for _, text := range []string{"before", "a", "b", "joined", "c"} {
		one.want(text)
	}
	for _, text := range []string{"before", "room 000007:1 0 a", "room 000007:2 1 b", "joined", "room 000007:3 2 c"} {
		two.want(text)
	}
	s.on(func() {
		if got := h.seen; len(got) != 2 || got[0] != "room 000007:2 2  false" || h.made != 3 {
			t.Errorf("%q, %d made", got, h.made)
		}
		if len(w.loop.recall.of) != 0 {
			t.Error("something waits")
		}
	})
}

// TestRecoveryIsOneWrite: what the handler says before and after the messages
// goes out with them.
func TestRecoveryIsOneWrite(t *testing.T) {
	w, _ := newRecalling()
	s, a, p := launchAsked(t, w)
	one := connect(t, s.addrs[0], "/")
	_ = one.id()
	p.publish(p.number("room", "a"), p.number("room", "b"))
	one.text("room 0")
	answer := p.answer(a.take(s)...)
	var before reactor.Calls
	s.on(func() { before = reactor.CallsSoFar() })
	p.publish(answer)
	for _, text := range []string{"before", "a", "b", "joined"} {
		one.want(text)
	}
	s.on(func() {
		if n := reactor.CallsSoFar().Since(before).Writes; n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// TestCorkKnowsWhatIsKept: a message of a history that is corked and then finds a
// full socket waits as one that must not be dropped.
func TestCorkKnowsWhatIsKept(t *testing.T) {
	w, _ := newRecalling()
	s := launch(t, w, &testBus{}, nil)
	one := connect(t, s.addrs[0], "/")
	_ = one.id()
	s.on(func() {
		c, junk := w.loop.conns.all[0], make([]byte, 1<<20)
		for n := len(junk); n == len(junk); {
			n, _ = c.sock.Write(junk)
		}
		kept := mark{"room", SlowClose, true}
		w.loop.holdFor(c)
		_ = c.SendText("before")
		w.loop.share(c, []byte("frame"), kept)
		w.loop.uncork()
		if n := len(c.out.frames); n != 2 || c.out.mark(0) != (mark{}) || c.out.mark(1) != kept {
			t.Errorf("%d frames wait, as %v", n, c.out.marks)
		}
	})
}

// TestLostMessagesAreNoticed: by the next message of the shard, by a stand, and
// by a new epoch. The members get what was lost, or are told.
func TestLostMessagesAreNoticed(t *testing.T) {
	w, h := newRecalling()
	s, a, p := launchAsked(t, w)
	c := connect(t, s.addrs[0], "/")
	_ = c.id()
	c.text("room 0")
	p.publish(p.answer(a.take(s)...))
	c.want("joined")
	p.publish(p.number("room", "a"))
	c.want("a")
	p.number("room", "lost")
	p.publish(p.number("room", "b")) // by this
	wants := a.take(s)
	if len(wants) != 1 || wants[0].After != (history.Position{Epoch: 7, Offset: 1}) {
		t.Fatalf("asked %+v", wants)
	}
	p.publish(p.answer(wants...))
	for _, text := range []string{"before", "lost", "b", "joined"} {
		c.want(text)
	}
	p.number("room", "tail")
	stand := func(epoch history.Epoch, shard uint8, offset uint64) Publication {
		return Publication{Kind: KindStand, Scope: ScopeList, Data: history.AppendStand(nil, &history.Stand{Epoch: epoch, Shards: map[uint8]uint64{shard: offset}})}
	}
	shard := Shard(ScopeChannel, "room")
	p.publish(stand(7, shard, 3), stand(7, (shard+1)%Shards, 9), stand(7, shard, 4))
	p.publish(p.answer(a.take(s)...))
	for _, text := range []string{"before", "tail", "joined"} {
		c.want(text)
	}
	quiet := Publication{Kind: KindStand, Scope: ScopeList, Data: history.AppendStand(nil, &history.Stand{Epoch: 7, Shards: map[uint8]uint64{shard: 4}, Offset: 20})}
	p.publish(quiet, stand(7, shard, 21)) // what it had last may be too old to be gone back to
	wants = a.take(s)
	if wants[0].After != (history.Position{Epoch: 7, Offset: 20}) {
		t.Errorf("asked %+v", wants)
	}
	p.publish(p.answer(wants...))
	c.want("joined")
	p.publish(stand(7, shard, 21), stand(8, shard, 1))
	wants = a.take(s)
	if wants[0].After != (history.Position{Epoch: 7, Offset: 21}) {
		t.Errorf("asked %+v", wants)
	}
	s.on(func() {
		if want := []string{"room 000007:0 0  false", "room 000007:3 2  true", "room 000007:4 1  true", "room 000007:4 0 future true"}; !slices.Equal(h.seen, want) {
			t.Errorf("%q, want %q", h.seen, want)
		}
	})
}

// TestJoinsAreAskedForInTurn: eight at a time, a large one alone, and none while
// much waits for the client.
func TestJoinsAreAskedForInTurn(t *testing.T) {
	w, _ := newRecalling()
	w.Limits.MaxQueue = 1 << 20
	s, a, p := launchAsked(t, w)
	c := connect(t, s.addrs[0], "/")
	_ = c.id()
	p.number("room0", strings.Repeat("x", 40<<10))
	s.on(func() {
		for i := range 10 {
			w.loop.conns.all[0].Join(fmt.Sprint("room", i), After(history.Position{Epoch: 7}))
		}
	})
	wants := a.take(s)
	if len(wants) != joinBatch || wants[0].Room != 32<<10 {
		t.Fatalf("asked %+v", wants)
	}
	p.publish(p.answer(wants[0])) // too large to come beside others
	for _, w := range wants[1:] {
		p.publish(p.answer(w))
		c.want("joined")
	}
	if wants = a.take(s); len(wants) != 1 || wants[0].Channel != "room0" || wants[0].Room != 256<<10 {
		t.Fatalf("asked %+v", wants)
	}
	p.publish(p.answer(wants[0]))
	c.want("before")
	c.want(strings.Repeat("x", 40<<10))
	c.want("joined")
	if wants = a.take(s); len(wants) != 2 || wants[1].Channel != "room9" {
		t.Fatalf("asked %+v", wants)
	}
}

// TestJoinsThatWaitMove: the process that a connection moves to asks again, and
// an answer that is old when it comes is none.
func TestJoinsThatWaitMove(t *testing.T) {
	w1, _ := newRecalling()
	b, a := &testBus{}, &asked{}
	s1 := launch(t, w1, b, nil)
	s1.askedOn(a)
	p := newPlay(b)
	c, quiet := connect(t, s1.addrs[0], "/?positions"), connect(t, s1.addrs[0], "/")
	_, _ = c.id(), quiet.id()
	p.publish(p.number("room", "a"), p.number("room", "b"))
	c.text("room 0")
	old := a.take(s1)
	c.text("room 1") // in place of it
	a.take(s1)
	w2, h2 := newRecalling()
	s2, report := s1.replace(w2, b)
	if report.Moved != 2 {
		t.Fatalf("%+v", report)
	}
	s2.on(func() {
		if n := len(w2.loop.recall.of); n != 1 {
			t.Errorf("%d connections wait", n)
		}
		for _, c := range w2.loop.conns.all {
			if want := map[bool]byte{true: 3, false: 1}[c.Positions()]; c.recordVersion() != want || c.Joining("room") != c.Positions() {
				t.Errorf("record of version %d, want %d", c.recordVersion(), want)
			}
		}
	})
	s2.askedOn(a)
	s2.on(func() {
		for c := range w2.loop.recall.of { // the harness has had no bus for the question
			w2.loop.recall.of[c][0].asked = 0
			w2.loop.askFor(c)
		}
	})
	p.publish(p.answer(old...), p.answer(a.take(s2)...))
	for _, text := range []string{"before", "room 000007:2 0 b", "joined"} {
		c.want(text)
	}
	s2.on(func() {
		if len(h2.seen) != 1 {
			t.Errorf("%q", h2.seen)
		}
	})
}

// TestHistoryIsNotDropped: whatever the group does with slow clients, one is
// closed rather than that a message of a stream is missing.
func TestHistoryIsNotDropped(t *testing.T) {
	for _, slow := range []Slow{SlowDropOldest, SlowLatest} {
		w := New(anyWS)
		w.Slow = slow
		w.ChannelRules = channel.Rules{{Match: "chat", History: new(10)}, {Match: "log", Mode: channel.Latest, History: new(1)}}
		x := newStuck(t, w)
		p := newPlay(x.bus)
		x.say("price.x", strings.Repeat("a", stuckRoom/2))
		p.publish(p.number("chat", "kept"))
		x.say("price.y", strings.Repeat("b", stuckRoom))
		x.eventually("it is closed", func() bool {
			c := w.loop.conns.all
			return len(c) == 0 || !c[0].open()
		})
	}
}

func FuzzJoining(f *testing.F) {
	f.Add([]byte{7, 1, 0, 0, 'r'})
	f.Fuzz(func(t *testing.T, v []byte) {
		var a arrival
		if err := a.waits(v); err == nil && (len(a.joining) != 1 || a.joining[0].channel == "") {
			t.Errorf("%+v", a.joining)
		}
	})
}

// TestMemberThatRecovers: he stays one and hears what is not of the history; its
// messages come with the answer, once. Who wants to know no more than where he is
// needs nobody to tell him.
func TestMemberThatRecovers(t *testing.T) {
	w, h := newRecalling()
	s, a, p := launchAsked(t, w)
	c := connect(t, s.addrs[0], "/")
	_ = c.id()
	member := func(fn func(c *Conn)) { s.on(func() { fn(w.loop.conns.all[0]) }) }
	member(func(c *Conn) {
		c.Join("room", JoinOption{})
		if c.InChannel("room") || !c.Joining("room") {
			t.Error("it knows where it is before anybody has said so")
		}
		c.Join("room")
	})
	p.publish(p.number("room", "a"))
	c.want("a")
	member(func(c *Conn) { c.Join("room", JoinOption{}) }) // now it is known
	c.want("joined")
	member(func(c *Conn) { c.Join("room", After(history.Position{Epoch: 7})) })
	wants := a.take(s)
	for len(wants) > 1 || wants[0].After == (history.Position{}) {
		wants = a.take(s) // what was asked first
	}
	news := Publication{Kind: KindMessages, Scope: ScopeChannel, Target: "room", Data: AppendMessage(nil, []byte("ann has come"))}
	counted := p.number("room", "b")
	counted.Reply = "reply"
	p.publish(counted, news, p.answer(wants...), p.number("room", "c"))
	for _, text := range []string{"ann has come", "before", "a", "b", "joined", "c"} {
		c.want(text)
	}
	if a := <-s.broker.answers; a.Reached != 1 { // who gets it with the answer has it too
		t.Errorf("b has reached %d", a.Reached)
	}
	s.on(func() {
		if want := []string{"room 000007:1 0  false", "room 000007:2 2  false"}; !slices.Equal(h.seen, want) {
			t.Errorf("%q, want %q", h.seen, want)
		}
	})
}

// TestPlaceIsKnown: with the first word of the history who waits to be told where he is
// joins there, and hears what follows; nobody has to answer him.
func TestPlaceIsKnown(t *testing.T) {
	for _, v := range []struct {
		name  string
		word  func(p *play) Publication
		place string
		more  []string
	}{
		{"message", func(p *play) Publication { return p.number("room", "c") }, "000007:2", []string{"c"}},
		{"stand", func(*play) Publication {
			at := history.Stand{Epoch: 7, Shards: map[uint8]uint64{Shard(ScopeChannel, "room"): 1}, Offset: 2}
			return Publication{Kind: KindStand, Scope: ScopeList, Data: history.AppendStand(nil, &at)}
		}, "000007:2", nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			w, h := newRecalling()
			s, a, p := launchAsked(t, w)
			c := connect(t, s.addrs[0], "/")
			_ = c.id()
			s.on(func() { w.loop.conns.all[0].Join("room", JoinOption{}) })
			a.take(s)
			p.number("room", "a")
			p.number("room1", "b")
			p.publish(v.word(p), p.number("room", "last"))
			for _, text := range append(append([]string{"joined"}, v.more...), "last") {
				c.want(text)
			}
			s.on(func() {
				if want := []string{"room " + v.place + " 0  false"}; !slices.Equal(h.seen, want) {
					t.Errorf("%q, want %q", h.seen, want)
				}
			})
		})
	}
}

// TestANewServiceIsAskedAnew: what its predecessor was asked has gone with that.
func TestANewServiceIsAskedAnew(t *testing.T) {
	w, _ := newRecalling()
	b, a := &testBus{}, &asked{}
	s := launch(t, w, b, nil)
	s.askedOn(a)
	c := connect(t, s.addrs[0], "/")
	id := c.id()
	c.text("room 0")
	for n := range 3 {
		if wants := a.take(s); len(wants) != 1 || wants[0].Channel != "room" {
			t.Fatalf("asked %+v", wants)
		}
		next := newPlay(b)
		stand := Publication{Kind: KindStand, Scope: ScopeList, Data: history.AppendStand(nil, &history.Stand{Epoch: 7})}
		text := Publication{Kind: KindMessage, Scope: ScopeConn, Target: id, Data: fmt.Append(nil, n)}
		next.publish(stand, text, stand) // the second one is no news
		c.want(fmt.Sprint(n))
		s.on(func() {})
		s.on(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if len(a.wants) != 1 {
				t.Errorf("service %d was asked %d times", n, len(a.wants))
			}
		})
	}
}

// TestTheNewestComesLater: who wants the newest message while nobody knows which that is
// has joined all the same, and gets it when somebody does.
func TestTheNewestComesLater(t *testing.T) {
	w, h := newRecalling()
	w.ChannelRules = append(channel.Rules{{Match: "room1", Mode: channel.Latest}}, w.ChannelRules...)
	s, a, p := launchAsked(t, w)
	c := connect(t, s.addrs[0], "/")
	_ = c.id()
	join := func(name string) { s.on(func() { w.loop.conns.all[0].Join(name, Last(1)) }) }
	join("room1") // before it is known that it is away
	a.take(s)
	p.publish(Publication{Kind: KindStand, Scope: ScopeList, Data: history.AppendStand(nil, &history.Stand{})})
	c.want("joined")
	join("room1") // and behind that
	c.want("joined")
	join("room2") // what it missed would be missing
	p.publish(Publication{Kind: KindMessages, Scope: ScopeChannel, Target: "room1", Data: AppendMessage(nil, []byte("there"))})
	c.want("there")
	p.number("room1", "newest")
	want := history.Want{Conn: "", Channel: "room1", Last: 1, Room: 32 << 10}
	s.on(func() { want.Conn = w.loop.conns.all[0].ID() })
	answer := p.answer(want)
	at := p.store.Last("", "room1", 1, want.Room, 1)
	w2 := want
	w2.Conn, w2.Channel = "", ""
	answer.Data = history.AppendReply(nil, &w2, &at, p.shards[Shard(ScopeChannel, "room1")])
	p.publish(answer)
	for _, text := range []string{"before", "newest", "joined"} {
		c.want(text)
	}
	s.on(func() {
		if want := []string{"room1  0  false", "room1  0  false", "room1 000007:1 1  true"}; !slices.Equal(h.seen, want) {
			t.Errorf("%q, want %q", h.seen, want)
		}
	})
}
