package keeper

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// TestMoments: whoever was in a channel only for a moment was there: what is
// counted at the end of a pause, or of a turn, is not all that webhooks hear.
func TestMoments(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.Webhooks = "a", []wire.Webhook{{URL: "http://127.0.0.1"}}
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	s.run(time.Second)

	p.count("a:turn", 1) // both in one turn of the loop
	p.count("a:turn", -1)
	s.run(time.Second)
	p.count("a:pause", 1)
	s.run(5 * time.Millisecond)
	p.count("a:pause", -1)
	s.run(time.Second)
	p.count("a:stays", 1)
	s.run(time.Second)
	p.count("a:stays", -1) // it was not vacated for long enough to say so …
	s.run(time.Millisecond)
	p.count("a:stays", 1)
	s.run(time.Second)
	c := s.connect(p, "u")
	c.subscribe("a:presence-x")
	c.unsubscribe("a:presence-x") // before its process has heard that it is in
	s.run(time.Second)

	want := "a:channel_occupied:turn::0 a:channel_vacated:turn::0 a:channel_occupied:pause::0 a:channel_vacated:pause::0 " +
		"a:channel_occupied:stays::0 a:subscription_count:stays::1 " +
		"a:member_added:presence-x:u:0 a:member_removed:presence-x:u:0 a:channel_occupied:presence-x::0 a:channel_vacated:presence-x::0"
	if got := sorted(s.hooked); got != sorted(strings.Fields(want)) {
		t.Errorf("hooks %s\nwant  %s", got, sorted(strings.Fields(want)))
	}
	if n := len(s.keeper.counts.channels); n != 1 {
		t.Errorf("%d channels are counted", n)
	}
}

// TestOccupiedOutlivesTheKeeper: a presence channel whose members a new keeper
// is told of is not occupied anew, and is vacated once.
func TestOccupiedOutlivesTheKeeper(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.Webhooks = "a", []wire.Webhook{{URL: "http://127.0.0.1"}}
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	c := s.connect(p, "u")
	c.subscribe("a:presence-x")
	p.count("a:presence-x", 1)
	s.run(time.Second)
	s.killKeeper()
	s.startKeeper()
	s.run(10 * time.Second)
	c.unsubscribe("a:presence-x")
	p.count("a:presence-x", -1)
	s.run(time.Second)
	want := "a:channel_occupied:presence-x::0 a:channel_vacated:presence-x::0 a:member_added:presence-x:u:0 a:member_removed:presence-x:u:0"
	if got := sorted(s.hooked); got != want {
		t.Errorf("hooks %s\nwant  %s", got, want)
	}
}

// TestTerminate: the keeper names the connections that presence channels alone
// know as a user's; who has signed in is reached otherwise. A process knows both.
func TestTerminate(t *testing.T) {
	b := wire.DefaultApp()
	b.ID = "b"
	a := wire.DefaultApp()
	a.ID = "a"
	s := newSim(t, 1, a, b)
	p, q := s.start(0, 1), s.start(1, 1)
	known, signed, other, foreign := s.connect(p, "7"), s.connect(q, "7"), s.connect(p, "8"), s.connect(q, "7")
	for _, c := range []*conn{known, signed, other} {
		c.subscribe("a:presence-x")
		c.subscribe("a:presence-y")
	}
	foreign.subscribe("b:presence-x")
	q.client.Signin(signed.id, "a:7", nil)
	s.run(time.Second)
	var told []worker.Publication
	s.keeper.env.Publish = func(ps ...worker.Publication) error { told = append(told, ps...); return nil }
	if at, in := p.client.Of("a:7"), q.client.Of("a:7"); !slices.Equal(at, []string{known.id}) || !slices.Equal(in, []string{signed.id}) {
		t.Errorf("the processes know %q and %q, want %s and %s", at, in, known.id, signed.id)
	}
	_ = p.client.Terminate("a:7", []byte("bye"))
	_ = p.client.Terminate("a:9", []byte("bye"))
	s.run(time.Second)
	if len(told) != 1 || told[0].Code != CodeTerminated || !slices.Equal(told[0].Conns, []string{known.id}) || string(told[0].Data) != "bye" {
		t.Errorf("told %+v, want %s alone", told, known.id)
	}
}

// TestNumbers: a user whose id was given as a number is listed so, for those who
// can read it, through a new keeper too, also when only a connection is left that
// has given it as a string.
func TestNumbers(t *testing.T) {
	s := newSim(t, 1)
	p := s.start(0, 1)
	s.run(time.Second)
	var first *conn
	for _, m := range []wire.Member{{ID: "b"}, {ID: "7", Number: true}, {ID: "7"}} {
		c := s.connect(p, m.ID)
		if m.Number {
			first = c
		}
		c.subs["a:presence-x"] = &sub{}
		p.client.Join(c.id, "a:presence-x", m)
	}
	s.run(time.Second)
	p.client.Leave(first.id, "a:presence-x")
	s.run(time.Second)
	s.killKeeper()
	s.startKeeper()
	s.run(10 * time.Second)
	for form, want := range map[bool]string{true: `[7,"b"]`, false: `["7","b"]`} {
		if raw, err := json.Marshal(s.keeper.usersOf("a:presence-x", form)); err != nil || string(raw) != want {
			t.Errorf("users %s, want %s (%v)", raw, want, err)
		}
	}
}
