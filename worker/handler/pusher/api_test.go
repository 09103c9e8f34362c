package pusher

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

// TestLocate: a path leads to one endpoint, whatever stands before it.
func TestLocate(t *testing.T) {
	for path, want := range map[string]target{
		"/apps/3/events":                                       {"", "3", "events", ""},
		"/apps/3/channels/presence-a":                          {"", "3", "channels/*", "presence-a"},
		"/in/apps/3/users/42/terminate_connections":            {"/in", "3", "users/*/terminate_connections", "42"},
		"/apps/apps/apps/apps/channels/users/users":            {"/apps/apps", "apps", "channels/*/users", "users"},
		"/apps/3/users/apps/terminate_connections":             {"", "3", "users/*/terminate_connections", "apps"},
		"/apps/x/apps/3/users/a/terminate_connections":         {"/apps/x", "3", "users/*/terminate_connections", "a"},
		"/in/apps/3/users/team/7/terminate_connections":        {"/in", "3", "users/*/terminate_connections", "team/7"},
		"/apps/apps/users//a//b//terminate_connections":        {"", "apps", "users/*/terminate_connections", "/a//b/"},
		"/apps/3/channels/#server-to-user-team/7/events":       {"", "3", "channels/*/events", "#server-to-user-team/7"},
		"/apps/x/users/apps/3/users/a/b/terminate_connections": {"/apps/x/users", "3", "users/*/terminate_connections", "a/b"},
	} {
		if got, _, ok := locate(path); !ok || got != want {
			t.Errorf("%s leads to %+v", path, got)
		}
	}
	for _, path := range []string{
		"", "/", "/apps", "/apps/", "/apps/3", "/apps/3/", "/apps//events", "/apps/3/events/", "/apps/3/channels/", "/apps/3/channels//users",
		"/apps/3/users/1", "/app/3/events", "/apps/3/EVENTS", "/apps/3/channels/a/b", "/apps//users/a/b/terminate_connections", "/apps/3/users/a/b/events",
	} {
		if got, _, ok := locate(path); ok {
			t.Errorf("%s leads to %+v", path, got)
		}
	}
}

// everywhere is locate as it is meant: it tries each "/apps/".
func everywhere(path string) (t target, ok bool) {
	for at := range path {
		if !strings.HasPrefix(path[at:], "/apps/") {
			continue
		}
		parts := strings.Split(path[at+len("/apps/"):], "/")
		t = target{prefix: path[:at], app: parts[0]}
		if len(parts) > 2 {
			t.arg, parts[2] = parts[2], "*"
		}
		t.path = strings.Join(parts[1:], "/")
		if _, ok = endpoints[t.path]; ok && t.app != "" && (len(parts) < 3 || t.arg != "") {
			return t, true
		}
	}
	for at := len(path); at >= 0; at-- { // a name with slashes
		rest, found := strings.CutPrefix(path[at:], "/apps/")
		parts := strings.Split(rest, "/")
		if last := len(parts) - 1; found && last > 2 && parts[0] != "" {
			t = target{path[:at], parts[0], parts[1] + "/*/" + parts[last], strings.Join(parts[2:last], "/")}
			if _, ok = endpoints[t.path]; ok && t.arg != "" {
				return t, true
			}
		}
	}
	return target{}, false
}

// TestLocateIsLinear: the work does not grow with what stands before.
func TestLocateIsLinear(t *testing.T) {
	for _, part := range []string{"/apps/", "/apps", "/", "/apps/a/channels/b/", "/apps/a/users/"} {
		allocs := func(n int) float64 {
			path := strings.Repeat(part, n/len(part)) + "x/terminate_connections"
			return testing.AllocsPerRun(10, func() { locate(path) })
		}
		if short, long := allocs(1<<10), allocs(8<<10); long > short || long > 12 {
			t.Errorf("%q: %.0f allocations for 1 KB, %.0f for 8 KB", part, short, long)
		}
	}
}

// FuzzLocate: it finds what trying everywhere finds, and takes no more memory for
// a path that is twice as long.
func FuzzLocate(f *testing.F) {
	for _, path := range []string{"/apps/3/events", "/x/apps/apps/apps/3/channels/apps/users", "/apps//apps/", "/apps/3/channels/a/b/c", "/apps/apps/users/a/b/terminate_connections", "/apps/3/channels/a/apps/b/users"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, _, ok := locate(path)
		if want, found := everywhere(path); ok != found || got != want {
			t.Fatalf("%q leads to %+v, want %+v", path, got, want)
		}
		if n := testing.AllocsPerRun(1, func() { locate(path + path) }); n > 12 {
			t.Fatalf("%q twice: %.0f allocations", path, n)
		}
	})
}

// TestTrigger: what is refused is refused with the documented status, and what
// is not arrives.
func TestTrigger(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	for _, p := range []*pusher{one, two} {
		p.subscribe("a")
		p.subscribe("private-b")
	}
	event := func(changes ...any) object {
		e := object{"name": "e", "data": "d", "channel": "a"}
		for i := 0; i < len(changes); i += 2 {
			if e[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
				delete(e, changes[i].(string))
			}
		}
		return e
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	for name, tc := range map[string]struct {
		status int
		body   any
	}{
		"one channel":        {200, event()},
		"channels":           {200, event("channel", nil, "channels", []string{"a"})},
		"twice the same":     {200, event("channel", nil, "channels", []string{"a", "a"})},
		"unknown field":      {200, event("extra", 1)},
		"null fields":        {200, event("socket_id", nil, "channels", nil, "info", nil)},
		"100 channels":       {200, event("channel", nil, "channels", append(many[:99:99], "a"))},
		"longest data":       {200, event("data", strings.Repeat("é", 5<<10))},
		"101 channels":       {400, event("channel", nil, "channels", many)},
		"101 times the same": {400, event("channel", nil, "channels", slices.Repeat([]string{"a"}, 101))},
		"no channel":         {400, event("channel", nil)},
		"no channels":        {400, event("channel", nil, "channels", []string{})},
		"channels of ints":   {400, event("channel", nil, "channels", []int{1})},
		"channel is a list":  {400, event("channel", []string{"a"})},
		"bad channel":        {400, event("channel", "a b")},
		"channel *":          {400, event("channel", "a*")},
		"channel of 165":     {400, event("channel", strings.Repeat("x", 165))},
		"colon":              {400, event("channel", "main:a")},
		"no name":            {400, event("name", nil)},
		"name of 201":        {400, event("name", strings.Repeat("x", 201))},
		"reserved name":      {400, event("name", "pusher:error")},
		"internal name":      {400, event("name", "pusher_internal:member_added")},
		"control in name":    {400, event("name", "a\x00")},
		"no data":            {400, event("data", nil)},
		"data is an object":  {400, event("data", object{})},
		"long data":          {413, event("data", strings.Repeat("x", 10<<10+1))},
		"socket_id":          {400, event("socket_id", "x")},
		"info is a list":     {400, event("info", []string{"user_count"})},
		"not JSON":           {400, "{"},
		"a list":             {400, "[]"},
		"null":               {400, "null"},
		"nothing":            {400, nil},
		"not UTF-8":          {400, `{"name":"e","channel":"a","data":"` + "\xff" + `"}`},
	} {
		code, answer := b.do("POST", "events", tc.body)
		if code != tc.status || code == 200 && answer != "{}" || code != 200 && !strings.Contains(answer, `"error"`) {
			t.Errorf("%s: %d %s, want %d", name, code, answer, tc.status)
		}
		if code == 200 && tc.status == 200 {
			one.want("e", "a", "*")
		}
	}
	one.quiet()
	drain(two)

	b.want(200, `{"channels":{"a":{"subscription_count":2},"nobody":{"subscription_count":0}}}`, "POST", "events",
		object{"name": "e", "data": "d", "channels": []string{"a", "nobody"}, "info": "subscription_count,user_count"})
	one.want("e", "a", "d")
	b.want(200, "{}", "POST", "batch_events", object{"batch": []object{
		event("name", "1"), event("name", "2", "socket_id", one.id), event("name", "3", "channel", "private-b")}})
	one.want("1", "a", "d")
	one.want("3", "private-b", "d")
	b.want(200, `{"batch":[{"subscription_count":2},{}]}`, "POST", "batch_events",
		object{"batch": []object{event("info", "subscription_count"), event()}})
	one.want("e", "a", "d")
	one.want("e", "a", "d")
	ten := make([]object, 10)
	for i := range ten {
		ten[i] = event("data", strings.Repeat("\"", 10<<10))
	}
	b.want(200, "{}", "POST", "batch_events", object{"batch": ten})
	for range ten {
		one.want("e", "a", "*")
	}
	for name, tc := range map[string]struct {
		status int
		body   any
	}{
		"eleven":     {400, object{"batch": append(ten, event())}},
		"one is bad": {400, object{"batch": []object{event(), event("name", nil)}}},
		"one is big": {413, object{"batch": []object{event(), event("data", strings.Repeat("x", 10<<10+1))}}},
		"no batch":   {400, object{}},
		"no list":    {400, object{"batch": object{}}},
	} {
		if code, answer := b.do("POST", "batch_events", tc.body); code != tc.status {
			t.Errorf("batch, %s: %d %s, want %d", name, code, answer, tc.status)
		}
	}
	one.quiet()
	b.want(202, "{}", "POST", "channels/a/events", "anything", "name", "old")
	one.want("old", "a", "anything")
}

// TestTriggerAllOrNone: what is answered with 503 has reached nobody, so that a
// back end may send it again.
func TestTriggerAllOrNone(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events", "max_event = 400000\nclient_events", 1) +
		"[worker.limits]\nmax_body = 1000000\n", Env: []string{"PUSHD_WATCHDOG=0"}}) // which would end who stands still
	b, p := newBackend(t, s), join(t, s, mainPath)
	p.subscribe("c0")
	p.subscribe("c99")
	all := make([]string, 100)
	for i := range all {
		all[i] = fmt.Sprint("c", i)
	}
	b.want(413, "*", "POST", "events", object{"name": "e", "data": strings.Repeat("x", 400000), "channels": all})
	broker := s.Status().Broker.PID
	if err := syscall.Kill(broker, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(broker, syscall.SIGCONT)
	sent := 0 // 25 MB each; the queue takes 64 MiB
	for {
		code, answer := b.do("POST", "events", object{"name": fmt.Sprint(sent), "data": strings.Repeat("x", 250000), "channels": all})
		if code == 503 {
			break
		}
		if sent++; code != 200 || sent > 20 {
			t.Fatalf("request %d: %d %s", sent, code, answer)
		}
	}
	if err := syscall.Kill(broker, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for i := range sent {
		p.want(fmt.Sprint(i), "c0", "*")
		p.want(fmt.Sprint(i), "c99", "*")
	}
	pushdtest.Eventually(t, "the broker takes events again", func() bool {
		code, _ := b.do("POST", "events", object{"name": "end", "data": "", "channels": []string{"c0"}})
		return code == 200
	})
	p.want("end", "c0", "") // nothing of the one that was refused
}

// TestTooLarge: max_event bounds the text, whose escapes may make it more than
// the bus takes. The body is an error that ends its line.
func TestTooLarge(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events", "max_event = 400000\nclient_events", 1) +
		"[worker.limits]\nmax_body = 4000000\n"})
	b, p := newBackend(t, s), join(t, s, mainPath)
	p.subscribe("a")
	for _, channel := range []string{"a", "cache-a"} {
		answer := b.want(413, "*", "POST", "events", object{"name": "e", "data": strings.Repeat("\x01", 300000), "channel": channel})
		if !strings.HasPrefix(answer, `{"error":"`) || !strings.HasSuffix(answer, "\"}\n") {
			t.Errorf("%s: %q", channel, answer)
		}
	}
	b.trigger("e", "small", "a")
	p.want("e", "a", "small")
}

// TestAppOfMachines: the machines' own API reaches an app's channels, and says
// when there is no such app, or the data is over its max_event.
func TestAppOfMachines(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	p.subscribe("a")
	post := func(app, data string) (int, object) {
		return s.Post("/v1/publish", object{"app": app, "event": "e", "channel": "a", "data": data})
	}
	if status, answer := post("nobody", "d"); status != 404 || answer["field"] != "app" {
		t.Errorf("an unknown app: %d %v", status, answer)
	}
	if status, answer := post(appID, strings.Repeat("x", 10<<10+1)); status != 413 || answer["field"] != "data" {
		t.Errorf("over max_event: %d %v", status, answer)
	}
	if status, answer := post(appID, "d"); status != 200 || answer["reached"] != 1.0 {
		t.Errorf("%d %v", status, answer)
	}
	p.want("e", "a", "d")
}

// drain reads what has come until a ping is answered.
func drain(p *pusher) {
	p.SendText(`{"event":"pusher:ping","data":{}}`)
	for p.next().Event != "pusher:pong" {
	}
}

// TestForgedRequests: whatever is wrong with a signature is 401, and nothing is
// done.
func TestForgedRequests(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	p.subscribe("a")
	body := object{"name": "e", "data": "d", "channel": "a"}
	for name, change := range map[string]func(*backend){
		"no signature":  func(b *backend) { b.spoil = func(_ url.Values, sig *string) { *sig = "" } },
		"cut":           func(b *backend) { b.spoil = func(_ url.Values, sig *string) { *sig = (*sig)[:63] } },
		"upper case":    func(b *backend) { b.spoil = func(_ url.Values, sig *string) { *sig = strings.ToUpper(*sig) } },
		"other secret":  func(b *backend) { b.secret = "x" },
		"no secret":     func(b *backend) { b.secret = "" },
		"other key":     func(b *backend) { b.key = "plain-key" },
		"unknown app":   func(b *backend) { b.id = "nobody" },
		"other app":     func(b *backend) { b.id = "plain" },
		"replayed":      func(b *backend) { b.now = func() time.Time { return time.Now().Add(-602 * time.Second) } },
		"of the future": func(b *backend) { b.now = func() time.Time { return time.Now().Add(602 * time.Second) } },
		"changed query": func(b *backend) { b.spoil = func(q url.Values, _ *string) { q.Set("info", "user_count") } },
		"changed body": func(b *backend) {
			b.spoil = func(q url.Values, sig *string) {
				q.Set("body_md5", strings.Repeat("0", 32))
				parsed, _ := wire.ParseQuery(q.Encode())
				*sig = wire.Sign(secret, wire.RequestText("POST", "/apps/main/events", parsed))
			}
		},
		"no md5": func(b *backend) {
			b.spoil = func(q url.Values, sig *string) {
				q.Del("body_md5")
				parsed, _ := wire.ParseQuery(q.Encode())
				*sig = wire.Sign(secret, wire.RequestText("POST", "/apps/main/events", parsed))
			}
		},
		"no timestamp": func(b *backend) {
			b.spoil = func(q url.Values, sig *string) {
				q.Del("auth_timestamp")
				parsed, _ := wire.ParseQuery(q.Encode())
				*sig = wire.Sign(secret, wire.RequestText("POST", "/apps/main/events", parsed))
			}
		},
		"other path": func(b *backend) {
			b.spoil = func(q url.Values, sig *string) {
				parsed, _ := wire.ParseQuery(q.Encode())
				*sig = wire.Sign(secret, wire.RequestText("POST", "/apps/main/batch_events", parsed))
			}
		},
	} {
		b := newBackend(t, s)
		change(b)
		code, answer := b.do("POST", "events", body)
		if code != http.StatusUnauthorized || !strings.Contains(answer, `"error"`) {
			t.Errorf("%s: %d %s", name, code, answer)
		}
	}
	p.quiet()
	b := newBackend(t, s)
	b.id, b.key, b.secret = "off", "off-key", "off-secret"
	b.want(403, "*", "POST", "events", body)
	b = newBackend(t, s)
	b.now = func() time.Time { return time.Now().Add(-590 * time.Second) }
	b.want(200, "{}", "POST", "events", body)
	p.want("e", "a", "d")
	b.base += "/in" // a prefix is not signed
	b.want(200, "{}", "POST", "events", body)
	p.want("e", "a", "d")
	if log := s.Log(); strings.Contains(log, secret) {
		t.Error("the log shows the secret")
	}
}

// TestPaths: other paths and methods.
func TestPaths(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	b.want(404, "*", "GET", "nothing", nil)
	b.want(404, "*", "POST", "events/", "{}")
	b.want(405, "*", "GET", "events", nil)
	if b.lastHeaders.Get("Allow") != "POST" {
		t.Errorf("405 allows %q", b.lastHeaders.Get("Allow"))
	}
	b.want(405, "*", "POST", "channels", "{}")
	b.want(400, "*", "POST", "users/"+strings.Repeat("x", 129)+"/terminate_connections", "{}")
	b.want(200, "{}", "POST", "users/a b;é/terminate_connections", "{}")
	for _, path := range []string{"users/team/7/terminate_connections", "users/team%2F7/terminate_connections"} { // as SDKs send it, and escaped
		p := join(t, s, mainPath)
		p.signin(`{"id":"team/7"}`)
		p.want("pusher:signin_success", "", "*")
		b.want(200, "{}", "POST", path, "{}")
		p.terminated()
	}
	b.headers = http.Header{"Content-Encoding": {"gzip"}}
	b.want(415, "*", "POST", "events", "\x1f\x8b")
	if b.lastHeaders.Get("Accept-Encoding") != "identity" {
		t.Errorf("415 accepts %q", b.lastHeaders.Get("Accept-Encoding"))
	}
	res, err := http.Get("http://" + addr(s) + "/app/" + appKey)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("GET of the WebSocket's path: %s", res.Status)
	}
}

// TestChannelLists: what is occupied, by how many, in both processes.
func TestChannelLists(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	b.want(200, `{"channels":{}}`, "GET", "channels", nil)
	b.want(200, `{"channels":{}}`, "GET", "channels", nil, "info", "user_count", "filter_by_prefix", "presence-")
	one, two := crowd(t, s)
	one.subscribe("a")
	two.subscribe("a")
	two.subscribe("private-b")
	one.signin(`{"id":"1"}`)
	one.want("pusher:signin_success", "", "*")
	one.send("pusher:subscribe", "", object{"channel": "#server-to-user-1"})
	one.want("pusher_internal:subscription_succeeded", "#server-to-user-1", "*")
	for range 2 {
		b.want(200, `{"channels":{"a":{},"private-b":{}}}`, "GET", "channels", nil)
		b.want(200, `{"channels":{"private-b":{"subscription_count":1}}}`, "GET", "channels", nil, "filter_by_prefix", "private-", "info", "subscription_count")
		b.want(200, `{"occupied":true,"subscription_count":2}`, "GET", "channels/a", nil, "info", "subscription_count")
		b.want(200, `{"occupied":true}`, "GET", "channels/a", nil)
		b.want(200, `{"occupied":false}`, "GET", "channels/nobody", nil, "info", "user_count")
		b.want(200, `{"occupied":true,"subscription_count":2}`, "GET", "channels/a/stats", nil)
		b.want(400, "*", "GET", "channels", nil, "info", "user_count")
		b.want(400, "*", "GET", "channels/a/users", nil)
		b.want(400, "*", "GET", "channels/a b", nil)
		s.MustRun("reload")
	}
	other := newBackend(t, s)
	other.id, other.key, other.secret = "plain", "plain-key", "plain-secret"
	other.want(200, `{"channels":{}}`, "GET", "channels", nil)
	one.send("pusher:unsubscribe", "", object{"channel": "a"})
	one.quiet()
	two.send("pusher:unsubscribe", "", object{"channel": "a"})
	two.quiet()
	b.want(200, `{"occupied":false}`, "GET", "channels/a", nil)
}
