package mercure_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/protocol/sse"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const (
	secret = "correct horse battery staple"
	issuer = "http://localhost"
	hub    = "/.well-known/mercure"
	prefix = "https://laravel.alt/echo/"

	// config is one page on SSE and one on WebSocket.
	config = `
[[app]]
id = "my-app"
key = "my-key"
secret = "0123456789abcdef"
mercure = true
client_events = true

[[worker]]
listen = "http://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/app/{key}" = { handler = "pusher", origins = ["*"] }
"/apps/*" = "pusher"
"/.well-known/mercure" = { handler = "mercure", options = { hub = "http://localhost/.well-known/mercure", issuer = "http://localhost", secret = "correct horse battery staple", app = "my-app", subscriptions = true, anonymous = true } }
"/.well-known/mercure/*" = { handler = "mercure", options = { hub = "http://localhost/.well-known/mercure", issuer = "http://localhost", secret = "correct horse battery staple", app = "my-app", subscriptions = true, anonymous = true } }
`
)

// topic is the one of a channel, as Laravel writes it.
func topic(channel string) string {
	return prefix + "channel/" + strings.ReplaceAll(url.QueryEscape(channel), "+", "%20")
}

// token is what symfony/mercure makes for Laravel: claims of RFC 9068, HS256.
func token(t testing.TB, details ...map[string]any) string {
	t.Helper()
	now := time.Now()
	tok := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": issuer, "aud": "http://localhost" + hub, "sub": "7", "client_id": "Laravel", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": "x",
		"authorization_details": details,
	})
	tok.Header["typ"] = "at+jwt"
	raw, err := tok.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func grant(actions []string, topics ...string) map[string]any {
	var list []map[string]string
	for _, s := range topics {
		m := map[string]string{"match": s}
		if strings.HasPrefix(s, "/") {
			m["match_type"] = "urlpattern"
		}
		list = append(list, m)
	}
	return map[string]any{"type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": list}
}

// page is a client as a browser's EventSource is one: it comes back by itself,
// with the id that it had last.
type page struct {
	t      testing.TB
	cancel context.CancelFunc

	mu     sync.Mutex
	data   []sse.Event
	opened int
	closed int
	last   string
}

func open(t testing.TB, s *pushdtest.Server, query, cookie string) *page {
	ctx, cancel := context.WithCancel(context.Background())
	p := &page{t: t, cancel: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			p.stream(ctx, s, query, cookie)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	p.await("it is open", func() bool { return p.opened > 0 })
	return p
}

func (p *page) stream(ctx context.Context, s *pushdtest.Server, query, cookie string) {
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s?%s", s.Port, hub, query), nil)
	r.Host = "localhost"
	if cookie != "" {
		r.Header.Set("Cookie", "mercure_access_token="+cookie)
	}
	p.mu.Lock()
	if p.last != "" {
		r.Header.Set("Last-Event-ID", p.last)
	}
	p.mu.Unlock()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return
	}
	reader := sse.NewReader(answer.Body, 1<<20)
	for {
		e, err := reader.Next()
		p.mu.Lock()
		if err != nil {
			p.closed++
			p.mu.Unlock()
			return
		}
		if e.ID != "" {
			p.last = e.ID
			if e.Data == nil {
				p.opened++ // it has joined
			}
		}
		if e.Data != nil {
			p.data = append(p.data, e)
		}
		p.mu.Unlock()
	}
}

func (p *page) await(what string, ok func() bool) {
	p.t.Helper()
	pushdtest.Eventually(p.t, what, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return ok()
	})
}

// texts are the data of what has come, but for the hub's own.
func (p *page) texts() (list []string) {
	for _, e := range p.data {
		if e.Type == "" {
			list = append(list, string(e.Data))
		}
	}
	return list
}

// publish sends what symfony/mercure's Hub does for a Laravel broadcast: its
// fields in their order, values by urlencode().
func publish(t testing.TB, s *pushdtest.Server, raw string, private bool, data string, topics ...string) (int, string) {
	t.Helper()
	form := ""
	for _, name := range topics {
		form += "topic=" + url.QueryEscape(name) + "&"
	}
	form += "data=" + url.QueryEscape(data)
	if private {
		form += "&private=on"
	}
	r, _ := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", s.Port, hub), strings.NewReader(form))
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+raw)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}

// must publishes until it is taken: a back end tries again.
func must(t testing.TB, s *pushdtest.Server, raw string, data string, topics ...string) (id string) {
	t.Helper()
	pushdtest.Eventually(t, "the hub takes "+data, func() bool {
		status, body := publish(t, s, raw, true, data, topics...)
		if id = body; status != 200 && status != 503 && status != 0 {
			t.Fatalf("publish: %d %s", status, body)
		}
		return status == 200
	})
	return id
}

// trigger sends an event as a back end of Pusher's does.
func trigger(t testing.TB, s *pushdtest.Server, body string) {
	t.Helper()
	const path = "/apps/my-app/events"
	query := fmt.Sprintf("auth_key=my-key&auth_timestamp=%d&auth_version=1.0&body_md5=%x", time.Now().Unix(), md5.Sum([]byte(body)))
	query += "&auth_signature=" + pusher.Sign("0123456789abcdef", "POST\n"+path+"\n"+query)
	answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d%s?%s", s.Port, path, query), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if b, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 {
		t.Fatalf("trigger: %d %s", answer.StatusCode, b)
	}
}

// One room: a page on SSE as Echo's connector has it, one on WebSocket as pusher-js
// has it, and events from either side's back end.
func TestOneRoom(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	raw := token(t, grant([]string{"publish"}, "*"))
	one := open(t, s, "match="+url.QueryEscape(topic("chat")), "")
	ws := s.Dial("/app/my-key?protocol=7")
	_, hello := ws.Read()
	var established struct{ Data string }
	var socket struct {
		ID string `json:"socket_id"`
	}
	if json.Unmarshal(hello, &established) != nil || json.Unmarshal([]byte(established.Data), &socket) != nil {
		t.Fatalf("%s", hello)
	}
	ws.SendText(`{"event":"pusher:subscribe","data":{"channel":"chat"}}`)
	_, _ = ws.Read()
	status, id := publish(t, s, raw, false, `{"channels":["chat"],"event":"App\\Events\\Said","payload":{"text":"hi"}}`, topic("chat"))
	if status != 200 || !strings.HasPrefix(id, "#") {
		t.Fatalf("%d %q", status, id)
	}
	// What is more than an event of the app may be goes to nobody.
	large := fmt.Sprintf(`{"channels":["chat"],"event":"e","payload":"%s"}`, strings.Repeat("x", 10<<10))
	if status, answer := publish(t, s, raw, false, large, topic("chat")); status != 413 || !strings.Contains(answer, "max_event") {
		t.Errorf("over max_event: %d %s", status, answer)
	}
	_, frame := ws.Read()
	var said struct{ Event, Channel, Data string }
	if json.Unmarshal(frame, &said) != nil || said.Event != `App\Events\Said` || said.Channel != "chat" || said.Data != `{"text":"hi"}` {
		t.Errorf("the page on WebSocket got %s", frame)
	}
	trigger(t, s, `{"name":"said","channels":["chat"],"data":"{\"text\":\"ho\"}"}`)
	if _, frame := ws.Read(); !strings.Contains(string(frame), `"event":"said"`) {
		t.Errorf("the page on WebSocket got %s", frame)
	}
	one.await("both events", func() bool { return len(one.texts()) == 2 })
	if got := one.texts()[1]; got != `{"channels":["chat"],"event":"said","payload":{"text":"ho"}}` {
		t.Errorf("the page on SSE got %s", got)
	}
	if got := one.texts()[0]; got != `{"channels":["chat"],"event":"App\\Events\\Said","payload":{"text":"hi"}}` {
		t.Errorf("the page on SSE got %s", got)
	}
	// What clients say to each other: from the hub, by the cookie's grant, and to it.
	whisper := prefix + "whisper/private-room"
	member := open(t, s, "match="+url.QueryEscape(whisper), token(t, grant([]string{"subscribe", "publish"}, whisper)))
	ws.SendText(fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"private-room","auth":"my-key:%s"}}`, pusher.Sign("0123456789abcdef", socket.ID+":private-room")))
	if _, frame := ws.Read(); !strings.Contains(string(frame), "subscription_succeeded") {
		t.Fatalf("%s", frame)
	}
	const typing = `{"channels":["private-room"],"event":"client-typing","payload":{"who":"ann"},"socket":"echo"}`
	if status, body := publish(t, s, token(t, grant([]string{"publish"}, whisper)), true, typing, whisper); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if _, frame := ws.Read(); string(frame) != `{"event":"client-typing","channel":"private-room","data":{"who":"ann"}}` {
		t.Errorf("the page on WebSocket got %s", frame)
	}
	ws.SendText(`{"event":"client-typing","channel":"private-room","data":{"who":"bob"}}`)
	member.await("both whispers", func() bool { return len(member.texts()) == 2 })
	if got := member.texts(); got[0] != typing || got[1] != fmt.Sprintf(`{"channels":["private-room"],"event":"client-typing","payload":{"who":"bob"},"socket":%q}`, socket.ID) {
		t.Errorf("the page on SSE got %q", got)
	}
	if one.data[0].ID != id {
		t.Errorf("id %q, the publisher was told %q", one.data[0].ID, id)
	}
}

// Nothing is lost and nothing repeated: through reloads, in which no stream is cut,
// a killed worker and a killed broker process, whose events are there on return.
func TestNothingIsLost(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config + "\n[history]\nstore = \"disk\"\n"})
	raw := token(t, grant([]string{"publish"}, "*"))
	reader := token(t, grant([]string{"subscribe"}, topic("private-room")))
	var pages []*page
	for range 6 {
		pages = append(pages, open(t, s, "match="+url.QueryEscape(topic("private-room")), reader))
	}
	stranger := open(t, s, "match=*", "")
	n := 0
	say := func(k int) {
		t.Helper()
		for range k {
			must(t, s, raw, fmt.Sprintf("%d", n), topic("private-room"))
			n++
		}
	}
	all := func(what string) {
		t.Helper()
		for _, p := range pages {
			p.await(what, func() bool { return len(p.texts()) >= n })
			for i, text := range p.texts() {
				if text != fmt.Sprint(i) {
					t.Fatalf("%s: event %d is %q of %v", what, i, text, p.texts())
				}
			}
		}
	}
	say(3)
	s.MustRun("reload")
	say(3)
	all("after a reload")
	for _, p := range pages {
		if p.closed != 0 || p.opened != 1 {
			t.Errorf("a reload has cut a stream: %d times closed, %d opened", p.closed, p.opened)
		}
	}
	s.Kill(s.Status().Workers[0].PID)
	say(3)
	all("after a killed worker")
	s.Kill(s.Status().Broker.PID)
	say(3)
	all("after a killed broker process")
	if len(stranger.texts()) != 0 {
		t.Errorf("a stranger has read %v", stranger.texts())
	}
}

// returned is a stream of one that has come back.
type returned struct {
	field string // Mercure-Last-Event-ID
	*sse.Reader
}

// resume opens a stream as a client that has an event's id, in the query or the header.
func resume(t testing.TB, s *pushdtest.Server, query, header, reader string) *returned {
	t.Helper()
	r, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s?match=secret&%s", s.Port, hub, query), nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+reader)
	if header != "" {
		r.Header.Set("Last-Event-ID", header)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != 200 {
		t.Errorf("%s: %d", query, answer.StatusCode)
	}
	return &returned{answer.Header.Get("Mercure-Last-Event-ID"), sse.NewReader(answer.Body, 1<<20)}
}

// texts reads the data of n events.
func (r *returned) texts(t testing.TB, n int) (list []string) {
	t.Helper()
	for len(list) < n {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Data != nil {
			list = append(list, string(e.Data))
		}
	}
	return list
}

// Section "Reconnection, State Reconciliation, and Event Sourcing": the response
// field, the parameter for those who can set no header, and what is not known.
func TestReconnection(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Env: []string{"PUSHD_WATCHDOG=0s"}})
	raw := token(t, grant([]string{"publish"}, "*"))
	var ids []string
	for i := range 4 {
		ids = append(ids, must(t, s, raw, fmt.Sprint(i), "secret"))
	}
	reader := token(t, grant([]string{"subscribe"}, "secret"))
	broker := s.Status().Broker.PID
	for _, c := range []struct {
		query, header, field, first string
		slow                        bool // the broker process answers after the header
	}{
		{"last_event_id=" + url.QueryEscape(ids[1]), "", ids[1], "2", false},
		{"last_event_id=" + url.QueryEscape(ids[0]), ids[2], ids[2], "3", false}, // the header goes first
		{"last_event_id=earliest", "", "earliest", "0", false},
		{"last_event_id=urn:uuid:unknown", "", "earliest", "0", false},
		{"last_event_id=%00", "", "earliest", "0", false},
		{"last_event_id=" + url.QueryEscape(ids[2]+"000"), "", "earliest", "0", false}, // nobody has given it
		{"last_event_id=" + url.QueryEscape(ids[1]), "", ids[1], "2", true},
		{"last_event_id=" + url.QueryEscape(ids[1]+"000"), "", ids[1] + "000", `{"reason":"future"}`, true}, // then it is told
		{"last_event_id=earliest", "", "earliest", "0", true},
	} {
		if c.slow {
			pushdtest.Freeze(t, broker)
		}
		p := resume(t, s, c.query, c.header, reader)
		if c.slow {
			_ = syscall.Kill(broker, syscall.SIGCONT)
		}
		if p.field != c.field {
			t.Errorf("%s: Mercure-Last-Event-ID %q, want %q", c.query, p.field, c.field)
		}
		if got := p.texts(t, 1)[0]; got != c.first {
			t.Errorf("%s: first %q, want %q", c.query, got, c.first)
		}
	}
	// what is private stays so on return
	stranger := open(t, s, "match=*&last_event_id=earliest", "")
	must(t, s, raw, "4", "secret")
	if status, _ := publish(t, s, raw, false, "public", "other"); status != 200 {
		t.Fatal(status)
	}
	stranger.await("what is public", func() bool { return len(stranger.texts()) > 0 })
	if got := stranger.texts(); len(got) != 1 || got[0] != "public" {
		t.Errorf("a stranger has read %q", got)
	}
}

// Who was away while a busy hub has said much more than his queue holds gets what is
// for him, whole and in order.
func TestBusyHub(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	raw := token(t, grant([]string{"publish"}, "*"))
	first := must(t, s, raw, "0", "mine")
	filler := strings.Repeat("x", 100<<10)
	n := 1
	for ; n < 20; n++ { // 2 MiB; max_queue is 1 MiB
		must(t, s, raw, filler, "theirs")
		must(t, s, raw, fmt.Sprint(n), "mine")
	}
	p := open(t, s, "match=mine&last_event_id="+url.QueryEscape(first), token(t, grant([]string{"subscribe"}, "mine")))
	must(t, s, raw, fmt.Sprint(n), "mine")
	p.await("all of it", func() bool { return len(p.texts()) >= n })
	for i, text := range p.texts() {
		if text != fmt.Sprint(i+1) {
			t.Fatalf("event %d is %q", i+1, text)
		}
	}
}

// Presence as Echo's connector makes it of subscriptions: events and a snapshot, in
// all processes.
func TestPresence(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	room := topic("presence-room")
	escaped := strings.ReplaceAll(url.QueryEscape(room), "+", "%20")
	member := func(name string) (*page, string) {
		d := grant([]string{"subscribe"}, room, hub+"/subscriptions/:match_type/"+escaped+"{/:subscriber}?")
		d["payload"] = map[string]string{"name": name}
		raw := token(t, d)
		return open(t, s, "match="+url.QueryEscape(room)+"&match_urlpattern="+url.QueryEscape(hub+"/subscriptions/:match_type/"+escaped+"/:subscriber"), raw), raw
	}
	ann, raw := member("ann")
	bob, _ := member("bob")
	seen := func(active bool, name string) func() bool {
		return func() bool {
			for _, e := range ann.data {
				if e.Type == "mercure" && strings.Contains(string(e.Data), fmt.Sprintf(`"active":%v`, active)) && strings.Contains(string(e.Data), name) {
					return true
				}
			}
			return false
		}
	}
	ann.await("bob comes", seen(true, "bob"))
	snapshot := func() (names []string, cursor string) {
		r, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s/subscriptions/exact/%s", s.Port, hub, escaped), nil)
		r.Host = "localhost"
		r.Header.Set("Cookie", "mercure_access_token="+raw)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var list struct {
			Subscriptions []struct{ Payload struct{ Name string } }
		}
		if err := json.NewDecoder(answer.Body).Decode(&list); err != nil || answer.StatusCode != 200 {
			t.Fatal(answer.StatusCode, err)
		}
		for _, one := range list.Subscriptions {
			names = append(names, one.Payload.Name)
		}
		_, cursor, _ = strings.Cut(answer.Header.Get("Link"), `last-event-id="`)
		cursor, _, _ = strings.Cut(cursor, `"`)
		return names, cursor
	}
	var before string
	pushdtest.Eventually(t, "both are in, with two subscriptions each", func() bool {
		got, cursor := snapshot()
		before = cursor
		return len(got) == 2 && strings.HasSuffix(cursor, ":4")
	})
	s.MustRun("reload")
	if got, cursor := snapshot(); len(got) != 2 || cursor != before {
		t.Errorf("in the room after a reload: %v, behind %q, before it %q: what has happened since is the same", got, cursor, before)
	}
	if seen(false, "bob")() {
		t.Error("a reload has told that bob has left")
	}
	bob.cancel()
	ann.await("bob goes", seen(false, "bob"))
	// Who dies with his process has left, too: a page that comes back is another
	// subscriber, and the one before is told to be over, a second later. Ann, whose
	// process has died as well, hears that if she is back by then.
	told := false
	for round := 0; !told; round++ {
		if round == 10 {
			t.Fatal("ann was never told of a subscriber that has died")
		}
		name := fmt.Sprintf("cid-%d-", round)
		cid, _ := member(name)
		ann.await(name+" comes", seen(true, name))
		var opened int
		ann.await("her page", func() bool { opened = ann.opened; return true })
		for _, w := range s.Status().Workers {
			s.Kill(w.PID)
		}
		cid.await("it is back", func() bool { return cid.opened > 1 })
		ann.await("she is back", func() bool { return ann.opened > opened })
		back := time.Now()
		ann.await("the dead one goes", func() bool { told = seen(false, name)(); return told || time.Since(back) > 5*time.Second })
		cid.cancel()
	}
}

// A hub whose app is not there is found by `check`.
func TestCheckApp(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "mercure = true\n", "", 1), Manual: true})
	if r := s.Run("check"); r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, `there is no [[app]] with id = "my-app" and mercure = true`) {
		t.Errorf("%+v", r)
	}
}
