// Package sequencer is the service that numbers the messages of channels with
// history, keeps the last of them, and publishes them. Whoever publishes into
// such a channel tells it, so that a channel has one publisher, and what one
// publisher sends to one shard arrives in order.
//
// Who joins such a channel asks it too. The answer is a publication for the
// connections that want the same, in the order of the channel's messages: they
// join there. What was numbered before is in the answer, what comes after
// follows it, and nothing is in between.
package sequencer

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
)

func init() {
	worker.RegisterService(worker.HistoryService, func() worker.Service { return &Sequencer{} })
}

// Sequencer is the service. All of it belongs to the service's goroutine.
type Sequencer struct {
	env     *worker.ServiceEnv
	o       options
	store   store
	rings   *history.Store
	shards  shards
	joins   joins
	moments moments // of the newest events of cache channels
	stall   stall
	mates   *mates // nil = there are none, or none is needed
	served  bool   // the roster has come
	sweeps  int
	counts  counts
	clock   clock
}

// shards are by app the newest offset in each.
type shards map[string]*[worker.Shards]uint64

func (a shards) of(app string) *[worker.Shards]uint64 {
	all := a[app]
	if all == nil {
		all = new([worker.Shards]uint64)
		a[app] = all
	}
	return all
}

func (a shards) clone() shards {
	b := make(shards, len(a))
	for app, all := range a {
		b[app] = new(*all)
	}
	return b
}

// counts are for the metrics.
type counts struct {
	recoveries           [history.Reasons]uint64 // connections that came with a position, by what they were told
	repeated, outdated   uint64                  // publishes
	keysEarly, versEarly uint64
}

// options are those of the service: the table [history].
type options struct {
	Memory   int    `json:"memory"`
	Store    string `json:"store"`
	Replicas int    `json:"replicas"` // of the store "jetstream"
}

// defaultMemory is for programs without a config.
const defaultMemory = 256 << 20

// read takes the first options that there are: a config goes before what a
// program declares.
func read(list []worker.Options) (o options, err error) {
	o = options{defaultMemory, storeMemory, 3}
	if len(list) > 0 {
		err = list[0].Decode(&o)
	}
	if err == nil && (o.Memory <= 0 || !slices.Contains([]string{storeMemory, storeDisk, storeJetStream}, o.Store)) {
		err = fmt.Errorf("memory = %d, store = %q", o.Memory, o.Store)
	}
	if err != nil {
		return o, fmt.Errorf("history: %w", err)
	}
	return o, nil
}

// Check implements worker.CheckedService.
func (*Sequencer) Check(list []worker.Options) error {
	_, err := read(list)
	return err
}

// Start implements worker.Service.
func (s *Sequencer) Start(env *worker.ServiceEnv) error {
	o, err := read(env.Options)
	if err != nil {
		return err
	}
	s.env, s.o = env, o
	s.shards, s.moments = shards{}, moments{}
	s.joins.by = map[string][]history.Want{}
	s.store = s.newStore(o.Store)
	s.mates = s.newMates()
	if err := s.store.open(o); err != nil {
		return err
	}
	s.rings.SetBack(env.Now().UnixMilli())
	s.rings.Now("") // each sequence has an epoch from the beginning
	for app := range env.Apps {
		s.rings.Now(app)
	}
	if env.Channels.Ordered() != nil {
		env.After(sweepPause, s.sweep)
	}
	return nil
}

// newRings makes empty ones, with the epochs that draw says.
func (s *Sequencer) newRings(draw func(app string) history.Epoch) *history.Store {
	return history.New(history.Options{Memory: s.o.Memory, Keep: keeping(s.env.Channels), Draw: draw})
}

// drawn is an epoch that there was never before.
func drawn(string) history.Epoch { return history.Draw(rand.Uint64()) }

// remember takes from the rings where each shard stands.
func (s *Sequencer) remember() {
	s.rings.Each(func(app, name string, last uint64) {
		at := &s.shardsOf(app)[worker.Shard(worker.ScopeChannel, name)]
		*at = max(*at, last)
	})
}

// keeping says what is kept, by the rules.
func keeping(rules channel.Rules) func(string) history.Keep {
	return func(name string) history.Keep {
		p := rules.Of(name)
		return history.Keep{Messages: p.History, Age: p.Age, Latest: p.Mode == channel.Latest}
	}
}

// Stop implements worker.Service.
func (s *Sequencer) Stop() {
	if s.mates != nil {
		s.mates.begin()
	}
	s.joins.flush(s, 1<<30)
	s.store.leave()
}

// now is the time in messages.
func (s *Sequencer) now() int64 {
	now := s.env.Now()
	back := s.clock.look(now)
	s.rings.Behind = s.clock.behind.Milliseconds()
	if back {
		s.rings.SetBack(now.UnixMilli())
	}
	return now.UnixMilli()
}

// Order implements worker.OrderingService: it numbers a message, keeps it, and
// publishes it.
func (s *Sequencer) Order(p *worker.Publication) {
	s.store.ready()
	if s.env.Channels.HasHistory(p.Target) {
		s.store.add(p)
	} else {
		s.number(p) // it came for its key or version alone
	}
}

// number gives a message its place in the rings of this process and publishes it.
func (s *Sequencer) number(p *worker.Publication) {
	app, now := s.env.Apps.Of(p.Target), s.now()
	if s.known(app, p, now) {
		return
	}
	out := worker.Publication{Kind: p.Kind, Scope: p.Scope, Target: p.Target, Binary: p.Binary, Except: p.Except, Data: p.Data, Reply: p.Reply}
	if p.Code == worker.CodeNumberOnly {
		out.Reply = ""
	}
	var at history.Position
	kept := s.env.Channels.HasHistory(p.Target)
	when, late := s.dated(p, now)
	switch {
	case kept && late: // its members get it all the same
		at = s.rings.Now(app)
	case kept:
		out.Stamp = s.stamp(app, p, when)
		at = out.Stamp.Position
	}
	if o := p.Order; o != nil && o.Key != "" {
		s.counts.keysEarly += uint64(s.rings.Remember(app, p.Target, o.Key, at, now))
		s.store.note(func(b []byte) []byte { return history.AppendKey(b, app, p.Target, o.Key, at, now) })
	}
	s.answer(p, worker.Numbered{Position: at})
	if !kept {
		s.warn(out.Target, s.env.PublishAll(out))
		return
	}
	s.publish(out)
}

// known answers a publish that is not to be made: it was, or is out of date.
func (s *Sequencer) known(app string, p *worker.Publication, now int64) bool {
	o := p.Order
	if o == nil {
		return false
	}
	if o.Key != "" {
		if at, ok := s.rings.Known(app, p.Target, o.Key, now); ok {
			s.counts.repeated++
			s.answer(p, worker.Numbered{Position: at, Repeated: true})
			return true
		}
	}
	if o.Version != 0 {
		newer, early := s.rings.Newer(app, p.Target, o.Version)
		s.counts.versEarly += uint64(early)
		if !newer {
			s.counts.outdated++
			s.answer(p, worker.Numbered{Outdated: true})
			return true
		}
		s.store.note(func(b []byte) []byte { return history.AppendVersion(b, app, p.Target, o.Version) })
	}
	return false
}

func (s *Sequencer) stamp(app string, p *worker.Publication, now int64) *worker.Stamp {
	kind := history.Text
	if p.Binary {
		kind = history.Binary
	}
	last := &s.shardsOf(app)[worker.Shard(p.Scope, p.Target)]
	st := &worker.Stamp{Stamp: s.rings.Append(app, p.Target, kind, p.Data, now), Before: *last}
	*last = st.Offset
	s.store.note(func(b []byte) []byte { return history.AppendMessage(b, app, p.Target, st.Stamp, kind, p.Data, now) })
	return st
}

func (s *Sequencer) shardsOf(app string) *[worker.Shards]uint64 { return s.shards.of(app) }

// answer tells the publisher, ahead of the message, what became of it.
func (s *Sequencer) answer(p *worker.Publication, n worker.Numbered) {
	if p.Reply == "" {
		return
	}
	if raw, err := json.Marshal(n); err == nil {
		s.env.Answer(p.Reply, raw)
	}
}

// publish logs what cannot be published: it is too large, or the end is near.
func (s *Sequencer) publish(ps ...worker.Publication) {
	s.warn(ps[0].Target, s.env.Publish(ps...))
}

// warn tells of a publication that is given up.
func (s *Sequencer) warn(channel string, err error) {
	if err != nil {
		s.env.Log.Warn("message that was to be numbered given up", "channel", channel, "error", err)
	}
}

// Tell implements worker.Service: workers tell who wants to join.
func (s *Sequencer) Tell(from string, data []byte) {
	if err := history.EachWant(data, func(w history.Want) {
		switch {
		case w.Conn == "":
			s.store.stray(w.Channel)
		case !s.store.early(w):
			s.joins.add(s, w)
		}
	}); err != nil {
		s.env.Log.Warn("word of a worker ignored", "worker", from, "error", err)
	}
}

// Roster implements worker.Service. Workers that have come back to a bus that
// was away learn from the stands what they have missed.
func (s *Sequencer) Roster([]string) {
	s.store.ready()
	s.stand()
	if !s.served {
		s.served = true
		for _, wait := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
			s.env.After(wait, s.stand)
		}
	}
}

// stand tells all where the sequences are.
func (s *Sequencer) stand() {
	if s.env.Channels.Ordered() == nil || s.store.begins() {
		return
	}
	if s.store.away() {
		s.publish(worker.Publication{Kind: worker.KindStand, Scope: worker.ScopeList, Data: history.AppendStand(nil, &history.Stand{})})
		return
	}
	s.standsAt(s.shards, func(app string) uint64 { return s.rings.Now(app).Offset })
}

// standsAt tells all that the sequences are there.
func (s *Sequencer) standsAt(at shards, offset func(app string) uint64) {
	var list []byte
	send := func() {
		s.publish(worker.Publication{Kind: worker.KindStand, Scope: worker.ScopeList, Data: list})
		list = nil
	}
	add := func(app string) {
		st := history.Stand{App: app, Epoch: s.rings.Now(app).Epoch, Shards: map[uint8]uint64{}, Offset: offset(app)}
		for shard, offset := range at.of(app) {
			if offset > 0 {
				st.Shards[uint8(shard)] = offset
			}
		}
		if list = history.AppendStand(list, &st); len(list) > standBytes {
			send()
		}
	}
	add("")
	for app := range s.env.Apps {
		add(app)
	}
	send()
}

// standBytes is about the length of a list of stands.
const standBytes = 256 << 10

// standSweeps is how many sweeps there are to a stand: the workers' places are to be
// younger than anything that has grown too old.
func (s *Sequencer) standSweeps() int {
	age := s.env.Channels.MinAge()
	if age == 0 {
		return math.MaxInt
	}
	return int(age / (4 * sweepPause))
}

const (
	sweepPause = time.Second
	sweepRound = 30 // of them go through all channels
)

// sweep forgets what is too old, some channels at a time.
func (s *Sequencer) sweep() {
	now := s.env.Now()
	s.moments.forget(now, s.stall.look(now))
	s.rings.Sweep(s.rings.Places()/sweepRound+64, s.now())
	if s.sweeps++; s.sweeps >= s.standSweeps() {
		s.sweeps = 0
		s.stand()
	}
	s.env.After(sweepPause, s.sweep)
}
