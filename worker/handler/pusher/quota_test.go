package pusher

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
)

// fullApp is an app with so many connections that each process has some.
type fullApp struct {
	t       *testing.T
	s       *pushdtest.Server
	max     int
	clients []*pusher
}

const plainPath = "/app/plain-key"

// limitedTo is the config with a limit of the app "plain".
func limitedTo(max int) string {
	return strings.Replace(config, "max_connections = 1", "max_connections = "+itoa(max), 1)
}

// knock connects a client and reports whether it was let in.
func (a *fullApp) knock() bool {
	a.t.Helper()
	p := &pusher{Client: a.s.Dial(plainPath), t: a.t}
	switch g := p.next(); {
	case g.Event == "pusher:connection_established":
		a.clients = append(a.clients, p)
		return true
	case g.Event != "pusher:error" || !strings.Contains(string(g.Data), `"code":4004`):
		a.t.Fatalf("greeting: %+v", g)
	}
	p.WantClose(4004)
	p.Conn.Close() // else it is in its closing handshake when a reload comes, which waits for that
	return false
}

// fill connects clients one after the other until there is no room; that must
// be at the limit.
func (a *fullApp) fill(when string) {
	a.t.Helper()
	for len(a.clients) <= a.max && a.knock() {
	}
	a.refuses(when)
}

// refuses checks that the app is full and stays so, for both processes.
func (a *fullApp) refuses(when string) {
	a.t.Helper()
	for range 12 {
		a.knock()
	}
	if len(a.clients) != a.max {
		a.t.Fatalf("%s the app has %d connections, want %d", when, len(a.clients), a.max)
	}
	for _, p := range a.clients {
		p.quiet()
	}
}

// forget drops the clients that are gone, and reports whether there were any.
func (a *fullApp) forget() bool {
	before := len(a.clients)
	a.clients = slices.DeleteFunc(a.clients, func(p *pusher) bool {
		err := p.Try(pushdtest.OpPing, nil)
		if err == nil {
			_, _, err = p.Next(pushdtest.Timeout)
		}
		return err != nil
	})
	return len(a.clients) < before
}

// TestMaxConnections: the limit is that of all processes together, whatever
// happens to them.
func TestMaxConnections(t *testing.T) {
	a := &fullApp{t: t, s: pushdtest.Start(t, pushdtest.Options{Config: limitedTo(6)}), max: 6}
	a.fill("at first")
	a.s.MustRun("reload")
	a.refuses("after a reload")

	a.clients[0].Close()
	a.clients = a.clients[1:]
	pushdtest.Eventually(t, "a place that was left", a.knock)
	a.refuses("after one has left")

	a.max = 9
	a.s.WriteConfig(limitedTo(a.max))
	a.s.MustRun("reload")
	a.fill("with a higher limit")

	broker := a.s.Status().Broker.PID
	a.s.Kill(broker)
	pushdtest.Eventually(t, "another broker process, which all workers have found", func() bool {
		status, _ := newBackend(t, a.s).do("GET", "channels/x", nil)
		pid := a.s.Status().Broker.PID
		return status == 200 && pid != 0 && pid != broker
	})
	a.refuses("after the death of the broker process")

	busiest := a.s.Status().Workers[0]
	for _, w := range a.s.Status().Workers {
		if w.Connections > busiest.Connections {
			busiest = w
		}
	}
	a.s.Kill(busiest.PID)
	pushdtest.Eventually(t, "clients of a killed worker are gone", a.forget)
	pushdtest.Eventually(t, "room in their place", a.knock)
	pushdtest.Eventually(t, "a full app", func() bool { return len(a.clients) >= a.max || a.knock() && len(a.clients) == a.max })
	a.refuses("after the death of a worker")
}

// TestMaxConnectionsInAStorm: a storm fills an app, and goes over its limit by
// less than was free before.
func TestMaxConnectionsInAStorm(t *testing.T) {
	const limit, storm = 40, 200
	s := pushdtest.Start(t, pushdtest.Options{Config: limitedTo(limit)})
	var mu sync.Mutex
	var wg sync.WaitGroup
	in := 0
	for range storm {
		wg.Go(func() {
			c, err := pushdtest.Knock(addr(s), plainPath)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Conn.Close() })
			_, greeting, err := c.Next(pushdtest.Timeout)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(string(greeting), "connection_established") {
				in++
			}
		})
	}
	wg.Wait()
	if in < limit || in > limit+limit/2+1 {
		t.Errorf("%d of %d clients were let in, want %d", in, storm, limit)
	}
	t.Logf("%d of %d clients at once were let in by two processes, where %d have room", in, storm, limit)
}

// TestHeard: what a process does not say in time is what it said before, until
// all that live have answered.
func TestHeard(t *testing.T) {
	var r room
	answer := func(name, n string) worker.Answer {
		return worker.Answer{Worker: name, Data: []byte(n)}
	}
	for _, step := range []struct {
		answers  []worker.Answer
		complete bool
		want     map[string]int
	}{
		{nil, false, map[string]int{}},
		{[]worker.Answer{answer("w/0/1", "9"), answer("w/1/1", "1"), answer("w/2/1", "2")}, true, map[string]int{"w/1": 1, "w/2": 2}},
		{[]worker.Answer{answer("w/2/1", "3"), {Worker: "w/3/1"}}, false, map[string]int{"w/1": 1, "w/2": 3}},
		{nil, false, map[string]int{"w/1": 1, "w/2": 3}},
		// a reload: both have some, then the old one has gone before it answered
		{[]worker.Answer{answer("w/1/1", "1"), answer("w/2/1", "2"), answer("w/2/2", "1")}, true, map[string]int{"w/1": 1, "w/2": 3}},
		{[]worker.Answer{answer("w/2/2", "3")}, false, map[string]int{"w/1": 1, "w/2": 3}},
		{[]worker.Answer{answer("w/2/2", "3")}, true, map[string]int{"w/2": 3}},
		// of our own predecessor nothing is left once it does not answer
		{[]worker.Answer{answer("w/0/0", "5"), answer("w/2/2", "3")}, true, map[string]int{"w/0": 5, "w/2": 3}},
		{[]worker.Answer{answer("w/2/2", "3")}, false, map[string]int{"w/2": 3}},
		// the same place on another node is another place
		{[]worker.Answer{answer("n/w/0/1", "7"), answer("w/2/2", "3")}, true, map[string]int{"n/w/0": 7, "w/2": 3}},
	} {
		r.heard(step.answers, step.complete, "w/0/1")
		got := map[string]int{}
		for id, n := range r.others {
			got[strings.TrimSuffix(id.String(), "/0")] = n
		}
		if !maps.Equal(got, step.want) {
			t.Errorf("%+v: %v, want %v", step.answers, got, step.want)
		}
	}
}

// TestRoomDuringReload: connections on their way between two processes do not
// count twice. Those who come meanwhile find the room that there is. The first
// reload brings the limit, under which those count who were there before.
func TestRoomDuringReload(t *testing.T) {
	a := &fullApp{t: t, s: pushdtest.Start(t, pushdtest.Options{Config: limitedTo(0)}), max: 45}
	for range 40 {
		a.knock()
	}
	a.s.WriteConfig(limitedTo(a.max))
	for range 2 {
		reload := make(chan pushdtest.Result, 1)
		go func() { reload <- a.s.Run("reload") }()
		for ended := false; !ended; {
			if !a.knock() {
				t.Fatalf("turned away at %d of %d", len(a.clients), a.max)
			}
			last := len(a.clients) - 1
			a.clients[last].Close()
			a.clients = a.clients[:last]
			select {
			case r := <-reload:
				if ended = true; r.Code != 0 {
					t.Fatalf("reload: %+v", r)
				}
			default:
			}
		}
	}
	a.fill("after two reloads")
}
