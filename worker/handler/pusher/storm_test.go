package pusher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

const stormConfig = `
[[app]]
id = "main"
key = "278d425bdf160c739803"
secret = "7ad3773142a6692b25b8"
max_presence_members = 0
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/app/{key}" = "pusher", "/apps/*" = "pusher" }
`

const stormRoom = "presence-storm"

// attendee is a client in a presence channel: what it is told makes its view.
type attendee struct {
	*pushdtest.Client
	user string
	slot int // of its process, if it is known
	id   string
	in   chan struct{} // closed when it is subscribed

	mu     sync.Mutex
	view   map[string]int // users: how often they came, less how often they went
	news   []string       // "+user" and "-user"
	loose  bool           // what is told of those who do not stay is not counted
	closed error

	later bool     // keep what comes for later, not to be slower than the server
	raw   [][]byte // that
}

// enroll connects a client as a user; sub has it subscribe.
func enroll(s *pushdtest.Server, user string, sub bool) (*attendee, error) {
	c, err := pushdtest.Knock(fmt.Sprintf("127.0.0.1:%d", s.Port), mainPath)
	if err != nil {
		return nil, err
	}
	m := &attendee{Client: c, user: user, in: make(chan struct{}), view: map[string]int{}}
	_, raw, err := c.Next(pushdtest.Timeout)
	var g got
	var hello struct {
		SocketID string `json:"socket_id"`
	}
	if err = errors.Join(err, json.Unmarshal(raw, &g), json.Unmarshal([]byte(g.text()), &hello)); err != nil {
		c.Conn.Close()
		return nil, err
	}
	m.id = hello.SocketID
	go m.listen()
	if sub {
		err = m.subscribe()
	}
	return m, err
}

func (m *attendee) subscribe() error {
	data := fmt.Sprintf(`{"user_id":%q}`, m.user)
	raw, err := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": map[string]string{
		"channel": stormRoom, "channel_data": data,
		"auth": appKey + ":" + wire.Sign(secret, wire.ChannelText(m.id, stormRoom, data)),
	}})
	if err != nil {
		return err
	}
	return m.Try(pushdtest.OpText, raw)
}

// listen takes what the client is told until it is closed.
func (m *attendee) listen() {
	for {
		_, raw, err := m.Next(5 * time.Minute)
		if err == nil && m.kept(raw) {
			continue
		}
		if err == nil {
			var g got
			if err = json.Unmarshal(raw, &g); err == nil {
				m.told(g)
				continue
			}
		}
		m.mu.Lock()
		m.closed = err
		m.mu.Unlock()
		m.Conn.Close()
		return
	}
}

// kept reports whether raw is kept for later.
func (m *attendee) kept(raw []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.later {
		m.raw = append(m.raw, raw)
	}
	return m.later
}

// complete reports whether what was kept tells of n users.
func (m *attendee) complete(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.raw) == 0 {
		return false
	}
	_, after, _ := bytes.Cut(m.raw[0], []byte(`\"count\":`))
	digits, _, _ := bytes.Cut(after, []byte(","))
	listed, err := strconv.Atoi(string(digits))
	return err == nil && listed+len(m.raw)-1 >= n
}

// reads takes what was kept.
func (m *attendee) reads() error {
	m.mu.Lock()
	raw := m.raw
	m.later, m.raw = false, nil
	m.mu.Unlock()
	for _, r := range raw {
		if _, added, ok := bytes.Cut(r, []byte(`{"event":"pusher_internal:member_added"`)); ok { // a million of them
			_, id, _ := bytes.Cut(added, []byte(`\"user_id\":\"`))
			id, _, _ = bytes.Cut(id, []byte(`\"`))
			m.mu.Lock()
			m.view[string(id)]++
			m.mu.Unlock()
			continue
		}
		var g got
		if err := json.Unmarshal(r, &g); err != nil {
			return err
		}
		m.told(g)
	}
	return nil
}

func (m *attendee) told(g got) {
	var who struct {
		ID string `json:"user_id"`
	}
	_ = json.Unmarshal([]byte(g.text()), &who)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loose && strings.HasPrefix(who.ID, "churn") {
		return
	}
	switch g.Event {
	case "pusher_internal:subscription_succeeded":
		var r roster
		_ = json.Unmarshal([]byte(g.text()), &r)
		for _, id := range r.Presence.IDs {
			m.view[id]++
		}
		close(m.in)
	case "pusher_internal:member_added":
		m.view[who.ID]++
		m.news = append(m.news, "+"+who.ID)
	case "pusher_internal:member_removed":
		m.view[who.ID]--
		m.news = append(m.news, "-"+who.ID)
	}
}

// sees returns the users in the member's view, in order; those that it was told
// of other than once as "user×n".
func (m *attendee) sees() (users []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, n := range m.view {
		switch {
		case n == 1:
			users = append(users, id)
		case n != 0:
			users = append(users, fmt.Sprintf("%s×%d", id, n))
		}
	}
	slices.Sort(users)
	return users
}

// heard returns the news of users with that prefix, and forgets all news.
func (m *attendee) heard(prefix string) (news []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.news {
		if strings.HasPrefix(n[1:], prefix) {
			news = append(news, n)
		}
	}
	m.news = nil
	return news
}

func (m *attendee) gone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed != nil
}

// storm is a channel with members that stay, while others come and go.
type storm struct {
	t    *testing.T
	s    *pushdtest.Server
	stay []*attendee
}

// newStorm has n members in each of the two processes.
func newStorm(t *testing.T, n int) *storm {
	x := &storm{t: t, s: pushdtest.Start(t, pushdtest.Options{Config: stormConfig})}
	for slot := range 2 {
		var users []string
		for i := range n {
			users = append(users, fmt.Sprintf("stay%02d", slot*n+i))
		}
		x.enter(slot, users...)
	}
	x.calm("everybody is in")
	return x
}

// enter connects users that stay to the process of a slot and returns the last
// one. They have asked for the channel, and need not be in it yet.
func (x *storm) enter(slot int, users ...string) (m *attendee) {
	x.t.Helper()
	x.s.Alone(slot, func() {
		for _, user := range users {
			var err error
			if m, err = enroll(x.s, user, true); err != nil {
				x.t.Fatal(err)
			}
			x.t.Cleanup(func() { m.Conn.Close() })
			m.slot = slot
			x.stay = append(x.stay, m)
		}
	})
	return m
}

// present are the users whose connections live.
func (x *storm) present() (users []string) {
	for _, m := range x.stay {
		if !m.gone() && !slices.Contains(users, m.user) {
			users = append(users, m.user)
		}
	}
	slices.Sort(users)
	return users
}

// calm waits until every member, and the API, sees who is there.
func (x *storm) calm(what string) {
	x.t.Helper()
	want := x.present()
	var wrong string
	b := newBackend(x.t, x.s)
	defer func() {
		if x.t.Failed() {
			x.t.Logf("%s\nwant %q", wrong, want)
		}
	}()
	pushdtest.Eventually(x.t, what, func() bool {
		for _, m := range x.stay {
			if got := m.sees(); !m.gone() && !slices.Equal(got, want) {
				wrong = fmt.Sprintf("%s sees %q", m.user, got)
				return false
			}
		}
		got := x.users(b)
		wrong = fmt.Sprintf("the API tells %q", got)
		return slices.Equal(got, want)
	})
}

// users asks the API who is in the channel.
func (x *storm) users(b *backend) (ids []string) {
	status, body := b.do("GET", "channels/"+stormRoom+"/users", nil)
	var list struct {
		Users []struct{ ID string }
	}
	if status != 200 || json.Unmarshal([]byte(body), &list) != nil {
		return []string{fmt.Sprint(status, " ", body)}
	}
	for _, u := range list.Users {
		ids = append(ids, u.ID)
	}
	slices.Sort(ids)
	return ids
}

// churn has others come and go until fn is done.
func (x *storm) churn(fn func()) {
	x.t.Helper()
	quit, errs := make(chan struct{}), make(chan error, 3)
	for worker := range 3 {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-quit:
					errs <- nil
					return
				default:
				}
				m, err := enroll(x.s, fmt.Sprintf("churn%d", (worker+n)%4), true)
				if err != nil {
					errs <- err
					return
				}
				if n%3 > 0 { // every third leaves before it is answered
					select {
					case <-m.in:
					case <-time.After(pushdtest.Timeout):
						m.Conn.Close()
						errs <- fmt.Errorf("%s was never answered", m.user)
						return
					}
				}
				m.Conn.Close()
			}
		}()
	}
	fn()
	close(quit)
	for range 3 {
		if err := <-errs; err != nil {
			x.t.Error(err)
		}
	}
}

// TestPresenceStorm: members stay while others come and go, the workers are
// replaced, and the broker process and then a worker are killed. Those who stay
// are never told that one of them came or went, until some really do.
func TestPresenceStorm(t *testing.T) {
	x := newStorm(t, 12)
	for _, m := range x.stay {
		m.heard("")
	}
	x.churn(func() {
		x.s.MustRun("reload")
		x.s.MustRun("reload")
	})
	x.calm("after two reloads everybody sees who is there, each told once")
	x.unmoved("the reloads")

	for _, m := range x.stay {
		m.forgive()
	}
	pid := x.s.Status().Broker.PID
	x.churn(func() {
		x.s.Kill(pid)
		x.awaitBroker(pid)
		<-x.enter(0, "stay99").in // the new keeper is at work
	})
	pushdtest.Eventually(t, "the others have left", func() bool {
		return slices.Equal(x.users(newBackend(t, x.s)), x.present())
	})
	x.stay[len(x.stay)-1].forgive()
	x.calm("after the broker was killed everybody sees who is there")
	x.unmoved("the death of the broker", "+stay99")
	x.killWorker()
}

// awaitBroker waits for another broker process than pid.
func (x *storm) awaitBroker(pid int) {
	pushdtest.Eventually(x.t, "a new broker process", func() bool {
		b := x.s.Status().Broker
		return b.PID != 0 && b.PID != pid
	})
}

// unmoved checks that those who stay heard nothing of each other, but for what
// is named.
func (x *storm) unmoved(by string, but ...string) {
	x.t.Helper()
	for _, m := range x.stay {
		if news := m.heard("stay"); len(news) > 0 && !slices.Equal(news, but) {
			x.t.Errorf("%s: %s was told %q", by, m.user, news)
		}
	}
}

// forgive takes those who do not stay out of the view: what is under way to a
// broker that is killed may be told twice, or not to all.
func (m *attendee) forgive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loose = true
	for id := range m.view {
		if strings.HasPrefix(id, "churn") {
			delete(m.view, id)
		}
	}
}

// killWorker kills one process; its members leave once, within the time that is
// promised.
func (x *storm) killWorker() {
	x.t.Helper()
	// Of two users of different processes each has a second connection in the
	// other one: both stay.
	<-x.enter(0, "stay12").in
	<-x.enter(1, "stay00").in
	before := x.present()
	began := time.Now()
	x.s.Kill(x.s.Status().Workers[0].PID)
	pushdtest.Eventually(x.t, "its connections have ended", func() bool {
		return !slices.ContainsFunc(x.stay, func(m *attendee) bool { return m.slot == 0 && !m.gone() })
	})
	x.calm("its members have left")
	if took := time.Since(began); took > 2*5*time.Second { // promised are 5 s, of a machine without other work
		x.t.Errorf("they left after %s", took)
	} else {
		x.t.Logf("the members of a killed worker left after %s", took.Round(time.Millisecond))
	}
	left := slices.DeleteFunc(before, func(u string) bool { return slices.Contains(x.present(), u) })
	if len(left) != 12 { // the others of slot 0, and stay99
		x.t.Errorf("%q have left", left)
	}
	for i := range left {
		left[i] = "-" + left[i]
	}
	for _, m := range x.stay {
		news := m.heard("stay")
		if slices.Sort(news); !m.gone() && !slices.Equal(news, left) {
			x.t.Errorf("%s was told %q, want %q", m.user, news, left)
		}
	}
}

// TestPresenceOfAThousand: a thousand join at once; each learns of each once.
func TestPresenceOfAThousand(t *testing.T) {
	const n = 1000
	x := &storm{t: t, s: pushdtest.Start(t, pushdtest.Options{Config: stormConfig})}
	for i := range n {
		m, err := enroll(x.s, fmt.Sprintf("u%04d", i), false)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Conn.Close()
		m.mu.Lock()
		m.later = true
		m.mu.Unlock()
		x.stay = append(x.stay, m)
	}
	began := time.Now()
	for _, m := range x.stay {
		if err := m.subscribe(); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	pushdtest.Eventually(t, "each learns of each", func() bool {
		for told < n && x.stay[told].complete(n) {
			told++
		}
		return told == n
	})
	t.Logf("%d members learned of each other in %s", n, time.Since(began).Round(time.Millisecond))
	for _, m := range x.stay {
		if err := m.reads(); err != nil {
			t.Fatal(err)
		}
	}
	x.calm("each is told of once")
}
