package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// users is how many users a node counts in a presence channel, -1 while it does
// not know.
func users(t testing.TB, s *pushdtest.Server, channel string) int {
	t.Helper()
	code, got := newBackend(t, s).do("GET", "channels/"+channel, nil, "info", "user_count")
	var answer struct {
		Users *int `json:"user_count"`
	}
	if code != 200 || json.Unmarshal([]byte(got), &answer) != nil || answer.Users == nil {
		return -1
	}
	return *answer.Users
}

// heard collects what webhooks are told.
type heard struct {
	mu   sync.Mutex
	told []string
}

func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var batch struct{ Events []hook.Event }
	if json.NewDecoder(r.Body).Decode(&batch) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range batch.Events {
		if e.Name != "connected" && e.Name != "disconnected" {
			h.told = append(h.told, fmt.Sprintf("%s %s %s %d", e.Name, e.Channel, e.UserID, e.SubscriptionCount))
		}
	}
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(slices.Values(h.told))
}

// twoNodes starts two daemons of one cluster, and what their webhooks tell. which narrows
// the webhook, more is for the app.
func twoNodes(t *testing.T, which, more string) (s [2]*pushdtest.Server, hooks *heard) {
	t.Helper()
	url := nats(t)
	hooks = &heard{}
	endpoint := httptest.NewServer(hooks)
	t.Cleanup(endpoint.Close)
	for i := range s {
		s[i] = pushdtest.Start(t, pushdtest.Options{
			Config: strings.Replace(config, "client_events", `webhooks = [ { url = "`+endpoint.URL+`"`+which+` } ]`+"\n"+more+"client_events", 1),
			Env: []string{"PUSHD_BROKER_URL=" + url, fmt.Sprintf("PUSHD_CLUSTER_NODE=n%d", i),
				"PUSHD_WATCHDOG=0"}, // which would end who stands still
		})
	}
	return s, hooks
}

// TestLastEventsOnAllNodes: a node that was not there, or whose broker process was killed,
// has the last events of cache channels from the others, and its members wait for them.
func TestLastEventsOnAllNodes(t *testing.T) {
	s, _ := twoNodes(t, "", "")
	publish := func(text string) {
		newBackend(t, s[0]).want(200, "{}", "POST", "events", object{"name": "e", "channel": "cache-c", "data": text})
	}
	member := func(what, want string) {
		t.Helper()
		c := greeted(t, s[1].Dial(mainPath))
		defer c.Close()
		c.ask("cache-c", "")
		c.want("pusher_internal:subscription_succeeded", "cache-c", "{}")
		c.want("e", "cache-c", want)
		if code, got := newBackend(t, s[1]).do("GET", "channels/cache-c", nil, "info", "cache"); code != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", what, code, got)
		}
	}
	publish("one")
	pushdtest.Eventually(t, "both have it", func() bool {
		_, got := newBackend(t, s[1]).do("GET", "channels/cache-c", nil, "info", "cache")
		return strings.Contains(got, "one")
	})
	s[1].MustRun("stop")
	publish("two")
	s[1].MustRun("start", "-d")
	member("stopped meanwhile", "two")
	pid := s[1].Status().Broker.PID
	s[1].Kill(pid)
	pushdtest.Eventually(t, "another broker process", func() bool { now := s[1].Status().Broker.PID; return now != pid && now != 0 })
	member("killed", "two")
}

// TestPresenceOverNodes: two daemons are one to their members and to webhooks,
// through a reload, a killed worker, a killed broker process, and the end of a
// machine.
func TestPresenceOverNodes(t *testing.T) {
	s, hooks := twoNodes(t, "", "subscription_count = true\n")
	both := func(what string, n int) {
		t.Helper()
		for i := range s {
			pushdtest.Eventually(t, what, func() bool { return users(t, s[i], "presence-r") == n })
		}
	}
	a, a2 := crowd(t, s[0])
	b, b2 := crowd(t, s[1])
	equal(t, a.enter("presence-r", "1"), "1")
	both("both nodes know the first", 1)
	equal(t, b.enter("presence-r", "2"), "1", "2")
	a.added("presence-r", "2")
	equal(t, b2.enter("presence-r", "1"), "1", "2") // is here already
	both("there are two", 2)
	quiet := func() {
		t.Helper()
		both("there are two", 2)
		for _, c := range []*pusher{a, b, b2} {
			c.quiet()
		}
	}
	quiet()

	// Connections are counted over both, and each member is told.
	a2.subscribe("x")
	a2.want("pusher_internal:subscription_count", "x", `{"subscription_count":1}`)
	b2.subscribe("x")
	for _, c := range []*pusher{a2, b2} {
		c.want("pusher_internal:subscription_count", "x", `{"subscription_count":2}`)
	}

	pushdtest.Eventually(t, "webhooks know of x", func() bool { return slices.Contains(hooks.all(), "channel_occupied x  0") })

	s[0].MustRun("reload")
	quiet()
	s[1].MustRun("reload")
	quiet()
	for i := range s {
		broker := s[i].Status().Broker.PID
		s[i].Kill(broker)
		pushdtest.Eventually(t, "another broker process serves", func() bool { p := s[i].Status().Broker.PID; return p != 0 && p != broker })
		quiet()
	}
	b2.leave("presence-r") // its user is there by a still
	quiet()

	a2.leave("x")
	b2.want("pusher_internal:subscription_count", "x", `{"subscription_count":1}`)
	// The machine of a dies: its user leaves once.
	for _, p := range s[0].Processes() {
		s[0].Kill(p.PID)
	}
	b.removed("presence-r", "1")
	b.quiet()
	b.leave("presence-r")
	b2.leave("x")
	want := []string{
		"channel_occupied presence-r  0", "channel_occupied x  0", "channel_vacated presence-r  0", "channel_vacated x  0",
		"member_added presence-r 1 0", "member_added presence-r 2 0", "member_removed presence-r 1 0", "member_removed presence-r 2 0",
		"subscription_count x  0", "subscription_count x  1", "subscription_count x  2",
	}
	told := func() (all []string) { // counts are told at least once, since broker processes were killed
		for _, event := range hooks.all() {
			if !strings.HasPrefix(event, "subscription_count") || !slices.Contains(all, event) {
				all = append(all, event)
			}
		}
		return all
	}
	pushdtest.Eventually(t, "webhooks are told", func() bool { return len(told()) >= len(want) })
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("webhooks were told\n%q, want\n%q", got, want)
	}
}

// TestTerminateWithoutAKeeper: the connections of a user whom only presence channels know
// are closed on a node whose broker process does nothing, too.
func TestTerminateWithoutAKeeper(t *testing.T) {
	s, _ := twoNodes(t, "", "")
	one, two := crowd(t, s[0])
	three := join(t, s[1], mainPath)
	equal(t, one.enter("presence-r", "7"), "7")
	equal(t, three.enter("presence-r", "7"), "7")
	equal(t, two.enter("presence-r", "8"), "7", "8")
	one.added("presence-r", "8")
	broker := s[0].Status().Broker.PID
	if err := syscall.Kill(broker, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	newBackend(t, s[1]).want(200, "{}", "POST", "users/7/terminate_connections", "{}")
	one.terminated()
	if err := syscall.Kill(broker, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for three.next().Event != "pusher:error" { // maybe of 8 first
	}
	three.WantClose(4009)
	two.removed("presence-r", "7")
	two.quiet()
}

// TestWebhooksOverARestart: a user of a node that starts again, who is back on that
// node or on the other one, is there for webhooks too, and has never come twice.
func TestWebhooksOverARestart(t *testing.T) {
	s, hooks := twoNodes(t, `, events = ["member_added", "member_removed"]`, "")
	channels := []string{"presence-1", "presence-2", "presence-3", "presence-4"} // some fall to each node
	stays, x := join(t, s[0], mainPath), join(t, s[1], mainPath)
	for _, c := range channels {
		stays.enter(c, "o")
	}
	for _, c := range channels {
		pushdtest.Eventually(t, "the other node knows of it", func() bool { return users(t, s[1], c) == 1 })
		x.enter(c, "x")
	}
	is := func(what string, there bool) {
		t.Helper()
		for _, c := range channels {
			pushdtest.Eventually(t, what+" in "+c, func() bool { return hooks.last(t, c, "x") == there })
		}
	}
	is("x is there", true)
	for i, back := range []int{1, 0} {
		s[1].MustRun("restart", "-d")
		x = join(t, s[back], mainPath)
		for _, c := range channels {
			x.enter(c, "x")
		}
		z, name := join(t, s[0], mainPath), fmt.Sprint("z", i)
		z.enter("presence-z", name)
		pushdtest.Eventually(t, "webhooks hear of another one", func() bool { return hooks.last(t, "presence-z", name) })
		z.leave("presence-z") // later than x, who is back
		pushdtest.Eventually(t, "and of its end", func() bool { return !hooks.last(t, "presence-z", name) })
		is("x is back", true)
	}
	x.Close()
	is("x is gone", false)
}

// last is what webhooks were told last of a user; of nothing they are told twice.
func (h *heard) last(t testing.TB, channel, user string) (there bool) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.told {
		for event, is := range map[string]bool{"member_added": true, "member_removed": false} {
			if e != fmt.Sprintf("%s %s %s 0", event, channel, user) {
				continue
			}
			if is == there {
				t.Fatalf("webhooks were told twice: %q", h.told)
			}
			there = is
		}
	}
	return there
}
