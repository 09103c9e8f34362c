package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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

// TestPresenceOverNodes: two daemons are one to their members and to webhooks,
// through a reload, a killed worker, a killed broker process, and the end of a
// machine.
func TestPresenceOverNodes(t *testing.T) {
	url := nats(t)
	hooks := &heard{}
	endpoint := httptest.NewServer(hooks)
	defer endpoint.Close()
	var s [2]*pushdtest.Server
	for i := range s {
		s[i] = pushdtest.Start(t, pushdtest.Options{
			Config: strings.Replace(config, "client_events", `webhooks = [ { url = "`+endpoint.URL+`" } ]`+"\nsubscription_count = true\nclient_events", 1),
			Env:    []string{"PUSHD_BROKER_URL=" + url, fmt.Sprintf("PUSHD_CLUSTER_NODE=n%d", i)},
		})
	}
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
		"subscription_count x  0", "subscription_count x  1", "subscription_count x  1", "subscription_count x  2",
	}
	pushdtest.Eventually(t, "webhooks are told", func() bool { return len(hooks.all()) >= len(want) })
	if got := hooks.all(); !slices.Equal(got, want) {
		t.Errorf("webhooks were told\n%q, want\n%q", got, want)
	}
}
