package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// TestServerSDKs makes every call of the server SDKs, before and after a reload,
// with clients that look at every byte.
func TestServerSDKs(t *testing.T) {
	t.Parallel()
	dir := sdk(t)
	for _, x := range []struct{ name, program, file string }{
		{"node", "node", filepath.Join(dir, "server.mjs")},
		{"go", buildSDK(t, dir), ""},
		{"php", "php", filepath.Join(dir, "php/server.php")},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := startApps(t)
			back := newBackEnd(t, s, x.program, x.file)
			c := &calls{backEnd: back, s: s, sdk: x.name}
			c.connect()
			c.all(1)
			moved(t, s, 2)
			c.all(2)
			c.terminate()
			c.webhooks()
		})
	}
}

// buildSDK builds the program of pusher-http-go, which is a module of its own.
func buildSDK(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "sdk")
	c := exec.Command("go", "build", "-o", out, ".")
	c.Dir = filepath.Join(dir, "go")
	c.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return out
}

// calls are those of one SDK, with two clients that listen.
type calls struct {
	*backEnd
	s        *pushdtest.Server
	sdk      string
	ann, bob *listener
}

// listener is a client of the protocol without an SDK.
type listener struct {
	*pushdtest.Client
	t  *testing.T
	id string // socket_id
}

type said struct {
	Event, Channel, Data string
	UserID               string `json:"user_id"`
}

// next reads the next frame, leaving out counts of subscribers, which may be late.
func (l *listener) next() (f said) {
	l.t.Helper()
	for {
		_, raw := l.Read()
		f = said{}
		if err := json.Unmarshal(raw, &f); err != nil {
			l.t.Fatalf("%s: %v", raw, err)
		}
		if f.Event != "pusher_internal:subscription_count" {
			return f
		}
	}
}

func (l *listener) want(event, channel, data string) {
	l.t.Helper()
	f := l.next()
	if f.Event != event || f.Channel != channel || data != "*" && f.Data != data {
		l.t.Fatalf("got %+v, want %s on %s with %s", f, event, channel, data)
	}
}

func (l *listener) say(event string, data any) {
	l.t.Helper()
	raw, err := json.Marshal(map[string]any{"event": event, "data": data})
	must(l.t, err)
	l.SendText(string(raw))
}

func (c *calls) listen() *listener {
	c.t.Helper()
	l := &listener{Client: c.s.Dial("/app/" + sdkKey + "?protocol=7&client=test&version=1"), t: c.t}
	var hello struct {
		SocketID string `json:"socket_id"`
	}
	must(c.t, json.Unmarshal([]byte(l.next().Data), &hello))
	l.id = hello.SocketID
	return l
}

// connect brings in two clients with the signatures that the SDK makes.
func (c *calls) connect() {
	c.t.Helper()
	for _, u := range []struct {
		name string
		l    **listener
	}{{"ann", &c.ann}, {"bob", &c.bob}} {
		l := c.listen()
		*u.l = l
		l.say("pusher:signin", c.ok("authenticateUser", "socket_id", l.id, "user", u.name))
		l.want("pusher:signin_success", "", "*")
		l.say("pusher:subscribe", map[string]any{"channel": "#server-to-user-" + u.name, "auth": ""})
		l.want("pusher_internal:subscription_succeeded", "#server-to-user-"+u.name, "{}")
		l.say("pusher:subscribe", map[string]any{"channel": "news"})
		l.want("pusher_internal:subscription_succeeded", "news", "{}")
		l.say("pusher:subscribe", with(c.ok("authorizeChannel", "socket_id", l.id, "channel", "private-orders"), "private-orders"))
		l.want("pusher_internal:subscription_succeeded", "private-orders", "{}")
		l.say("pusher:subscribe", with(c.ok("authorizePresenceChannel", "socket_id", l.id, "channel", "presence-room", "user", u.name, "name", "N"), "presence-room"))
		l.want("pusher_internal:subscription_succeeded", "presence-room", "*")
	}
	c.ann.want("pusher_internal:member_added", "presence-room", `{"user_id":"bob","user_info":{"name":"N"}}`)
}

// with adds the channel to what an auth endpoint answers.
func with(auth any, channel string) any {
	m, _ := auth.(map[string]any)
	m["channel"] = channel
	return m
}

// all makes the calls that leave the connections as they are.
func (c *calls) all(n int) {
	c.t.Helper()
	data := fmt.Sprintf(`{"n":%d}`, n)
	value := map[string]any{"n": n}
	c.ok("trigger", "channels", []string{"news"}, "event", "one", "data", value)
	c.ok("trigger", "channels", []string{"private-orders", "news", "presence-room"}, "event", "three", "data", value)
	c.ok("trigger", "channels", []string{"news"}, "event", "others", "data", value, "socket_id", c.bob.id)
	c.ok("triggerBatch", "batch", []any{
		map[string]any{"channel": "news", "name": "b1", "data": value},
		map[string]any{"channel": "private-orders", "name": "b2", "data": value},
	})
	c.ok("sendToUser", "user", "bob", "event", "mail", "data", value)
	for _, l := range []*listener{c.ann, c.bob} {
		got := map[string]int{}
		for want := c.wanted(l); len(got) < len(want); {
			f := l.next()
			what := f.Event + " " + f.Channel
			if got[what]++; got[what] > 1 || f.Data != data || !slices.Contains(want, what) {
				c.t.Fatalf("%s got %+v, after %v", l.id, f, got)
			}
		}
	}
	c.want(`{"channels":{"news":{"subscription_count":2},"presence-room":{"subscription_count":2,"user_count":2}}}`,
		"trigger", "channels", []string{"news", "presence-room"}, "event", "one", "data", value, "info", "user_count,subscription_count")
	for _, l := range []*listener{c.ann, c.bob} {
		first := l.next()
		second := l.next()
		if first.Event != "one" || second.Event != "one" || first.Channel == second.Channel {
			c.t.Fatalf("got %+v and %+v", first, second)
		}
	}
	c.ask()
}

// wanted are the events of all for one listener.
func (c *calls) wanted(l *listener) []string {
	want := []string{"one news", "three private-orders", "three news", "three presence-room", "b1 news", "b2 private-orders"}
	if l == c.bob {
		return append(want, "mail #server-to-user-bob")
	}
	return append(want, "others news")
}

// ask makes the calls that ask for something.
func (c *calls) ask() {
	c.t.Helper()
	c.want(`{"channels":{"presence-room":{"user_count":2}}}`, "getChannels", "prefix", "presence-", "info", "user_count")
	room := `{"occupied":true,"subscription_count":2,"user_count":2}`
	if c.sdk == "go" { // its own words
		room = `{"Name":"presence-room","occupied":true,"subscription_count":2,"user_count":2}`
	}
	c.want(room, "getChannelInfo", "channel", "presence-room", "info", "user_count,subscription_count")
	users, _ := c.ok("getPresenceUsers", "channel", "presence-room").(map[string]any)
	list, err := json.Marshal(users["users"])
	must(c.t, err)
	if got := string(list); got != `[{"id":"ann"},{"id":"bob"}]` && got != `[{"id":"bob"},{"id":"ann"}]` {
		c.t.Errorf("getPresenceUsers answers %s", got)
	}
	c.refused("", "getPresenceUsers", "channel", "news")
	c.refused("", "getChannels", "prefix", "", "info", "user_count")
}

// terminate ends a user's connections and nobody else's; pusher-http-go has no
// call for it.
func (c *calls) terminate() {
	c.t.Helper()
	if c.sdk == "go" {
		return
	}
	c.want(`{}`, "terminateUserConnections", "user", "bob")
	for {
		op, payload, err := c.bob.Next(patience)
		if err != nil {
			c.t.Fatalf("bob's connection ends with %v", err)
		}
		if op == pushdtest.OpClose {
			if code := int(payload[0])<<8 | int(payload[1]); code != 4009 {
				c.t.Errorf("bob's connection ends with %d", code)
			}
			c.bob.Conn.Close()
			break
		}
	}
	c.ann.want("pusher_internal:member_removed", "presence-room", `{"user_id":"bob"}`)
}

// webhooks are checked by the SDK, and forgeries found.
func (c *calls) webhooks() {
	c.t.Helper()
	body := `{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"},{"name":"connected","channel":"","socket_id":"1.2","seq":1}]}`
	signature := hook.Sign(sdkSecret, []byte(body))
	c.want(`{"events":["channel_occupied","connected"],"valid":true}`, "webhook", "key", sdkKey, "signature", signature, "body", body)
	c.want(`{"events":[],"valid":false}`, "webhook", "key", sdkKey, "signature", signature, "body", strings.Replace(body, "my", "your", 1))
}

// The requests of the PHP program are what Pusher has published of them.
func TestPHPSignsAsPublished(t *testing.T) {
	bin, err := exec.LookPath("php")
	if err != nil {
		t.Fatal("php is not installed: run make deps")
	}
	for _, x := range []struct{ method, path, query, want string }{
		{"POST", "/apps/3/events", `{"body_md5":"ec365a775a4cd0599faeb73354201b6f"}`, "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
		{"GET", "/apps/3/channels", `{"filter_by_prefix":"presence-","info":"user_count"}`, "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291"},
		{"POST", "/apps/3/users/42/terminate_connections", `{"body_md5":"99914b932bd37a50b983c5e7c90ae93b"}`, "2829710742ff5f799010258297d09016e2366257e3e954039eeda349073a2bcf"},
	} {
		c := exec.Command(bin, "testdata/sdk/php/server.php")
		c.Env = append(os.Environ(), "APP_ID=3", "APP_KEY="+sdkKey, "APP_SECRET="+sdkSecret, "PORT=1")
		c.Stdin = strings.NewReader(fmt.Sprintf(`{"call":"sign","method":%q,"path":%q,"query":%s,"time":"1353088179"}`+"\n", x.method, x.path, x.query))
		out, err := c.CombinedOutput()
		if want := fmt.Sprintf("{\"answer\":%q}\n", x.want); err != nil || string(out) != want {
			t.Errorf("%s %s: %v\n%swant\n%s", x.method, x.path, err, out, want)
		}
	}
}
