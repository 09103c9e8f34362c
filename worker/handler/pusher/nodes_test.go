package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest"
)

// nats is a server of somebody else, such as several machines share.
func nats(t testing.TB) (url string) {
	t.Helper()
	return natsServer(t, server.Options{}).ClientURL()
}

func natsServer(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.MaxPayload = "127.0.0.1", server.RANDOM_PORT, true, true, 2<<20
	ns, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(pushdtest.Timeout) {
		t.Fatal("NATS does not start")
	}
	return ns
}

// get asks the HTTP API.
func get(t testing.TB, s *pushdtest.Server, path string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// TestTwoNodes: two daemons of one config, but for name, folders and ports, on
// one NATS. What is counted is counted over both, whoever is asked.
func TestTwoNodes(t *testing.T) {
	url := nats(t)
	var s [2]*pushdtest.Server
	for i := range s {
		s[i] = pushdtest.Start(t, pushdtest.Options{
			Config: strings.Replace(config, "max_connections = 1", "max_connections = 3", 1),
			Env:    []string{"PUSHD_BROKER_URL=" + url, fmt.Sprintf("PUSHD_CLUSTER_NODE=n%d", i)},
		})
	}
	var clients []*pusher
	for _, s := range s {
		a, b := crowd(t, s)
		a.subscribe("news")
		b.subscribe("news")
		clients = append(clients, a, b)
	}
	publish := func(i int) (reached float64, complete bool) {
		t.Helper()
		status, answer := s[i].Post("/v1/publish", object{"app": appID, "event": "e", "channel": "news", "data": 1})
		if status != 200 {
			t.Fatalf("%d %v", status, answer)
		}
		for _, c := range clients {
			c.want("e", "news", "1")
		}
		return answer["reached"].(float64), answer["complete"].(bool)
	}
	for i := range s { // until the nodes have heard of each other
		pushdtest.Eventually(t, "all are counted", func() bool { n, whole := publish(i); return n == 4 && whole })
	}
	for n := range 10 {
		if reached, complete := publish(n % 2); complete && reached != 4 {
			t.Errorf("node %d: reached %v of 4 clients, complete", n%2, reached)
		}
		for at, c := range clients {
			for what, body := range map[string]object{
				"send": {"connection": c.id, "app": appID, "event": "x", "data": 1},
				"join": {"connection": c.id, "channel": "lobby"},
				"bind": {"connection": c.id, "uid": 7},
			} {
				status, answer := s[n%2].Post("/v1/"+what, body)
				if status == 404 || status == 200 && what == "send" && answer["complete"] == true && answer["online"] != true {
					t.Errorf("node %d, %s to client %d: %d %v", n%2, what, at, status, answer)
				}
			}
			c.want("x", "", "1")
		}
		if status, answer := get(t, s[n%2], "/v1/connections?channel=lobby"); status != 200 || answer["complete"] == true && len(answer["connections"].([]any)) != 4 {
			t.Errorf("node %d: %d %v", n%2, status, answer)
		}
	}

	// A key makes a message the history service's to publish: to all nodes.
	if status, answer := s[0].Post("/v1/publish", object{"app": appID, "event": "once", "channel": "news", "data": 1, "idempotency_key": "k"}); status != 200 || answer["reached"] != 4.0 {
		t.Errorf("a publish with a key: %d %v", status, answer)
	}
	for _, c := range clients {
		c.want("once", "news", "1")
	}

	// Each node tells its own members, once, and all see those of both.
	a, b := clients[0], clients[2]
	equal(t, a.enter("presence-r", "1"), "1")
	for i := range s {
		pushdtest.Eventually(t, "both nodes know the first", func() bool { return users(t, s[i], "presence-r") == 1 })
	}
	equal(t, b.enter("presence-r", "2"), "1", "2")
	a.added("presence-r", "2")
	a.quiet()
	b.quiet()
	newBackend(t, s[0]).want(200, "{}", "POST", "events", object{"name": "last", "channel": "cache-c", "data": "d"})
	for i, c := range []*pusher{a, b} {
		pushdtest.Eventually(t, "the last event is known", func() bool {
			code, got := newBackend(t, s[i]).do("GET", "channels/cache-c", nil, "info", "cache")
			return code == 200 && strings.Contains(got, `"data":"d"`)
		})
		c.ask("cache-c", "")
		c.want("pusher_internal:subscription_succeeded", "cache-c", "{}")
		c.want("last", "cache-c", "d")
	}
	newBackend(t, s[1]).want(200, "{}", "POST", "events", object{"name": "next", "channel": "cache-c", "data": "d"})
	for _, c := range []*pusher{a, b} {
		c.want("next", "cache-c", "d")
		c.quiet()
	}

	// An app's limit is one for both.
	full := [2]fullApp{{t: t, s: s[0]}, {t: t, s: s[1]}}
	in := 0
	for n := range 8 {
		if full[n%2].knock() {
			in++
		}
	}
	if in != 3 {
		t.Errorf("%d clients of an app with max_connections = 3 are let in", in)
	}

	// A kick finds its connection on the other node, and a user's on both.
	kick := func(i int, target object, gone ...*pusher) {
		t.Helper()
		target["code"], target["reason"] = 4200, "bye"
		status, answer := s[i].Post("/v1/kick", target)
		if n := float64(len(gone)); status != 200 || answer["closed"] != n && (answer["complete"] == true || answer["closed"].(float64) > n) {
			t.Errorf("node %d, kick %v: %d %v, want closed %v", i, target, status, answer, n)
		}
		for _, c := range gone {
			c.WantClose(4200)
		}
	}
	kick(0, object{"connection": clients[2].id}, clients[2])
	a.removed("presence-r", "2")
	kick(1, object{"connection": clients[0].id}, clients[0])
	kick(0, object{"connection": clients[0].id}) // of nobody any more
	kick(1, object{"uid": 7}, clients[1], clients[3])
	for i := range s {
		if log := s[i].Log(); !strings.Contains(log, "another node is here") {
			t.Errorf("node %d: %s", i, log)
		}
	}
}

// TestWhatIsLostIsRefused: the servers of the bus have just gone, which this node is to
// bridge for a second. A back end is not told meanwhile that something was done.
func TestWhatIsLostIsRefused(t *testing.T) {
	bus := natsServer(t, server.Options{})
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Env: []string{"PUSHD_BROKER_URL=" + bus.ClientURL(), "PUSHD_CLUSTER_NODE=n0"}})
	a := join(t, s, mainPath)
	a.subscribe("news")
	newBackend(t, s).trigger("e", "before", "news")
	a.want("e", "news", "before")
	bus.Shutdown()
	event := object{"name": "e", "channel": "news", "data": "d"}
	var all sync.WaitGroup
	for path, body := range map[string]any{
		"events":                        event,
		"batch_events":                  object{"batch": []object{event, event}},
		"channels/news/events":          "d",
		"users/7/terminate_connections": nil,
	} {
		b := newBackend(t, s)
		all.Go(func() {
			code, answer := b.do("POST", path, body, "name", "e")
			if code != 503 || b.lastHeaders.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s %v", path, code, answer, b.lastHeaders)
			}
		})
	}
	all.Wait()
	a.quiet()
}

// TestAFullHistoryIsSaid: JetStream has no room. Who publishes is told, a client too, and
// so is whoever watches; what no history keeps goes on.
func TestAFullHistoryIsSaid(t *testing.T) {
	bus := natsServer(t, server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 128 << 10})
	kept := "\n[history]\nstore = \"jetstream\"\nreplicas = 1\n[[channel]]\nmatch = \"private-kept\"\napp = \"main\"\nhistory = 100\n"
	s := pushdtest.Start(t, pushdtest.Options{Config: config + kept, Env: []string{"PUSHD_BROKER_URL=" + bus.ClientURL(), "PUSHD_CLUSTER_NODE=n0"}})
	a, b := crowd(t, s)
	for _, c := range []*pusher{a, b} {
		c.subscribe("private-kept")
		c.subscribe("private-other")
	}
	pushdtest.Eventually(t, "the history takes messages", func() bool {
		code, _ := newBackend(t, s).do("POST", "events", object{"name": "first", "channel": "private-kept", "data": "1"})
		return code == 200
	})
	a.want("first", "private-kept", "1")
	b.want("first", "private-kept", "1")
	a.send("client-x", "private-kept", object{})
	b.want("client-x", "private-kept", "{}")
	pushdtest.Eventually(t, "it is full", func() bool {
		code, answer := newBackend(t, s).do("POST", "events", object{"name": "fill", "channel": "private-kept", "data": strings.Repeat("x", 9000)})
		return code == 503 && strings.Contains(answer, "no room")
	})
	newBackend(t, s).trigger("full", "1", "private-other")
	for _, c := range []*pusher{a, b} {
		for c.next().Event != "full" {
		}
	}
	a.send("client-x", "private-kept", object{})
	if got := a.next(); got.Event != "pusher:error" || !strings.Contains(got.text(), "was not sent") {
		t.Errorf("the sender got %+v", got)
	}
	a.send("client-x", "private-other", object{})
	b.want("client-x", "private-other", "{}")
	if said := s.MustRun("status"); !strings.Contains(said, "history: away, so nothing can be published into channels with history: JetStream has no room") {
		t.Error(said)
	}
}
