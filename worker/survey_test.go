package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/bus"
	"github.com/pushd/pushd/worker/survey"
)

// meeting is a loopback whose questions reach every worker of its bus.
type meeting struct {
	*loopback
	strange []Answer // of others
	late    bool     // somebody has not answered
}

func (b *meeting) Gather(q BusQuery, _ time.Duration, done func([]Answer, bool)) error {
	if b.fail != nil {
		return b.fail
	}
	b.bus.mu.Lock()
	all := append([]*loopback(nil), b.bus.clients...)
	b.bus.mu.Unlock()
	q.Reply = "here"
	go func() {
		answers := append([]Answer(nil), b.strange...)
		for _, c := range all {
			c.in.Query(q)
			answers = append(answers, <-c.answers)
		}
		done(answers, !b.late)
	}()
	return nil
}

func (b *meeting) Tell(string, string, []byte) error    { return nil }
func (b *meeting) TellAll(string, string, []byte) error { return nil }
func (b *meeting) AskService(string, string, []byte, time.Duration, func(Answer, error)) error {
	return nil
}

// pair is two workers on one bus. In the first there are n connections, in the
// second m; who connects is handed to greet.
func pair(t *testing.T, n, m int, greet func(c *Conn)) (*server, *meeting) {
	t.Helper()
	b := &testBus{}
	first := []*server{}
	for _, count := range []int{n, m} {
		w := New(anyWS)
		w.Name = fmt.Sprintf("w%d", len(first))
		w.OnConnect = greet
		s := launch(t, w, b, nil)
		for range count {
			connect(t, s.addrs[0], "/")
		}
		s.eventually("all are there", func() bool { return w.CountConnections() == count })
		first = append(first, s)
	}
	ask := &meeting{loopback: first[0].broker}
	first[0].on(func() { first[0].w.loop.broker = bus.PartsOf(ask) })
	return first[0], ask
}

func TestCountAllAddsUpTheProcesses(t *testing.T) {
	const odd = "a \xff name\x00<of any bytes>"
	s, bus := pair(t, 2, 3, func(c *Conn) { c.Join(odd) })
	type answer struct {
		n        int
		complete bool
	}
	got := make(chan answer, 1)
	count := func(channel string) answer {
		t.Helper()
		s.on(func() {
			must(t, s.w.CountAll(channel, func(n int, complete bool) {
				if s.w.loop.conns.len() != 2 { // of the loop: the race detector watches
					t.Error("connections have gone")
				}
				got <- answer{n, complete}
			}))
		})
		return <-got
	}
	if a := count(odd); a != (answer{5, true}) {
		t.Errorf("got %+v, want 5 members of both processes", a)
	}
	if a := count("nobody's"); a != (answer{0, true}) {
		t.Errorf("an empty channel: %+v", a)
	}
	for _, a := range []Answer{{Worker: "w2/0/1", Error: "does not know"}, {Worker: "w2/0/1", Data: json.RawMessage(`{}`)}, {Worker: "w2/0/1"}} {
		bus.strange = []Answer{a}
		if a := count(odd); a != (answer{5, false}) {
			t.Errorf("with a process that cannot answer: %+v", a)
		}
	}
	bus.strange, bus.late = nil, true
	if a := count(odd); a != (answer{5, false}) {
		t.Errorf("with a process that does not answer: %+v", a)
	}
}

func TestOnlineAllAsksForManyAtOnce(t *testing.T) {
	var n atomic.Int32 // of both loops
	s, _ := pair(t, 3, 3, func(c *Conn) { c.Bind([]string{"", "42", "a\xff"}[n.Add(1)%3]) })
	got := make(chan map[string]int, 1)
	online := func(uids ...string) map[string]int {
		t.Helper()
		s.on(func() {
			must(t, s.w.OnlineAll(uids, func(online map[string]int, complete bool) {
				if !complete {
					t.Error("incomplete")
				}
				got <- online
			}))
		})
		return <-got
	}
	many := make([]string, MaxSurvey)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		ask  []string
		want map[string]int
	}{
		{many, map[string]int{"42": 2}},
		{[]string{"42", "a\xff", "42", "", "nobody"}, map[string]int{"42": 2, "a\xff": 2}},
		{nil, map[string]int{}},
	} {
		if got := online(c.ask...); !maps.Equal(got, c.want) {
			t.Errorf("%.60q: got %v, want %v", c.ask, got, c.want)
		}
	}
	s.on(func() {
		if err := s.w.OnlineAll(append(many, "x"), nil); !errors.Is(err, ErrTooMany) {
			t.Errorf("1,001 uids: %v", err)
		}
	})
}

func TestMembersAllAndTheirSessions(t *testing.T) {
	var n atomic.Int32 // of both loops
	s, bus := pair(t, 3, 4, func(c *Conn) {
		me := fmt.Sprintf("%d\xff", n.Add(1))
		c.Join("news")
		c.Bind("uid " + me)
		must(t, c.Set("name\xff", "name "+me))
	})
	type list struct {
		members  []Member
		total    int
		complete bool
	}
	members := func(limit int) list {
		t.Helper()
		got := make(chan list, 1)
		s.on(func() {
			must(t, s.w.MembersAll("news", limit, func(m []Member, total int, complete bool) { got <- list{m, total, complete} }))
		})
		return <-got
	}
	for limit, want := range map[int]int{0: 7, 1: 1, 5: 5, 1001: 7} {
		if l := members(limit); len(l.members) != want || l.total != 7 || !l.complete {
			t.Errorf("limit %d: %+v", limit, l)
		}
	}
	all := members(0)
	size, told := 0, survey.MembersAnswer{Total: 1}
	told.Add(all.members[0].ID, "moved", &size)
	twin, err := json.Marshal(told)
	must(t, err)
	bus.strange = []Answer{{Worker: "w3/0/1", Data: twin}}
	if l := members(0); len(l.members) != 7 || l.members[0].UID != "moved" {
		t.Errorf("one is told by two processes: %+v", l)
	}
	bus.strange = nil
	session := func(id, key string) (value string, found bool) {
		t.Helper()
		done := make(chan struct{})
		s.on(func() {
			must(t, s.w.SessionOf(id, key, func(v string, f, complete bool) {
				if value, found = v, f; !complete {
					t.Error("incomplete")
				}
				close(done)
			}))
		})
		<-done
		return value, found
	}
	for _, m := range all.members {
		if v, found := session(m.ID, "name\xff"); !found || "uid "+strings.TrimPrefix(v, "name ") != m.UID {
			t.Errorf("session of %+v: %q %v", m, v, found)
		}
	}
	if v, found := session(all.members[6].ID, "other"); v != "" || !found {
		t.Errorf("a key that is not set: %q %v", v, found)
	}
	for _, id := range []string{"1.1", "", "nonsense"} {
		if v, found := session(id, "name\xff"); v != "" || found {
			t.Errorf("session of %q: %q %v", id, v, found)
		}
	}
}

func TestSurveysSayWhyTheyCannotAsk(t *testing.T) {
	s, m := pair(t, 0, 0, nil)
	surveys := map[string]func() error{
		"CountAll":   func() error { return s.w.CountAll("news", nil) },
		"OnlineAll":  func() error { return s.w.OnlineAll([]string{"42"}, nil) },
		"MembersAll": func() error { return s.w.MembersAll("news", 10, nil) },
		"SessionOf":  func() error { return s.w.SessionOf("1.1", "name", nil) },
	}
	s.on(func() {
		for name, ask := range surveys {
			m.fail = ErrBrokerAway
			s.w.loop.broker = bus.PartsOf(m)
			if err := ask(); !errors.Is(err, ErrBrokerAway) {
				t.Errorf("%s, broker away: %v", name, err)
			}
			m.fail = nil
			s.w.loop.broker = bus.PartsOf(m.loopback)
			if err := ask(); !errors.Is(err, ErrNoServices) {
				t.Errorf("%s, a broker that cannot ask: %v", name, err)
			}
		}
	})
}
