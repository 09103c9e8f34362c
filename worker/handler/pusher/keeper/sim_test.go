package keeper

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// simClock is what the machines of a simulation share. It moves when nothing is
// left to do.
type simClock struct {
	t      *testing.T
	rng    *rand.Rand
	now    time.Time
	timers []simTimer
	born   int
	log    []string
	sims   []*sim
	wires  []*simWire // between nodes, see mesh
}

type simTimer struct {
	at    time.Time
	n     int
	alive func() bool // who waits for it
	fire  func()
}

// sim is a machine in one goroutine: a keeper, worker processes with their
// clients, connections, and the ways between them.
type sim struct {
	*simClock
	apps   []wire.App
	keeper *Keeper // nil: dead
	procs  []*proc
	conns  []*conn
	stream []worker.Publication // on its way to the connections
	hooked []string
	loss   float64 // probability that a word is lost

	died   time.Time // the last keeper
	strict bool      // every change is seen once
	mesh   *simNode  // nil: there are no other nodes

	frozen bool     // all its processes are stopped …
	missed []func() // … and this is due when they run again
}

// proc is a worker process.
type proc struct {
	s         *sim
	from      string
	slot      int
	gen       int
	client    *Client
	words     []func() // on their way to the keeper
	turn      []func() // posted
	members   map[string]int
	busy      bool // no word is taken
	announced int  // times
	dead      bool
	retiring  bool
}

// conn is a connection with its session's view of each channel.
type conn struct {
	id   string
	proc *proc // nil: closed
	user string
	subs map[string]*sub
	got  []string // raw events of channels without presence

	signed bool // it is signed in as user, and …
	watch  []string
	sees   map[string]bool // … who of these is there, as it was told
}

type sub struct {
	in    bool            // answered …
	since time.Time       // … at this time
	view  map[string]bool // users, as the client sees them
	doubt map[string]bool // those of other nodes when the keeper was killed
}

func newSim(t *testing.T, seed int64, apps ...wire.App) *sim {
	s := newClock(t, seed).machine(apps...)
	s.startKeeper()
	return s
}

func newClock(t *testing.T, seed int64) *simClock {
	return &simClock{t: t, rng: rand.New(rand.NewSource(seed)), now: time.Unix(1e9, 0)}
}

func (c *simClock) machine(apps ...wire.App) *sim {
	if len(apps) == 0 {
		a := wire.DefaultApp()
		a.ID = "a"
		apps = []wire.App{a}
	}
	for i := range apps {
		apps[i].Key, apps[i].Secret = "key-of-"+apps[i].ID, "secret"
	}
	s := &sim{simClock: c, apps: apps, strict: true}
	c.sims = append(c.sims, s)
	return s
}

// Add, Stats and Close make it the queue of webhooks.
func (s *sim) Add(app string, events ...hook.Event) {
	for _, e := range events {
		if s.mesh != nil {
			s.mesh.mesh.hook(s.mesh, e)
		}
		s.hooked = append(s.hooked, fmt.Sprintf("%s:%s:%s:%s:%d", app, e.Name, e.Channel, e.UserID, e.SubscriptionCount))
	}
}
func (s *sim) Stats() []hook.Stats { return nil }
func (s *sim) Close() error        { return nil }

func (s *sim) startKeeper() {
	k := &Keeper{hooks: s}
	s.keeper = k
	env := &worker.ServiceEnv{
		Options: Options(s.apps), Log: slog.New(slog.DiscardHandler),
		Publish: func(ps ...worker.Publication) error {
			for _, p := range ps {
				s.note("keeper: %c %s %v %s", p.Kind, p.Target, p.Conns, short(p.Data))
			}
			s.stream = append(s.stream, ps...)
			return nil
		},
		After: func(d time.Duration, fn func()) { s.later(d, func() bool { return s.keeper == k }, fn) },
		Now:   func() time.Time { return s.now },
	}
	if s.mesh != nil {
		s.mesh.join(env)
	}
	err := k.Start(env)
	if err != nil {
		s.t.Fatal(err)
	}
	s.roster()
}

func (s *sim) roster() {
	var names []string
	for _, p := range s.procs {
		names = append(names, p.from)
	}
	if s.keeper != nil {
		s.keeper.Roster(names)
	}
}

func (s *sim) killKeeper() {
	s.note("keeper dies")
	s.keeper, s.died = nil, s.now
	for _, c := range s.conns {
		for name, sub := range c.subs {
			sub.doubt = map[string]bool{}
			for user := range sub.view {
				sub.doubt[user] = s.mesh != nil && !s.stayed(name, user)
			}
		}
	}
	for _, p := range s.procs {
		p.words = nil
	}
}

func (s *simClock) after(d time.Duration, alive func() bool, fn func()) {
	s.born++
	s.timers = append(s.timers, simTimer{s.now.Add(d), s.born, alive, fn})
	sort.Slice(s.timers, func(i, j int) bool {
		a, b := s.timers[i], s.timers[j]
		return a.at.Before(b.at) || a.at.Equal(b.at) && a.n < b.n
	})
}

// later is after for what a machine does.
func (s *sim) later(d time.Duration, alive func() bool, fn func()) {
	s.after(d, alive, func() {
		if s.frozen {
			s.missed = append(s.missed, func() {
				if alive() {
					fn()
				}
			})
			return
		}
		fn()
	})
}

func (s *simClock) note(format string, args ...any) {
	s.log = append(s.log, s.now.Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (s *simClock) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf(format+"\n%s", append(args, strings.Join(s.log[max(0, len(s.log)-80):], "\n"))...)
}

// start starts a process in a slot.
func (s *sim) start(slot, gen int) *proc {
	p := &proc{s: s, slot: slot, gen: gen, from: fmt.Sprintf("w/%d/%d", slot, gen), members: map[string]int{}}
	p.client = newClient(p)
	p.client.instance = uint64(s.rng.Int63())
	p.client.now = func() time.Time { return s.now }
	p.client.hello()
	s.procs = append(s.procs, p)
	s.roster()
	return p
}

// end takes a process away.
func (s *sim) end(p *proc) {
	p.dead = true
	s.procs = slices.DeleteFunc(s.procs, func(q *proc) bool { return q == p })
	s.roster()
}

// Tell and the next five make a proc the bus of a Client.
func (p *proc) TellAll(service string, data []byte) error { return p.Tell(service, data) }

func (p *proc) Tell(_ string, data []byte) error {
	if p.s.rng.Float64() < p.s.loss || p.busy {
		return worker.ErrBrokerBusy
	}
	if len(data) > 1<<20 { // as the broker has it, about
		return worker.ErrTooLarge
	}
	var h header
	if json.Unmarshal(data, &h) == nil && h.Whole && h.Begin {
		p.announced++
	}
	p.words = append(p.words, func() {
		if k := p.s.keeper; k != nil {
			k.Tell(p.from, slices.Clone(data))
		}
	})
	return nil
}

func (p *proc) Ask(_ string, data []byte, wait time.Duration, done func([]byte, error)) {
	answered := false
	answer := func(raw []byte, err error) {
		if !answered && !p.dead {
			answered = true
			done(raw, err)
		}
	}
	p.s.later(wait, p.serves, func() { answer(nil, worker.ErrNoAnswer) })
	p.words = append(p.words, func() {
		if k := p.s.keeper; k != nil {
			k.Ask(p.from, data, answer)
		}
	})
}

func (p *proc) After(d time.Duration, fn func()) { p.s.later(d, p.serves, fn) }
func (p *proc) serves() bool                     { return !p.dead && !p.retiring }
func (p *proc) Post(fn func()) error             { p.turn = append(p.turn, fn); return nil }

func (p *proc) Members(channel string) int { return p.members[channel] }

func (p *proc) Has(id string) bool {
	return slices.ContainsFunc(p.s.conns, func(c *conn) bool { return c.id == id && c.proc == p })
}

// count lets n connections come to a channel, or leave it.
func (p *proc) count(channel string, n int) {
	p.members[channel] += n
	p.client.Count(channel)
}

// enter and exit are subscribe and unsubscribe where there is no presence: nobody needs
// to grant it.
func (c *conn) enter(name string) {
	if c.subs[name] == nil {
		c.proc.s.note("%s joins %s at %s", c.id, name, c.proc.from)
		c.subs[name] = &sub{in: true}
		c.proc.count(name, 1)
	}
}

func (c *conn) exit(name string) {
	if c.subs[name] != nil {
		c.proc.s.note("%s leaves %s", c.id, name)
		delete(c.subs, name)
		c.proc.count(name, -1)
		c.got = nil // of other channels it is told again when they change
	}
}

// step does one thing that can be done, by chance. It reports false when there
// is nothing.
func (c *simClock) step() bool {
	var can []func()
	for _, s := range c.sims {
		can = s.can(can)
	}
	for _, w := range c.wires {
		if len(w.words) > 0 && !w.stuck && !(w.to != nil && w.to.frozen) {
			can = append(can, w.deliver)
		}
	}
	if len(can) == 0 {
		return false
	}
	can[c.rng.Intn(len(can))]()
	return true
}

func (s *sim) can(can []func()) []func() {
	if s.frozen {
		return can
	}
	for _, p := range s.procs {
		if len(p.turn) > 0 {
			can = append(can, func() { fn := p.turn[0]; p.turn = p.turn[1:]; fn() })
		}
		if len(p.words) > 0 {
			can = append(can, func() { fn := p.words[0]; p.words = p.words[1:]; fn() })
		}
	}
	if len(s.stream) > 0 {
		can = append(can, func() { p := s.stream[0]; s.stream = s.stream[1:]; s.deliver(&p) })
	}
	return can
}

// run lets d go by.
func (c *simClock) run(d time.Duration) {
	until := c.now.Add(d)
	for {
		for c.step() {
		}
		if len(c.timers) == 0 || c.timers[0].at.After(until) {
			c.now = until
			return
		}
		t := c.timers[0]
		c.timers = c.timers[1:]
		c.now = t.at
		if t.alive() {
			t.fire()
		}
	}
}

// deliver gives a publication to the connections.
func (s *sim) deliver(p *worker.Publication) {
	for _, c := range s.conns {
		if c.proc == nil || slices.Contains(p.Except, c.id) {
			continue
		}
		switch {
		case p.Scope == worker.ScopeList && !slices.Contains(p.Conns, c.id):
		case p.Kind == worker.KindService:
			s.notice(c, p)
		case p.Scope == worker.ScopeList:
			c.got = append(c.got, string(p.Data))
			c.sighted(p.Data)
		case c.subs[p.Target] == nil || !c.subs[p.Target].in:
		case p.Kind == worker.KindMessages:
			s.several(c, p)
		default:
			s.fail("%s: what the keeper says may supersede the channel's own messages: %s", p.Target, short(p.Data))
		}
	}
}

// notice is a session's OnService.
func (s *sim) notice(c *conn, p *worker.Publication) {
	sub := c.subs[p.Target]
	if sub == nil {
		return
	}
	switch p.Code {
	case CodeSubscribed:
		if sub.in {
			return
		}
		sub.in, sub.since = true, s.now
		c.proc.client.Admitted(c.id, p.Target, wire.Listed(p.Data, wire.Member{ID: c.user}))
		sub.view = map[string]bool{}
		for _, id := range rosterIn(p.Data) {
			sub.view[id] = true
		}
		c.got = append(c.got, "subscribed")
	case CodeRefused:
		delete(c.subs, p.Target)
		c.proc.client.Leave(c.id, p.Target)
		c.got = append(c.got, "refused")
	}
}

type event struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

func parse(raw []byte, data any) string {
	var e event
	var text string
	_ = json.Unmarshal(raw, &e)
	_ = json.Unmarshal(e.Data, &text)
	_ = json.Unmarshal([]byte(text), data)
	return e.Event
}

func rosterIn(raw []byte) []string {
	var r struct {
		Presence struct {
			IDs []string `json:"ids"`
		} `json:"presence"`
	}
	parse(raw, &r)
	return r.Presence.IDs
}

// several takes presence events into the connection's view.
func (s *sim) several(c *conn, p *worker.Publication) {
	view := c.subs[p.Target].view
	for _, raw := range messagesIn(p.Data) {
		var m struct {
			ID string `json:"user_id"`
		}
		name := parse(raw, &m)
		if !strings.HasPrefix(name, "pusher_internal:member_") {
			c.got = append(c.got, string(raw))
			continue
		}
		added := name == "pusher_internal:member_added"
		if !added && s.mesh != nil && s.mesh.mesh.exact && s.mesh.mesh.stays(p.Target, m.ID) {
			s.fail("%s: %s is told that %s left, who is there", p.Target, c.id, m.ID)
		}
		// A departure from a channel that was joined while there was no keeper
		// may be told although nobody has seen the arrival.
		echo := !added && s.now.Sub(s.died) < 10*time.Second && !s.stayed(p.Target, m.ID)
		// One who came to another node right before a keeper was killed may be told of twice.
		echo = echo || added && s.doubted(c.subs[p.Target], m.ID)
		if s.strict && view[m.ID] == added && !echo {
			s.fail("%s: %s sees %s of %s, which is no news", p.Target, c.id, name, m.ID)
		}
		if added {
			view[m.ID] = true
		} else {
			delete(view, m.ID)
		}
	}
}

// doubted reports, once, whether the client knew a user of another node when its
// own keeper was killed: the new one may not.
func (s *sim) doubted(sub *sub, user string) bool {
	was := sub.doubt[user]
	delete(sub.doubt, user)
	return was
}

// stayed reports whether the user has been in the channel by one connection
// since before the keeper died.
func (s *sim) stayed(name, user string) bool {
	return slices.ContainsFunc(s.conns, func(c *conn) bool {
		sub := c.subs[name]
		return c.proc != nil && c.user == user && sub != nil && sub.in && sub.since.Before(s.died)
	})
}

// connect, subscribe, unsubscribe and close are what a client does.
func (s *sim) connect(p *proc, user string) *conn {
	s.born++
	c := &conn{id: fmt.Sprintf("%d.%d", s.born, p.slot), proc: p, user: user, subs: map[string]*sub{}}
	s.conns = append(s.conns, c)
	return c
}

func (c *conn) subscribe(name string) {
	if c.subs[name] != nil {
		return
	}
	c.proc.s.note("%s joins %s as %s at %s", c.id, name, c.user, c.proc.from)
	c.subs[name] = &sub{}
	c.proc.client.Join(c.id, name, c.member())
}

func (c *conn) member() wire.Member {
	info := `{}`
	if c.proc.s.mesh != nil {
		info = fmt.Sprintf(`{"of":%q}`, c.id)
	}
	return wire.Member{ID: c.user, Info: json.RawMessage(info)}
}

func (c *conn) unsubscribe(name string) {
	if c.subs[name] != nil {
		c.proc.s.note("%s leaves %s as %s", c.id, name, c.user)
		delete(c.subs, name)
		c.proc.client.Leave(c.id, name)
	}
}

func (c *conn) close() {
	for name := range c.subs {
		c.unsubscribe(name)
	}
	c.proc.client.Signout(c.id)
	c.proc = nil
}

// reload moves the connections of a process to its successor.
func (s *sim) reload(p *proc, between func()) {
	s.note("reload of %s", p.from)
	next := s.start(p.slot, p.gen+1)
	p.retiring = true
	for _, c := range s.conns {
		if c.proc != p {
			continue
		}
		for len(p.turn) > 0 || len(p.words) > 0 { // the barrier
			for _, q := range [][]func(){p.turn, p.words} {
				if len(q) > 0 {
					q[0]()
				}
			}
			p.turn, p.words = p.turn[min(1, len(p.turn)):], p.words[min(1, len(p.words)):]
		}
		c.proc = next
		for name, sub := range c.subs {
			if _, channel := Split(name); !wire.IsPresence(channel) {
				p.members[name]--
				next.members[name]++
				next.client.CountBrought(name)
			} else if sub.in {
				next.client.Have(c.id, name, c.member())
			} else {
				next.client.Join(c.id, name, c.member())
			}
		}
		if c.signed {
			next.client.SignedIn(c.id, Name("a", c.user), c.watch)
		}
		between()
	}
	s.end(p)
}

// kill takes a process and its connections away without a word.
func (s *sim) kill(p *proc) {
	s.note("%s is killed", p.from)
	for _, c := range s.conns {
		if c.proc == p {
			c.proc = nil
		}
	}
	s.end(p)
}

// check compares what every client sees with what is true.
func (s *sim) check() {
	s.t.Helper()
	truth := map[string]map[string]bool{}
	for _, c := range s.reachable() {
		if c.proc == nil {
			continue
		}
		for name := range c.subs {
			if truth[name] == nil {
				truth[name] = map[string]bool{}
			}
			truth[name][c.user] = true
		}
	}
	for _, c := range s.conns {
		if c.proc == nil {
			continue
		}
		for name, sub := range c.subs {
			if !sub.in {
				s.fail("%s was never answered in %s", c.id, name)
			}
			if got, want := names(sub.view), names(truth[name]); !slices.Equal(got, want) {
				s.fail("%s sees %v in %s, there are %v; the keeper knows %v", c.id, got, name, want, s.users(name))
			}
		}
	}
	for name, r := range s.keeper.rooms {
		if got, want := s.users(name), names(truth[name]); !slices.Equal(got, want) || len(r.users) == 0 {
			s.fail("the keeper knows %v in %s, there are %v", got, name, want)
		}
	}
}

// reachable are the connections of this machine and of those that it can hear.
func (s *sim) reachable() []*conn {
	if s.mesh != nil {
		return s.mesh.reachable()
	}
	return s.conns
}

// users lists who is in a channel, as earlier versions ask for it.
func (s *sim) users(name string) (ids []string) {
	raw, err := json.Marshal(s.keeper.usersOf(name, false))
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	if err != nil {
		s.fail("users of %s: %v", name, err)
	}
	return ids
}

func short(b []byte) string { return string(b[:min(len(b), 300)]) }

func names(set map[string]bool) []string {
	list := []string{}
	for id := range set {
		list = append(list, id)
	}
	sort.Strings(list)
	return list
}

// note logs what happens on this machine.
func (s *sim) note(format string, args ...any) {
	if s.mesh != nil {
		format = s.mesh.name + " " + format
	}
	s.simClock.note(format, args...)
}
