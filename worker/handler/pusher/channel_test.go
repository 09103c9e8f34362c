package pusher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

func itoa(n int) string { return strconv.Itoa(n) }

func addr(s *pushdtest.Server) string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// TestSubscriptions: public, private and encrypted channels, events by a signed
// request, in two processes, with a reload in the middle.
func TestSubscriptions(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	channels := []string{"news", "private-a", "private-encrypted-a"}
	for _, c := range channels {
		one.subscribe(c)
		two.subscribe(c)
	}
	two.subscribe("only-two")
	round := func(n int) {
		t.Helper()
		for i, c := range channels {
			data := fmt.Sprintf(`{"n":%d,"text":"\"é\"\n"}`, n+i)
			b.trigger(`App\Events\News`, data, c, "only-two")
			one.want(`App\Events\News`, c, data)
			two.want(`App\Events\News`, c, data)
			two.want(`App\Events\News`, "only-two", data)
		}
	}
	round(0)
	s.MustRun("reload")
	round(10)
	b.want(200, "{}", "POST", "events", object{"name": "e", "channel": "news", "data": "x", "socket_id": one.id})
	two.want("e", "news", "x")
	one.quiet()
	one.send("pusher:unsubscribe", "", object{"channel": "news"})
	one.quiet()
	b.trigger("last", "y", "news")
	two.want("last", "news", "y")
	one.quiet()
	two.subscribe("news") // twice is once
	b.trigger("once", "z", "news")
	two.want("once", "news", "z")
	two.quiet()
}

// TestRefusedSubscriptions: a wrong signature, name or number is refused, in
// words that tell a forger nothing; the log knows why and shows no secret.
func TestRefusedSubscriptions(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	sign := func(text string) string { return appKey + ":" + wire.Sign(secret, text) }
	refused := func(channel string, fields object, kind string, status int) {
		t.Helper()
		fields["channel"] = channel
		p.send("pusher:subscribe", "", fields)
		g := p.next()
		want := fmt.Sprintf(`"status":%d`, status)
		if g.Event != "pusher:subscription_error" || !strings.Contains(string(g.Data), want) || !strings.Contains(string(g.Data), kind) {
			t.Errorf("%q: %+v %s", channel, g, g.Data)
		}
		if strings.Contains(string(g.Data), "signature") {
			t.Errorf("%q: a forger learns %s", channel, g.Data)
		}
	}
	for _, auth := range []string{
		"", "x", appKey, appKey + ":", "other:" + wire.Sign(secret, p.id+":private-a"), sign(p.id + ":private-b"),
		sign("1234.1234:private-a"), sign(p.id + ":private-a:"), strings.ToUpper(sign(p.id + ":private-a")),
		appKey + ":" + wire.Sign("other", p.id+":private-a"), "plain-key:" + wire.Sign("plain-secret", p.id+":private-a"),
	} {
		refused("private-a", object{"auth": auth}, "AuthError", 401)
	}
	for _, name := range []string{
		"a*", "a>", "a:b", "a b", "a\x01", "ü", strings.Repeat("x", 165), "private-a:b",
	} {
		refused(name, object{"auth": sign(p.id + ":" + name)}, "InvalidChannel", 400)
	}
	// A name with ":" must not make a private subscription of a presence one.
	refused("private-a:"+`{"user_id":1}`, object{"auth": sign(p.id + ":private-a:" + `{"user_id":1}`)}, "InvalidChannel", 400)
	for _, name := range []string{"#server-to-user-1", "#server-to-user-", "#x"} {
		refused(name, object{"auth": sign(p.id + ":" + name)}, "AuthError", 401)
	}
	for i := range 5 {
		p.subscribe("c" + itoa(i))
	}
	refused("c5", object{}, "LimitReached", 403)
	p.send("pusher:unsubscribe", "", object{"channel": "c0"})
	p.subscribe("c5")
	log := s.Log()
	if !strings.Contains(log, "pusher: refused") || !strings.Contains(log, "signature is wrong") {
		t.Errorf("the log does not say why:\n%s", log)
	}
	if strings.Contains(log, secret) {
		t.Error("the log shows the secret")
	}
}

// TestClientEvents: from member to member, never back, within the rate.
func TestClientEvents(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	one, two := crowd(t, s)
	for _, p := range []*pusher{one, two} {
		p.subscribe("private-a")
		p.subscribe("news")
		p.subscribe("private-encrypted-a")
	}
	one.send("client-typing", "private-a", object{"who": "one"})
	two.want("client-typing", "private-a", `{"who":"one"}`)
	two.send("client-typing", "private-a", "text")
	one.want("client-typing", "private-a", "text")
	two.quiet()
	for _, channel := range []string{"news", "private-encrypted-a", "private-b", "presence-a", ""} {
		one.send("client-x", channel, object{})
		one.want("pusher:error", "", "*")
	}
	one.send("client-x", "private-a", strings.Repeat("x", 11<<10))
	one.want("pusher:error", "", "*")
	one.send("client-"+strings.Repeat("x", 200), "private-a", object{})
	one.want("pusher:error", "", "*")
	s.MustRun("reload")
	for i := range 30 {
		one.send("client-x", "private-a", i)
	}
	g := one.want("pusher:error", "", "*")
	if !strings.Contains(string(g.Data), `"code":4301`) {
		t.Errorf("over the rate: %s", g.Data)
	}
	for i := range 10 {
		two.want("client-x", "private-a", itoa(i))
	}
	plain := join(t, s, "/app/plain-key")
	plain.send("pusher:subscribe", "", object{"channel": "private-a", "auth": "plain-key:" + wire.Sign("plain-secret", plain.id+":private-a")})
	plain.want("pusher_internal:subscription_succeeded", "private-a", "{}")
	plain.send("client-x", "private-a", object{})
	if g := plain.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), "switched off") {
		t.Errorf("client events of an app without: %s", g.Data)
	}
}

// TestUsers: sign-in, messages to a user in all processes, and the end of all
// of the user's connections.
func TestUsers(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	other := join(t, s, mainPath)
	const user = `{"id":"12345","user_info":{"name":"A"}}`
	for _, p := range []*pusher{one, two} {
		p.signin(user)
		p.want("pusher:signin_success", "", `{"user_data":"{\"id\":\"12345\",\"user_info\":{\"name\":\"A\"}}"}`)
		p.send("pusher:subscribe", "", object{"channel": "#server-to-user-12345", "auth": ""})
		p.want("pusher_internal:subscription_succeeded", "#server-to-user-12345", "{}")
	}
	other.signin(`{"id":"6"}`)
	other.want("pusher:signin_success", "", "*")
	other.send("pusher:subscribe", "", object{"channel": "#server-to-user-12345"})
	other.want("pusher:subscription_error", "#server-to-user-12345", "*")
	other.signin(`{"id":"7"}`)
	if g := other.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), "4009") {
		t.Errorf("another user: %s", g.Data)
	}
	other.send("pusher:signin", "", object{"auth": appKey + ":" + wire.Sign(secret, "x"), "user_data": `{"id":"6"}`})
	if g := other.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), "4009") {
		t.Errorf("forged: %s", g.Data)
	}
	for _, data := range []string{`{"id":6}`, `{"id":""}`, "x", ""} {
		other.signin(data)
		other.want("pusher:error", "", "*")
	}
	list := `["` + strings.Repeat(`u","`, 100) + `u"]`
	other.signin(`{"id":"6","watchlist":` + list + `}`)
	other.want("pusher:signin_success", "", "*")
	if g := other.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), "4302") {
		t.Errorf("long watchlist: %s", g.Data)
	}
	s.MustRun("reload")
	b.trigger("hello", "you", "#server-to-user-12345")
	one.want("hello", "#server-to-user-12345", "you")
	two.want("hello", "#server-to-user-12345", "you")
	other.quiet()
	b.want(200, "{}", "POST", "users/12345/terminate_connections", "{}")
	one.terminated()
	two.terminated()
	other.quiet()
}

// TestTerminatedLeaveAtOnce: whoever is told to go has left its channels, even
// if its client does not answer the close.
func TestTerminatedLeaveAtOnce(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	one.signin(`{"id":"1"}`)
	one.want("pusher:signin_success", "", "*")
	two.signin(`{"id":"2","watchlist":["1"]}`)
	two.want("pusher:signin_success", "", "*")
	// The two processes are heard in any order: she may be off line first.
	for !strings.Contains(two.want("pusher_internal:watchlist_events", "", "*").text(), `"online"`) {
	}
	one.enter("presence-a", "1")
	two.enter("presence-a", "2")
	one.added("presence-a", "2")
	one.subscribe("a")
	b.want(200, "{}", "POST", "users/1/terminate_connections", "{}")
	events := []string{two.next().Event, two.next().Event}
	slices.Sort(events)
	equal(t, events, "pusher_internal:member_removed", "pusher_internal:watchlist_events")
	if !strings.Contains(s.MustRun("connections", "--json"), one.id) {
		t.Error("its members were told when the connection had ended, not when it was told to go")
	}
	b.want(200, `{"occupied":false,"subscription_count":0}`, "GET", "channels/a", nil, "info", "subscription_count")
	b.want(200, `{"users":[{"id":"2"}]}`, "GET", "channels/presence-a/users", nil)
	one.terminated()
	two.quiet()
}

// TestTriggersThroughReloads: requests on a kept connection are answered while
// the processes change, and each event arrives once, in order.
func TestTriggersThroughReloads(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	one.subscribe("private-a")
	two.subscribe("private-a")
	two.subscribe("cache-a")
	two.want("pusher:cache_miss", "cache-a", "")
	done := make(chan pushdtest.Result, 1)
	go func() {
		s.Run("reload")
		done <- s.Run("reload")
	}()
	n := 0
	for over := false; !over; n++ {
		select {
		case r := <-done:
			if over = true; r.Code != 0 {
				t.Fatalf("reload: %d %s", r.Code, r.Stderr)
			}
		default:
		}
		b.trigger("e", itoa(n), "private-a", "cache-a")
		b.want(200, `{"occupied":true}`, "GET", "channels/cache-a", nil)
	}
	for i := range n {
		one.want("e", "private-a", itoa(i))
	}
	next := map[string]int{}
	for range 2 * n {
		g := two.next()
		if g.Event != "e" || g.text() != itoa(next[g.Channel]) {
			t.Fatalf("got %+v with %s after %d", g, g.Data, next[g.Channel])
		}
		next[g.Channel]++
	}
	one.quiet()
	two.quiet()
}
