package sequencer

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/nodes"
)

// Where several nodes share no log, each message of a cache channel goes to the
// sequencers of all, and each keeps the last one. What a node has not got, since it was
// not there or was cut off, it asks the others for: all that they have when it begins,
// then what has come to them since it was last known to be whole. Of what both have the
// later one stays, by the time at which it was published, so all come to have the same.
// Nobody is asked who does not say that he answers, as an earlier version does not.

// mates are the sequencers of the other nodes.
type mates struct {
	s     *Sequencer
	by    map[string]*mate
	met   bool           // the nodes have been named
	began bool           // who joins waits no more for what they have
	news  bool           // something was taken of which the workers do not know
	wants []history.Want // who waits
	reads []func()       // what waits
}

// mate is the one of a node.
type mate struct {
	name   string
	ready  bool
	speaks bool      // it answers
	heard  bool      // it is not only known by the process before
	whole  bool      // what it has is here
	since  time.Time // else: from when on what has come to it may not be here; zero = anything
	asked  time.Time // last
	tries  int       // since it was whole
	id     uint64    // of the question under way
	part   int       // of its answer: the last that has come
	shift  int64     // ms from its clock to ours, in that answer
	told   uint64    // the question of its own that is being answered
}

// mateWord is what they tell each other. What is kept follows it, behind a line's end.
type mateWord struct {
	ID  uint64 `json:"id"`          // of the question
	Now int64  `json:"now"`         // ms, by the clock of who speaks
	Ask bool   `json:"a,omitempty"` // a question: for what has come …
	Age int64  `json:"s,omitempty"` // … in so many ms; 0 = ever

	Part int  `json:"p,omitempty"` // of an answer, from 1
	Last bool `json:"l,omitempty"` // it is the last
	More bool `json:"m,omitempty"` // and there are older ones, which are not told
}

const (
	mateWait  = time.Second     // for an answer, and for so long who joins waits for those of a beginning
	mateTries = 5               // questions without an answer
	mateDoubt = 5 * time.Second // for how long a node may have been cut off before anybody says so
	mateSays  = "1"             // in the signs of life

	// mateForget is how long it is known when a node was here last. One that comes back
	// later is asked for all.
	mateForget = time.Hour
)

// newMates returns those of this node, nil if it needs none.
func (s *Sequencer) newMates() *mates {
	shares := s.o.Store == storeJetStream
	if s.env.Node == "" || shares || s.env.Channels.Ordered() == nil {
		return nil
	}
	_ = s.env.Say([]byte(mateSays)) // it is short
	m := &mates{s: s, by: map[string]*mate{}}
	s.env.After(mateWait, m.begin)
	return m
}

// Nodes implements worker.PeerService.
func (s *Sequencer) Nodes(others []nodes.Node) {
	if s.mates != nil {
		s.mates.nodes(others)
	}
}

// Rejoined implements worker.RejoinedService.
func (s *Sequencer) Rejoined(away time.Duration) {
	if s.mates != nil {
		s.mates.doubtAll(away)
	}
}

// Peer implements worker.PeerService.
func (s *Sequencer) Peer(node string, data []byte) {
	if s.mates == nil {
		return
	}
	head, list, ok := bytes.Cut(data, []byte{'\n'})
	var w mateWord
	if err := json.Unmarshal(head, &w); err != nil || !ok {
		s.env.Log.Warn("word of another node ignored", "node", node, "error", err)
		return
	}
	if w.Ask {
		s.mates.asked(s.mates.of(node), &w)
	} else {
		s.mates.answered(s.mates.of(node), &w, list)
	}
}

func (m *mates) of(node string) *mate {
	t := m.by[node]
	if t == nil {
		t = &mate{name: node}
		m.by[node] = t
	}
	return t
}

func (m *mates) nodes(others []nodes.Node) {
	m.met = true
	there := map[string]bool{}
	for _, n := range others {
		t := m.of(n.Name)
		there[n.Name] = true
		t.ready, t.speaks = n.State == nodes.Ready, n.Words[worker.HistoryService] != nil
		t.heard = t.heard || t.ready
		if !t.ready {
			m.doubt(t, mateDoubt)
		}
		m.ask(t)
	}
	for name, t := range m.by {
		if there[name] {
			continue
		}
		t.ready = false
		if m.doubt(t, mateDoubt); m.s.env.Now().Sub(t.since) > mateForget {
			delete(m.by, name)
		}
	}
	m.look()
}

// doubt notes that what a node has got for so long may not be here.
func (m *mates) doubt(t *mate, age time.Duration) {
	t.tries, t.asked = 0, time.Time{}
	if t.whole {
		t.whole, t.since = false, m.s.env.Now().Add(-age)
	}
}

// doubtAll is for a bus that was away for so long.
func (m *mates) doubtAll(away time.Duration) {
	for _, t := range m.by {
		m.doubt(t, away+mateDoubt)
		m.ask(t)
	}
}

// ask asks a node for what is missing of it, again if there is no answer.
func (m *mates) ask(t *mate) {
	now := m.s.env.Now()
	if t.whole || !t.ready || !t.speaks || t.tries == mateTries || now.Sub(t.asked) < mateWait {
		return
	}
	t.id, t.asked, t.part = rand.Uint64(), now, 0
	t.tries++
	w := mateWord{ID: t.id, Ask: true}
	if !t.since.IsZero() {
		w.Age = max(now.Sub(t.since).Milliseconds(), 1)
	}
	_ = m.tell(t, &w, nil) // it is asked again
	m.watch(t, t.id)
}

// watch asks again when nothing comes any more.
func (m *mates) watch(t *mate, id uint64) {
	m.s.env.After(mateWait, func() {
		if m.ask(t); t.id == id && !t.whole && t.tries < mateTries {
			m.watch(t, id)
		}
	})
}

func (m *mates) tell(t *mate, w *mateWord, list []byte) error {
	w.Now = m.s.env.Now().UnixMilli()
	raw, _ := json.Marshal(w) // numbers only
	return m.s.env.TellPeer(t.name, append(append(raw, '\n'), list...))
}

// answered takes in a part of an answer.
func (m *mates) answered(t *mate, w *mateWord, list []byte) {
	if t.whole || w.ID != t.id || w.Part != t.part+1 {
		return // it is asked again
	}
	s, now := m.s, m.s.env.Now()
	if t.part = w.Part; t.part == 1 {
		t.shift = shift(t.asked.UnixMilli()-w.Now, now.UnixMilli()-w.Now)
	}
	t.asked = now
	if err := history.EachKept(list, func(k history.Kept) {
		k.Time += t.shift
		m.news = s.take(&k) || m.news
	}); err != nil {
		s.env.Log.Warn("word of another node ignored", "node", t.name, "error", err)
	}
	if w.Last {
		m.complete(t, w.More)
	}
}

func (m *mates) complete(t *mate, more bool) {
	t.whole, t.tries = true, 0
	if m.news {
		m.news = false
		m.s.stand() // so that members have it, too
	}
	if more {
		m.s.env.Log.Warn("there are more cache channels than one answer of another node may have: the last events of those where nothing has come for longest were not taken over", "node", t.name, "limit", mateChannels)
	}
	m.look()
}

// shift is what a clock is to be put forward by to be ours, of which it is known by no
// less and no more than how much. One that may be right is; else what is of that node
// is taken to be rather older.
func shift(least, most int64) int64 {
	if least <= skew.Milliseconds() && most >= -skew.Milliseconds() {
		return 0
	}
	return least
}

// take keeps the last event of a cache channel that another node has, if it is later
// than what is here.
func (s *Sequencer) take(k *history.Kept) bool {
	keep, now := keeping(s.env.Channels)(k.Channel), s.now()
	if !keep.Latest || keep.Age > 0 && k.Time+keep.Age.Milliseconds() <= now {
		return false
	}
	app, newer := s.env.Apps.Of(k.Channel), true
	own := s.rings.Last(app, k.Channel, 1, math.MaxInt, now)
	own.Each(func(is history.Message) {
		set := is.Time > now+2*skew.Milliseconds() // our clock was, back
		later := k.Time > is.Time || k.Time == is.Time && bytes.Compare(k.Data, is.Data) > 0
		newer = (later || set) && !(k.Kind == is.Kind && bytes.Equal(k.Data, is.Data))
	})
	if !newer {
		return false
	}
	s.store.ready()
	p := worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: k.Channel, Binary: k.Kind == history.Binary, Data: k.Data}
	s.stamp(app, &p, k.Time)
	s.moments[k.Channel] = moment{at: 1000 * k.Time}
	return true
}

// waits reports whether something may be missing here since this process has begun.
func (m *mates) waits() bool {
	if m == nil || m.began {
		return false
	}
	for _, t := range m.by {
		if !t.whole && (!t.heard || t.ready && t.speaks) {
			return true
		}
	}
	return !m.met
}

// look lets in who has waited, once there is nothing to wait for.
func (m *mates) look() {
	if !m.began && !m.waits() {
		m.begin()
	}
}

// begin lets in who has waited. What is not here yet comes when it does.
func (m *mates) begin() {
	wants, reads := m.wants, m.reads
	m.wants, m.reads, m.began = nil, nil, true
	for _, w := range wants {
		m.s.joins.add(m.s, w)
	}
	for _, read := range reads {
		read()
	}
}

// early keeps back who joins a channel of which the newest message may be missing.
func (m *mates) early(w history.Want) bool {
	hold := m.waits() && keeping(m.s.env.Channels)(w.Channel).Latest && len(m.wants) < maxAhead
	if hold {
		m.wants = append(m.wants, w)
	}
	return hold
}

// late runs a read when nothing may be missing.
func (m *mates) late(read func()) {
	if m.waits() {
		m.reads = append(m.reads, read)
	} else {
		read()
	}
}
