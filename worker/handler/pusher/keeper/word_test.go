package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// TestWordsFitTheBus: what JSON libraries like to write in six bytes must
// neither fill words nor lists, nor reach members like that.
func TestWordsFitTheBus(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.MaxPresenceMembers = "a", 0
	s := newSim(t, 1, a)
	p := s.start(0, 1)
	info := json.RawMessage(`"` + strings.Repeat("<", 7000) + `"`)
	for i := range 60 {
		c := s.connect(p, fmt.Sprintf("u%d", i))
		c.subs["a:presence-x"] = &sub{}
		p.client.Join(c.id, "a:presence-x", wire.Member{ID: c.user, Info: info})
		p.client.Signin(c.id, "a:"+c.user, []string{strings.Repeat("&", 100), c.user})
	}
	s.calm()
	s.killKeeper()
	s.startKeeper()
	s.calm()
	for _, m := range s.keeper.rooms["a:presence-x"].members {
		if string(m.Info) != string(info) {
			t.Fatalf("the info of %s is %.40s", m.ID, m.Info)
		}
	}
	if n := len(s.keeper.people.online); n != 60 {
		t.Errorf("%d users online", n)
	}
}

// TestRefusedEventIsNoGap: the state is not announced again because an event
// was not taken.
func TestRefusedEventIsNoGap(t *testing.T) {
	s := newSim(t, 1)
	p := s.start(0, 1)
	s.connect(p, "u").subscribe("a:presence-x")
	s.calm()
	p.busy = true
	for _, err := range []error{p.client.Hook("a", hook.Event{Name: "x"}), p.client.Terminate("a:u", []byte("{}"))} {
		if !errors.Is(err, worker.ErrBrokerBusy) {
			t.Errorf("taken: %v", err)
		}
	}
	p.busy = false
	s.run(10 * time.Second)
	if p.announced != 0 {
		t.Errorf("announced %d times", p.announced)
	}
	p.busy = true
	s.connect(p, "v").subscribe("a:presence-x")
	s.run(time.Millisecond)
	p.busy = false
	s.calm()
	if p.announced != 1 {
		t.Errorf("after a loss announced %d times", p.announced)
	}
}
