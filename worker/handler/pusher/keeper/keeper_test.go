package keeper

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// ask puts a question of the API through the client of a process.
func (s *sim) counts(p *proc, channels ...string) (counts []int) {
	p.client.CountUsers(channels, func(n []int, err error) {
		if err != nil {
			s.t.Error(err)
		}
		counts = n
	})
	s.run(10 * time.Millisecond)
	return counts
}

func TestPresenceLimit(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.MaxPresenceMembers = "a", 2
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	var conns []*conn
	for _, user := range []string{"u1", "u2", "u3", "u2"} {
		c := s.connect(p, user)
		c.subscribe("a:presence-x")
		conns = append(conns, c)
	}
	s.run(time.Second)
	for i, want := range []string{"subscribed", "subscribed", "refused", "subscribed"} {
		if got := strings.Join(conns[i].got, ","); got != want {
			t.Errorf("connection %d: %s, want %s", i, got, want)
		}
	}
	if n := s.counts(p, "a:presence-x", "a:presence-y"); !slices.Equal(n, []int{2, 0}) {
		t.Errorf("users: %v", n)
	}
	other := s.connect(p, "u9")
	other.subscribe("b:presence-x") // of no app
	s.run(10 * time.Second)
	if len(other.got) > 0 || len(s.keeper.rooms) != 1 {
		t.Errorf("an unknown app: %v, %d rooms", other.got, len(s.keeper.rooms))
	}
	s.check2(append(conns, other))
}

// check2 ends the connections; then nothing may be left.
func (s *sim) check2(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
	s.run(10 * time.Second)
	k := s.keeper
	if len(k.entries)+len(k.rooms)+len(k.people.online)+len(k.people.logins)+len(k.people.fans) > 0 {
		s.fail("left over: %v %v %v", k.entries, k.rooms, k.people)
	}
	for _, p := range s.procs {
		if c := p.client; len(c.presence)+len(c.logins)+len(c.left) > 0 {
			s.fail("left over in %s: %v %v %v", p.from, c.presence, c.logins, c.left)
		}
	}
}

func TestCounts(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.SubscriptionCount = "a", true
	s := newSim(t, 1, a)
	p, q := s.start(0, 1), s.start(1, 1)
	viewer := s.connect(p, "")
	viewer.subs["a:x"] = &sub{in: true}
	p.count("a:x", 1)
	s.run(time.Second)
	p.count("a:x", 1)
	q.count("a:x", 1)
	q.count("a:presence-x", 1)
	s.run(time.Second)
	// A reload: for a while both processes count the same connections.
	next := s.start(1, 2)
	next.count("a:x", 1)
	next.count("a:presence-x", 1)
	s.run(3 * time.Second)
	s.end(q)
	s.run(10 * time.Second)
	// A new keeper is told of what it need not tell again.
	s.killKeeper()
	s.startKeeper()
	s.run(10 * time.Second)
	next.count("a:presence-x", -1)
	next.count("a:x", -1)
	s.run(time.Second)
	s.kill(p)
	s.run(10 * time.Second)
	want := []string{string(wire.SubscriptionCount("x", 1)), string(wire.SubscriptionCount("x", 3)), string(wire.SubscriptionCount("x", 2))}
	if !slices.Equal(viewer.got[:min(len(viewer.got), 3)], want) || len(viewer.got) > 3 {
		t.Errorf("told %q, want %q", viewer.got, want)
	}
	hooks := "a:channel_occupied:x::0 a:subscription_count:x::1 a:subscription_count:x::3 a:channel_occupied:presence-x::0 " +
		"a:channel_vacated:presence-x::0 a:subscription_count:x::2 a:subscription_count:x::0 a:channel_vacated:x::0"
	if got := sorted(s.hooked); got != sorted(strings.Fields(hooks)) {
		t.Errorf("hooks %s\nwant  %s", got, sorted(strings.Fields(hooks)))
	}
	if n := len(s.keeper.counts.channels); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

func sorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestCrowdIsToldSeldom: a channel of more than a hundred is told of its size
// every five seconds only.
func TestCrowdIsToldSeldom(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.SubscriptionCount = "a", true
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	viewer := s.connect(p, "")
	viewer.subs["a:x"] = &sub{in: true}
	p.count("a:x", 200)
	for range 100 {
		s.run(100 * time.Millisecond)
		p.count("a:x", 1)
	}
	s.run(10 * time.Second)
	if n := len(viewer.got); n < 3 || n > 4 || viewer.got[n-1] != string(wire.SubscriptionCount("x", 300)) {
		t.Errorf("told %q", viewer.got)
	}
}

func TestWatchlists(t *testing.T) {
	s := newSim(t, 1)
	p, q := s.start(0, 1), s.start(1, 1)
	events := func(e ...wire.Watch) string { return string(wire.Watchlist(e...)) }
	fan := s.connect(p, "fan")
	p.client.Signin(fan.id, "a:fan", []string{"star", "moon"})
	s.run(time.Second)
	star1, star2 := s.connect(p, "star"), s.connect(q, "star")
	p.client.Signin(star1.id, "a:star", nil)
	q.client.Signin(star2.id, "a:star", []string{"fan", "moon"})
	s.run(time.Second)
	p.client.Signout(star1.id)
	s.run(time.Second)
	// Neither a reload nor a new keeper makes anybody come or go.
	next := s.start(1, 2)
	next.client.SignedIn(star2.id, "a:star", nil)
	star2.proc = next
	s.end(q)
	s.run(5 * time.Second)
	s.killKeeper()
	s.startKeeper()
	s.run(10 * time.Second)
	s.kill(next)
	s.run(10 * time.Second)
	want := []string{
		events(wire.Watch{Name: "offline", UserIDs: []string{"star", "moon"}}),
		events(wire.Watch{Name: "online", UserIDs: []string{"star"}}),
		events(wire.Watch{Name: "offline", UserIDs: []string{"star"}}),
	}
	if !slices.Equal(fan.got, want) {
		t.Errorf("the fan is told\n%q, want\n%q", fan.got, want)
	}
	if want := events(wire.Watch{Name: "online", UserIDs: []string{"fan"}}, wire.Watch{Name: "offline", UserIDs: []string{"moon"}}); !slices.Equal(star2.got, []string{want}) {
		t.Errorf("the star is told %q, want %q", star2.got, want)
	}
	s.check2([]*conn{fan})
}

// TestManyJoinAtOnce: each member gets few writes, and the list is made few
// times.
func TestManyJoinAtOnce(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.MaxPresenceMembers = "a", 0
	s := newSim(t, 1, a)
	procs := []*proc{s.start(0, 1), s.start(1, 1)}
	published := 0
	publish := s.keeper.env.Publish
	s.keeper.env.Publish = func(ps ...worker.Publication) error {
		published += len(ps)
		return publish(ps...)
	}
	for i := range 300 { // one each millisecond
		s.connect(procs[i%2], fmt.Sprintf("u%04d", i)).subscribe("a:presence-x")
		s.run(time.Millisecond)
	}
	s.run(10 * time.Second)
	s.check()
	if published > 40 { // two each 25 ms
		t.Errorf("%d publications", published)
	}
}

// TestBadWords: what is no batch does no harm.
func TestBadWords(t *testing.T) {
	s := newSim(t, 1)
	p := s.start(0, 1)
	c := s.connect(p, "u")
	c.subscribe("a:presence-x")
	s.run(time.Second)
	for _, word := range []string{"", "{", "[]", `{"o":[{"k":"hook"}]}`, `{"o":[{"k":"join"}],"n":9}`, `{"o":[{"k":"never"}]}`, `{"l":true}`} {
		s.keeper.Tell(p.from, []byte(word))
		s.keeper.Ask(p.from, []byte(word), func(_ []byte, err error) {
			if err == nil {
				t.Errorf("%q is answered", word)
			}
		})
	}
	s.run(10 * time.Second)
	s.check()
	var e hook.Event
	if raw, err := json.Marshal(op{Kind: opHook, Event: &e}); err != nil || len(raw) == 0 {
		t.Error(err)
	}
}
