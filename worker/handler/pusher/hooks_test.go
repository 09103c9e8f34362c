package pusher

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// TestHooks: the app's back end learns what its clients do, signed.
func TestHooks(t *testing.T) {
	var mu sync.Mutex
	var events []hook.Event
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Pusher-Key") != appKey || !wire.Verify(secret, string(body), r.Header.Get("X-Pusher-Signature")) {
			t.Errorf("webhook with %v: %s, %v", r.Header, body, err)
		}
		var batch struct{ Events []hook.Event }
		if err := json.Unmarshal(body, &batch); err != nil {
			t.Errorf("webhook %s: %v", body, err)
		}
		mu.Lock()
		events = append(events, batch.Events...)
		mu.Unlock()
	}))
	defer endpoint.Close()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events",
		`webhooks = [ { url = "`+endpoint.URL+`" } ]`+"\nclient_events", 1)})
	one, two := crowd(t, s)
	one.subscribe("private-a")
	two.subscribe("private-a")
	one.signin(`{"id":"7"}`)
	one.want("pusher:signin_success", "", "*")
	one.enter("presence-room", "7")
	two.subscribe("cache-a")
	two.want("pusher:cache_miss", "cache-a", "")
	one.send("client-x", "private-a", object{"a": 1})
	two.want("client-x", "private-a", `{"a":1}`)
	s.MustRun("reload")
	one.Close()
	for name, want := range map[string]hook.Event{
		"connected":        {SocketID: one.id, Seq: 1},
		"channel_occupied": {Channel: "private-a"},
		"client_event":     {Channel: "private-a", Event: "client-x", Data: `{"a":1}`, SocketID: one.id},
		"member_added":     {Channel: "presence-room", UserID: "7"},
		"cache_miss":       {Channel: "cache-a"},
		"disconnected":     {SocketID: one.id, Seq: 2, UserID: "7", Code: 1000},
		"member_removed":   {Channel: "presence-room", UserID: "7"},
		"channel_vacated":  {Channel: "presence-room"},
	} {
		want.Name = name
		pushdtest.Eventually(t, name, func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for _, e := range events {
				if name == "connected" || name == "disconnected" {
					if e.Name == name && e.TimeMS == 0 {
						t.Fatalf("%+v has no time", e)
					}
					e.TimeMS = 0
				}
				if e == want {
					n++
				}
			}
			if n > 1 {
				t.Fatalf("%+v came %d times", want, n)
			}
			return n == 1
		})
	}
	two.quiet()
	if strings.Contains(s.Log(), secret) {
		t.Error("the log shows the secret")
	}
}
