package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/pusher"
)

const (
	roomKey    = "room-key"
	roomSecret = "0123456789abcdef0123"
)

const rooms = `
drain = "100ms"
[cluster]
lost = "5s"
[[app]]
id = "1"
key = "room-key"
secret = "0123456789abcdef0123"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/app/{key}" = "pusher", "/apps/*" = "pusher", "/echo" = "echo" }
`

// lostAfter is that of rooms.
const lostAfter = 5 * time.Second

// visitor is a client of the Pusher protocol that is in a presence channel, and remembers
// who else is there and what it was told.
type visitor struct {
	*pushdtest.Client
	user string

	mu      sync.Mutex
	members map[string]bool // nil before the list
	told    []string        // "+user", "-user", behind the list
	false   []string        // of that, what cannot be
	asked   time.Time       // it asked to join
	came    map[string]time.Time
}

// visit has a user of a node join, and returns when he has the list.
func visit(t *testing.T, n *Node, user string) *visitor {
	t.Helper()
	v := &visitor{Client: n.Dial("/app/" + roomKey + "?protocol=7"), user: user, came: map[string]time.Time{}}
	_, hello := v.Read()
	var socket struct {
		ID string `json:"socket_id"`
	}
	f := frameOf(hello)
	if err := json.Unmarshal([]byte(f.Data), &socket); err != nil || socket.ID == "" {
		t.Fatalf("%q: %v", hello, err)
	}
	data := fmt.Sprintf(`{"user_id":%q}`, user)
	auth := roomKey + ":" + pusher.Sign(roomSecret, pusher.ChannelText(socket.ID, "presence-room", data))
	raw, _ := json.Marshal(object{"event": "pusher:subscribe", "data": object{"channel": "presence-room", "auth": auth, "channel_data": data}})
	v.asked = time.Now()
	v.SendText(string(raw))
	go v.listen()
	pushdtest.Eventually(t, user+" has the list", func() bool { return v.list() != nil })
	return v
}

type frame struct{ Event, Channel, Data string }

func frameOf(raw []byte) (f frame) {
	_ = json.Unmarshal(raw, &f) // data that is no text is of nothing that is looked at
	return f
}

// listen ends with the connection.
func (v *visitor) listen() {
	for {
		op, raw, err := v.Next(time.Hour)
		if err != nil || op == pushdtest.OpClose {
			return
		}
		v.take(frameOf(raw))
	}
}

func (v *visitor) take(f frame) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var who struct {
		UserID   string `json:"user_id"`
		Presence struct{ IDs []string }
	}
	_ = json.Unmarshal([]byte(f.Data), &who)
	switch f.Event {
	case "pusher_internal:subscription_succeeded":
		v.members = map[string]bool{}
		for _, id := range who.Presence.IDs {
			v.members[id] = true
		}
		return
	case "pusher_internal:member_added":
		v.told = append(v.told, "+"+who.UserID)
		v.came[who.UserID] = time.Now()
	case "pusher_internal:member_removed":
		v.told = append(v.told, "-"+who.UserID)
	default:
		return
	}
	comes := f.Event == "pusher_internal:member_added"
	if v.members[who.UserID] == comes {
		v.false = append(v.false, v.told[len(v.told)-1])
	}
	if v.members[who.UserID] = true; !comes {
		delete(v.members, who.UserID)
	}
}

// list is who is there as far as it knows.
func (v *visitor) list() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.members))
}

// news returns what it was told since the last call.
func (v *visitor) news() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	told := v.told
	v.told = nil
	slices.Sort(told)
	return strings.Join(told, " ")
}

// heardOf is when it was told that a user has come; zero = it was not.
func (v *visitor) heardOf(user string) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.came[user]
}

// party is visitors of all nodes.
type party struct {
	t   *testing.T
	c   *Cluster
	all []*visitor
}

// agree waits until all have the same list, and returns how long that took.
func (p *party) agree(what string, users ...string) time.Duration {
	p.t.Helper()
	began := time.Now()
	users = slices.Sorted(slices.Values(users))
	defer func() {
		for _, v := range p.all {
			if p.t.Failed() {
				p.t.Logf("%s has %v, and was told %v", v.user, v.list(), v.told)
			}
		}
	}()
	pushdtest.Eventually(p.t, what, func() bool {
		return !slices.ContainsFunc(p.all, func(v *visitor) bool { return !slices.Equal(v.list(), users) })
	})
	return time.Since(began)
}

// whole waits until each node knows all as ready, and has their answers.
func (p *party) whole() {
	p.t.Helper()
	for _, n := range p.c.Nodes {
		await(p.t, n.Name+" is whole", func() (reply, bool) {
			status, r := n.post("/v1/publish", object{"channel": "nobody", "data": "x"})
			ready := true
			for _, o := range p.c.Nodes {
				ready = ready && n.stateOf(o.Name) == "ready"
			}
			return r, status == 200 && r.Complete && ready
		})
	}
}

// toldOnly checks that each was told this and nothing else.
func (p *party) toldOnly(what string, want func(v *visitor) string) {
	p.t.Helper()
	for _, v := range p.all {
		if got := v.news(); got != want(v) {
			p.t.Errorf("%s: %s was told %q, want %q", what, v.user, got, want(v))
		}
		if len(v.false) > 0 {
			p.t.Errorf("%s: %s was told what cannot be: %v", what, v.user, v.false)
		}
	}
}

// TestPresenceThroughCuts: three machines with a cable each. A cable that is out for 3 s,
// or loses one way, is noticed by no member, but who comes and goes meanwhile is told of
// once; one that is out for longer than `lost` is noticed by both sides, with one event
// for each difference, and the lists are equal afterwards.
func TestPresenceThroughCuts(t *testing.T) {
	if !full() {
		t.Skip("minutes of cuts: the simulation of package keeper has thousands in seconds; PUSHD_TEST_FULL=1")
	}
	p := &party{t: t, c: Start(t, Options{Config: rooms, Wires: true})}
	each, cuts, judged := 20, 20, 0
	var users []string
	of := map[string][]string{}
	for i := range each {
		for _, n := range p.c.Nodes {
			v := visit(t, n, fmt.Sprintf("%s-%02d", n.Name, i))
			p.all, users, of[n.Name] = append(p.all, v), append(users, v.user), append(of[n.Name], v.user)
		}
	}
	p.agree("all know all", users...)
	p.whole()
	for _, v := range p.all {
		v.news()
	}
	for i := range cuts {
		at, oneWay := i%len(p.c.Nodes), i%4 == 3
		other := (at + 1) % len(p.c.Nodes)
		began := time.Now()
		if oneWay {
			p.c.Wires.Deafen(at, other)
		} else {
			p.c.Wires.Pull(at)
		}
		guest := visit(t, p.c.Nodes[at], fmt.Sprintf("guest-%02d", i)) // behind the cut
		time.Sleep(time.Until(began.Add(3 * time.Second)))
		if oneWay {
			p.c.Wires.Undeafen(at, other)
		} else {
			p.c.Wires.Plug(at)
		}
		took := p.agree("the guest is known to all", append(users, guest.user)...)
		silent := time.Since(began)
		p.whole()
		t.Logf("cut %d of %s, one way %v: equal after %s", i+1, p.c.Nodes[at].Name, oneWay, took.Round(time.Millisecond))
		if silent < lostAfter-500*time.Millisecond { // else the machine has made another one of it
			p.toldOnly("a cut of 3 s", func(*visitor) string { return "+" + guest.user })
			judged++
		}
		for _, v := range p.all {
			v.news()
		}
		guest.Conn.Close()
		p.agree("the guest is gone", users...)
		p.toldOnly("the guest leaves", func(*visitor) string { return "-" + guest.user })
	}
	if judged == 0 {
		t.Errorf("of %d cuts of 3 s none was short enough to be one", cuts)
	}
	for i, n := range p.c.Nodes {
		p.c.Wires.Pull(i)
		var theirs []string
		for _, u := range users {
			if !strings.HasPrefix(u, n.Name) {
				theirs = append(theirs, u)
			}
		}
		began := time.Now()
		pushdtest.Eventually(t, "both sides see the others leave", func() bool {
			return !slices.ContainsFunc(p.all, func(v *visitor) bool {
				side := theirs
				if strings.HasPrefix(v.user, n.Name) {
					side = of[n.Name]
				}
				return !slices.Equal(v.list(), slices.Sorted(slices.Values(side)))
			})
		})
		left := time.Since(began)
		time.Sleep(max(0, 30*time.Second-left))
		p.c.Wires.Plug(i)
		took := p.agree("the lists are equal", users...)
		p.whole()
		t.Logf("cut of 30 s of %s: its members have left after %s, the lists are equal after %s", n.Name, left.Round(time.Millisecond), took.Round(time.Millisecond))
		p.toldOnly("a cut of 30 s", func(v *visitor) string {
			gone := of[n.Name]
			if strings.HasPrefix(v.user, n.Name) {
				gone = theirs
			}
			var all []string
			for _, u := range gone {
				all = append(all, "+"+u, "-"+u)
			}
			slices.Sort(all)
			return strings.Join(all, " ")
		})
	}
}
