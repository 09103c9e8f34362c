package sequencer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/nodes"
)

// matesNet is two nodes without a shared log, and the ways between them.
type matesNet struct {
	t     *testing.T
	now   time.Time
	apart time.Duration // by which the clock of b is ahead
	nodes map[string]*process
	dirs  map[string]string
	words []mateMail
	sent  int
	asks  []string // questions, with their ages
	loses int      // words that are lost next
	mute  bool     // b is of an earlier version
}

type mateMail struct {
	from, to string
	data     []byte
}

const cacheX = "1:cache-x"

func newMatesNet(t *testing.T) *matesNet {
	return &matesNet{t: t, now: time.Now(), nodes: map[string]*process{}, dirs: map[string]string{"a": t.TempDir(), "b": t.TempDir()}}
}

// start starts the process of a node, or another one.
func (n *matesNet) start(name string) *process {
	n.t.Helper()
	p := beginWith(n.t, "", storeMemory, []string{"1"}, channel.CacheRules([]string{"1"})...)
	env := *p.env
	env.Node, env.DataDir = name, n.dirs[name]
	env.Now = func() time.Time {
		if name == "b" {
			return n.now.Add(n.apart)
		}
		return n.now
	}
	env.Say = func([]byte) error { return nil }
	env.TellPeer = func(to string, data []byte) error {
		if len(data) > 1<<20 {
			return worker.ErrTooLarge
		}
		n.words = append(n.words, mateMail{name, to, slices.Clone(data)})
		return nil
	}
	p.Sequencer, p.timers = &Sequencer{}, nil
	if err := p.Start(&env); err != nil {
		n.t.Fatal(err)
	}
	n.nodes[name] = p
	return p
}

// meet tells nodes what the others are.
func (n *matesNet) meet(state nodes.State, whom ...string) {
	for _, name := range whom {
		for other := range n.nodes {
			o := nodes.Node{Name: other, State: state, Epoch: 1}
			if other != "b" || !n.mute {
				o.Words = map[string][]byte{worker.HistoryService: []byte(mateSays)}
			}
			if other != name {
				n.nodes[name].Nodes([]nodes.Node{o})
			}
		}
	}
}

// run lets all words come.
func (n *matesNet) run() {
	for len(n.words) > 0 {
		w := n.words[0]
		n.words = n.words[1:]
		n.sent++
		if head, _, _ := strings.Cut(string(w.data), "\n"); strings.Contains(head, `"a":true`) {
			n.asks = append(n.asks, w.from)
		}
		if n.loses > 0 {
			n.loses--
		} else if p := n.nodes[w.to]; p != nil {
			p.Peer(w.from, w.data)
		}
	}
}

// say publishes an event, ago, which comes to some nodes.
func (n *matesNet) say(text string, ago time.Duration, to ...string) {
	at := n.now.Add(-ago)
	n.now = n.now.Add(2 * time.Millisecond)
	for _, name := range to {
		n.nodes[name].Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: cacheX,
			Publisher: 7, Seq: uint64(at.UnixMicro()), Data: []byte(text)})
	}
}

func (n *matesNet) want(what, text string) {
	n.t.Helper()
	for name, p := range n.nodes {
		if got := p.reads(cacheX, history.Position{Epoch: history.Stranger, Offset: 1}); got != text {
			n.t.Errorf("%s: %s has %q, want %q", what, name, got, text)
		}
	}
}

// bothHave starts two nodes that have one event, of some seconds ago.
func bothHave(n *matesNet) {
	n.start("a")
	n.start("b")
	n.meet(nodes.Ready, "a", "b")
	n.run()
	n.say("one", 0, "a", "b")
	for range 10 {
		n.now = n.now.Add(sweepPause)
		n.nodes["a"].tick()
		n.nodes["b"].tick()
	}
}

// TestLastEventsOfOtherNodes: whatever a node has not got it has from the others, and all
// come to have the one that was published last.
func TestLastEventsOfOtherNodes(t *testing.T) {
	for what, do := range map[string]func(n *matesNet) (want string){
		"a new node": func(n *matesNet) string {
			n.start("b")
			n.say("two", 0, "b")
			n.start("a")
			n.meet(nodes.Ready, "a", "b")
			return "two"
		},
		"one that was stopped": func(n *matesNet) string {
			bothHave(n)
			n.nodes["a"].Stop()
			n.say("two", 0, "b")
			n.start("a")
			n.meet(nodes.Ready, "a")
			return "two"
		},
		"one that has the later one": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "a")
			n.nodes["a"].Stop()
			n.start("a")
			n.meet(nodes.Quiet, "b")
			n.meet(nodes.Ready, "a", "b")
			return "two"
		},
		"a cut": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "b")
			n.meet(nodes.Quiet, "a", "b")
			n.meet(nodes.Lost, "a", "b")
			n.now = n.now.Add(time.Minute)
			n.meet(nodes.Ready, "a", "b")
			return "two"
		},
		"a cut that only the other node has seen": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "b")
			n.meet(nodes.Quiet, "b")
			n.meet(nodes.Ready, "b")
			return "two"
		},
		"a bus that was away": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "b")
			n.now = n.now.Add(time.Minute)
			n.nodes["a"].Rejoined(time.Minute)
			return "two"
		},
		"answers that are lost": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "b")
			n.nodes["a"].Rejoined(0)
			n.loses = 3 // questions and answers
			for range 3 {
				n.run()
				n.now = n.now.Add(mateWait)
				n.nodes["a"].tick()
			}
			return "two"
		},
		"a clock that is wrong, the other node's event": func(n *matesNet) string {
			n.apart = time.Hour
			bothHave(n)
			n.say("two", 0, "b")
			n.nodes["a"].Rejoined(0)
			return "two"
		},
		"a clock that is wrong, the own event": func(n *matesNet) string {
			n.apart = time.Hour
			bothHave(n)
			n.say("two", 0, "a")
			n.nodes["a"].Rejoined(0)
			n.nodes["b"].Rejoined(0)
			return "two"
		},
		"a node that stood still and hears the older event only now": func(n *matesNet) string {
			bothHave(n)
			n.say("two", 0, "b")
			n.now = n.now.Add(7 * time.Second)
			n.say("three", 0, "b")
			n.now = n.now.Add(4 * time.Second)
			n.say("two", 11*time.Second, "a")
			n.nodes["a"].Rejoined(11 * time.Second)
			return "three"
		},
		"events of one millisecond": func(n *matesNet) string {
			bothHave(n)
			n.now = n.now.Truncate(time.Millisecond)
			n.say("two", 0, "a")
			n.say("three", 2*time.Millisecond, "b")
			for _, p := range n.nodes {
				p.Rejoined(0)
			}
			return "two"
		},
	} {
		t.Run(what, func(t *testing.T) {
			n := newMatesNet(t)
			want := do(n)
			n.run()
			n.want(what, want)
			sent := n.sent
			n.meet(nodes.Ready, "a", "b")
			n.run()
			if n.sent > sent {
				t.Errorf("%d more words when all is the same", n.sent-sent)
			}
		})
	}
}

// TestMembersGetWhatWasMissed: the stands tell those who are there of it.
func TestMembersGetWhatWasMissed(t *testing.T) {
	n := newMatesNet(t)
	bothHave(n)
	a := n.nodes["a"]
	place := func() (at uint64) {
		for _, p := range a.out {
			if p.Kind == worker.KindStand {
				_ = history.EachStand(p.Data, func(s history.Stand) {
					if s.App == "1" {
						at = s.Shards[uint8(worker.Shard(worker.ScopeChannel, cacheX))]
					}
				})
			}
		}
		a.out = nil
		return at
	}
	a.stand()
	before := place()
	n.say("two", 0, "b")
	a.Rejoined(0)
	n.run()
	if after := place(); after <= before {
		t.Errorf("the workers are told of place %d, and were of %d", after, before)
	}
}

// TestWhoJoinsAtABeginningWaits: for what the other nodes have, and not for long, nor for
// one that does not answer.
func TestWhoJoinsAtABeginningWaits(t *testing.T) {
	n := newMatesNet(t)
	n.start("b")
	n.say("two", 0, "b")
	join := func(p *process) (answered bool) {
		read := false
		p.store.read(&worker.HistoryQuery{Channel: cacheX}, func([]byte, error) { read = true })
		p.Tell("w", history.AppendWant(nil, &history.Want{Conn: "c", Channel: cacheX, Last: 1, Room: 1 << 20}))
		if queued := len(p.joins.queue) > 0; queued != read {
			t.Errorf("who joins is answered: %t, who reads: %t", queued, read)
		}
		return read
	}
	a := n.start("a")
	if join(a) {
		t.Error("answered before it is known who is there")
	}
	n.meet(nodes.Ready, "a")
	if join(a) {
		t.Error("answered before the other node has")
	}
	n.run()
	if len(a.joins.by[cacheX]) != 2 || !join(a) {
		t.Error("not answered when all is known")
	}
	n.want("then", "two")

	a = n.start("a")
	n.meet(nodes.Quiet, "a")
	if join(a) {
		t.Error("answered before one that was there is heard")
	}
	a.tick()
	if !join(a) {
		t.Error("not answered in time")
	}

	n.mute = true
	a = n.start("a")
	n.meet(nodes.Ready, "a")
	if !join(a) || len(n.words) > 0 {
		t.Error("waits for a node of an earlier version")
	}
}

// TestManyLastEvents: they come in words that fit the bus; what does not is left out, and
// so are the older ones where there are very many, with a word in the log.
func TestManyLastEvents(t *testing.T) {
	defer func(was int) { memory = was }(memory)
	memory = 256 << 20
	n := newMatesNet(t)
	b := n.start("b")
	say := func(name, text string) {
		b.Order(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: name, Data: []byte(text)})
	}
	const extra = 100
	for i := range mateChannels + extra - 2 {
		if i%1000 == 0 {
			n.now = n.now.Add(time.Millisecond)
		}
		say(fmt.Sprint("1:cache-", i), "text")
	}
	n.now = n.now.Add(time.Millisecond)
	say("1:cache-large", strings.Repeat("x", 900<<10))
	say("1:cache-giant", strings.Repeat("x", 2<<20))
	a := n.start("a")
	n.meet(nodes.Ready, "a")
	largest := 0
	for more := true; more; more = len(n.words) > 0 {
		for _, w := range n.words {
			largest = max(largest, len(w.data))
		}
		n.run()
		b.tick()
	}
	if got := a.rings.Counts().Channels; got != mateChannels-1 {
		t.Errorf("%d channels are known, want %d", got, mateChannels-1)
	}
	if largest > 1<<20 || !strings.Contains(a.log.String(), "were not taken over") || !strings.Contains(b.log.String(), "not told to another node") {
		t.Errorf("a word of %d bytes; logs %q, %q", largest, a.log.String(), b.log.String())
	}
}

// TestBadMates: what is damaged does no harm.
func TestBadMates(t *testing.T) {
	n := newMatesNet(t)
	bothHave(n)
	a := n.nodes["a"]
	a.Rejoined(0)
	id := a.mates.by["b"].id
	kept := string(history.AppendKept(nil, &history.Kept{Channel: "1:cache-y", Time: n.now.UnixMilli(), Data: []byte("x")}))
	for _, w := range []string{"", "\n", "{}", "{\n", fmt.Sprintf(`{"id":%d,"p":1}`, id) + "\n" + "\xff\xff", fmt.Sprintf(`{"id":%d,"p":3}`, id) + "\n" + kept} {
		a.Peer("b", []byte(w))
	}
	n.run()
	n.want("as before", "one")
	if got := a.rings.Counts().Channels; got != 1 {
		t.Errorf("%d channels", got)
	}
}
