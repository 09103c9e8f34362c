package pusher

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

// roster is the data of a subscription to a presence channel.
type roster struct {
	Presence struct {
		Count int                        `json:"count"`
		IDs   []string                   `json:"ids"`
		Hash  map[string]json.RawMessage `json:"hash"`
	} `json:"presence"`
}

// enter subscribes to a presence channel and returns who is there.
func (p *pusher) enter(channel, id string) []string {
	p.t.Helper()
	p.ask(channel, fmt.Sprintf(`{"user_id":%q,"user_info":{"name":"N %s"}}`, id, id))
	return p.entered(channel)
}

func (p *pusher) entered(channel string) []string {
	p.t.Helper()
	g := p.want("pusher_internal:subscription_succeeded", channel, "*")
	var r roster
	if err := json.Unmarshal([]byte(g.text()), &r); err != nil {
		p.t.Fatalf("%s: %v", g.Data, err)
	}
	ids := r.Presence.IDs
	slices.Sort(ids)
	if r.Presence.Count != len(ids) || len(r.Presence.Hash) != len(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		p.t.Fatalf("roster: %s", g.text())
	}
	for _, id := range ids {
		if string(r.Presence.Hash[id]) != `{"name":"N `+id+`"}` {
			p.t.Fatalf("roster: %s", g.text())
		}
	}
	return ids
}

func (p *pusher) leave(channel string) {
	p.t.Helper()
	p.send("pusher:unsubscribe", "", object{"channel": channel})
}

// added and removed read what the members of a channel are told.
func (p *pusher) added(channel, id string) {
	p.t.Helper()
	p.want("pusher_internal:member_added", channel, fmt.Sprintf(`{"user_id":%q,"user_info":{"name":"N %s"}}`, id, id))
}

func (p *pusher) removed(channel, id string) {
	p.t.Helper()
	p.want("pusher_internal:member_removed", channel, fmt.Sprintf(`{"user_id":%q}`, id))
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// TestPresence: who comes and goes is told once, whatever process they are in,
// and a reload tells nobody anything.
func TestPresence(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	third := join(t, s, mainPath)
	const room = "presence-room"
	equal(t, one.enter(room, "1"), "1")
	equal(t, two.enter(room, "2"), "1", "2")
	one.added(room, "2")
	equal(t, third.enter(room, "1"), "1", "2") // a second connection of the first user
	s.MustRun("reload")
	for _, p := range []*pusher{one, two, third} {
		p.quiet()
	}
	users := b.want(200, "*", "GET", "channels/"+room+"/users", nil)
	if users != `{"users":[{"id":"1"},{"id":"2"}]}` {
		t.Errorf("users: %s", users)
	}
	b.want(200, `{"occupied":true,"user_count":2,"subscription_count":3}`, "GET", "channels/"+room, nil, "info", "user_count,subscription_count")
	b.want(200, `{"channels":{"presence-room":{"user_count":2}}}`, "GET", "channels", nil, "info", "user_count", "filter_by_prefix", "presence-")
	b.want(200, `{"channels":{"presence-room":{"user_count":2}}}`, "POST", "events",
		object{"name": "e", "data": "d", "channel": room, "info": "user_count", "socket_id": one.id})
	two.want("e", room, "d")
	third.want("e", room, "d")
	one.send("client-x", room, object{})
	if g := two.want("client-x", room, "{}"); g.UserID != "1" {
		t.Errorf("client event by %q", g.UserID)
	}
	third.want("client-x", room, "{}")

	one.leave(room) // user 1 is still there by the third
	third.leave(room)
	two.removed(room, "1")
	s.MustRun("reload")
	equal(t, one.enter(room, "1"), "1", "2")
	two.added(room, "1")
	one.Close()
	two.removed(room, "1")
	two.quiet()
	third.quiet()
	b.want(200, `{"users":[{"id":"2"}]}`, "GET", "channels/"+room+"/users", nil)
}

// TestFormOfNumbers: a user who came first by a number is told as one by all that
// tells of it, whatever the user's other connections have signed.
func TestFormOfNumbers(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	one, two := crowd(t, s)
	third := join(t, s, mainPath)
	const room = "presence-room"
	for _, x := range []struct {
		p    *pusher
		data string
		ids  string
	}{{one, `{"user_id":5}`, `[5]`}, {two, `{"user_id":"5"}`, `[5]`}, {third, `{"user_id":"6"}`, `[`}} {
		x.p.ask(room, x.data)
		if g := x.p.want("pusher_internal:subscription_succeeded", room, "*"); !strings.Contains(g.text(), `"ids":`+x.ids) {
			t.Errorf("%s: %s", x.data, g.text())
		}
	}
	says := func(p *pusher, id string) {
		t.Helper()
		p.send("client-x", room, object{})
		if _, raw := third.Read(); !strings.HasSuffix(string(raw), `,"data":{},"user_id":`+id+`}`) {
			t.Errorf("a client event: %s, want user_id %s", raw, id)
		}
	}
	says(two, "5")
	s.MustRun("reload")
	says(two, "5")
	one.leave(room)
	two.leave(room)
	third.want("pusher_internal:member_removed", room, `{"user_id":5}`)
}

// TestPresenceRefused: data that is wrong, missing or too long, a full channel,
// a second subscription.
func TestPresenceRefused(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	const room = "presence-room"
	for _, data := range []string{
		"", "x", "{}", `{"user_id":null}`, `{"user_id":{}}`, `{"user_id":""}`, `{"user_id":"` + strings.Repeat("x", 129) + `"}`,
		`{"user_id":"1","user_info":"` + strings.Repeat("x", 1024) + `"}`,
	} {
		p.ask(room, data)
		p.want("pusher:subscription_error", room, "*")
	}
	p.send("pusher:subscribe", "", object{"channel": room, "auth": appKey + ":00", "channel_data": `{"user_id":"1"}`})
	p.want("pusher:subscription_error", room, "*")
	equal(t, p.enter(room, "1"), "1")
	p.ask(room, `{"user_id":"other"}`)
	p.want("pusher:subscription_error", room, "*")
	for _, id := range []string{"2", "3"} { // which fills it
		join(t, s, mainPath).enter(room, id)
		p.added(room, id)
	}
	last := join(t, s, mainPath)
	last.ask(room, `{"user_id":"4"}`)
	if g := last.want("pusher:subscription_error", room, "*"); !strings.Contains(string(g.Data), "LimitReached") {
		t.Errorf("full: %s", g.Data)
	}
	last.send("client-x", room, object{})
	last.want("pusher:error", "", "*")             // it is not in
	equal(t, last.enter(room, "1"), "1", "2", "3") // who is there is let in again
	p.quiet()
}

// TestPresenceOfUser: a user who has signed in needs no channel_data.
func TestPresenceOfUser(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	p.signin(`{"id":"7","user_info":{"name":"N 7"}}`)
	p.want("pusher:signin_success", "", "*")
	p.ask("presence-room", "")
	equal(t, p.entered("presence-room"), "7")
	s.MustRun("reload")
	q := join(t, s, mainPath)
	equal(t, q.enter("presence-room", "8"), "7", "8")
	p.added("presence-room", "8")
}

// TestWatchlist: a user learns when those that it watches come and go.
func TestWatchlist(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	one, two := crowd(t, s)
	third := join(t, s, mainPath)
	one.signin(`{"id":"1","watchlist":["2","9"]}`)
	one.want("pusher:signin_success", "", "*")
	one.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"offline","user_ids":["2","9"]}]}`)
	two.signin(`{"id":"2","watchlist":["1"]}`)
	two.want("pusher:signin_success", "", "*")
	two.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"online","user_ids":["1"]}]}`)
	one.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"online","user_ids":["2"]}]}`)
	third.signin(`{"id":"2"}`)
	third.want("pusher:signin_success", "", "*")
	s.MustRun("reload")
	two.Close()
	one.quiet()
	third.Close()
	one.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"offline","user_ids":["2"]}]}`)
	one.quiet()
}

// TestWatchlistThroughAKill: who signs in, and who leaves, while the broker process is
// away is told, and told of, when the next one is there.
func TestWatchlistThroughAKill(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	one, two := crowd(t, s)
	third := join(t, s, mainPath)
	one.signin(`{"id":"1","watchlist":["2","3"]}`)
	two.signin(`{"id":"2"}`)
	one.sees("2")
	if err := syscall.Kill(s.Status().Broker.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	two.Close()
	third.signin(`{"id":"3","watchlist":["1","2"]}`)
	third.sees("1")
	one.sees("3")
}

// sees reads until those of the watchlist who are there, as the client was told, are
// these alone.
func (p *pusher) sees(ids ...string) {
	p.t.Helper()
	for {
		g := p.next()
		if g.Event != "pusher_internal:watchlist_events" {
			continue
		}
		var m struct{ Events []wire.Watch }
		if err := json.Unmarshal([]byte(g.text()), &m); err != nil {
			p.t.Fatalf("%s: %v", g.Data, err)
		}
		for _, e := range m.Events {
			p.online = slices.DeleteFunc(p.online, func(id string) bool { return slices.Contains(e.UserIDs, id) })
			if e.Name == "online" {
				p.online = append(p.online, e.UserIDs...)
			}
		}
		if slices.Equal(p.online, ids) {
			return
		}
	}
}

// TestCacheChannels: who subscribes gets the last event of the server, across a
// reload.
func TestCacheChannels(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	b := newBackend(t, s)
	one, two := crowd(t, s)
	for _, channel := range []string{"cache-a", "private-cache-a", "private-encrypted-cache-a"} {
		one.subscribe(channel)
		one.want("pusher:cache_miss", channel, "")
		b.want(200, `{"occupied":true,"cache":null}`, "GET", "channels/"+channel, nil, "info", "cache")
		b.trigger("first", "1", channel)
		one.want("first", channel, "1")
		b.want(200, "{}", "POST", "events", object{"name": "last", "data": `{"n":"é"}`, "channel": channel, "socket_id": one.id})
		one.send("client-x", channel, "is not remembered")
		if channel != "private-cache-a" {
			one.want("pusher:error", "", "*")
		}
		s.MustRun("reload")
		two.subscribe(channel)
		two.want("last", channel, `{"n":"é"}`)
		got := b.want(200, "*", "GET", "channels/"+channel, nil, "info", "cache,subscription_count")
		if !strings.Contains(got, `"cache":{"data":"{\"n\":\"é\"}","ttl":1`) || !strings.Contains(got, `"subscription_count":2`) {
			t.Errorf("cache: %s", got)
		}
		one.leave(channel)
		two.leave(channel)
	}
	const room = "presence-cache-a"
	equal(t, one.enter(room, "1"), "1")
	one.want("pusher:cache_miss", room, "")
	b.trigger("e", "x", room)
	one.want("e", room, "x")
	equal(t, two.enter(room, "2"), "1", "2")
	two.want("e", room, "x")
	one.added(room, "2")

	// What it is when nothing was lost, and when the broker process was killed.
	said := `{"occupied":false,"cache":{"data":"x","ttl":1`
	for _, change := range []struct {
		what  string
		make  func()
		event string
	}{
		{"another broker process", func() { s.WriteConfig("drain = \"3s\"\n" + config); s.MustRun("reload") }, "e"},
		{"a restart", func() { s.MustRun("restart", "-d") }, "e"},
		{"the death of the broker process", func() { s.Kill(s.Status().Broker.PID) }, "pusher:cache_miss"},
	} {
		change.make()
		c := join(t, s, mainPath)
		c.enter(room, "3")
		if g := c.next(); g.Event != change.event {
			t.Errorf("after %s: %+v", change.what, g)
		}
		got := b.want(200, "*", "GET", "channels/"+room, nil, "info", "cache")
		if hit := strings.Contains(got, said[len(`{"occupied":false,`):]); hit != (change.event == "e") {
			t.Errorf("after %s: %s", change.what, got)
		}
		c.Close()
	}
}

// TestSubscriptionCount: members learn how many they are, and webhooks too, also of those
// who leave when a process has just been replaced, or was killed.
func TestSubscriptionCount(t *testing.T) {
	hooks := &heard{}
	endpoint := httptest.NewServer(hooks)
	defer endpoint.Close()
	counting := strings.Replace(config, "client_events", `webhooks = [ { url = "`+endpoint.URL+`" } ]`+"\nsubscription_count = true\nclient_events", 1)
	s := pushdtest.Start(t, pushdtest.Options{Config: counting})
	one := join(t, s, mainPath)
	for _, change := range []struct {
		what string
		make func()
	}{
		{"reload", func() { s.MustRun("reload") }},
		{"swap", func() { s.WriteConfig("drain = \"3s\"\n" + counting); s.MustRun("reload") }},
		{"kill", func() { s.Kill(s.Status().Broker.PID) }},
	} {
		two, count := join(t, s, mainPath), func(n string) string { return `{"subscription_count":` + n + `}` }
		one.subscribe(change.what)
		one.want("pusher_internal:subscription_count", change.what, count("1"))
		two.subscribe(change.what)
		if g := two.want("pusher_internal:subscription_count", change.what, "*"); g.text() != count("2") {
			two.want("pusher_internal:subscription_count", change.what, count("2")) // the first was on its way still
		}
		one.want("pusher_internal:subscription_count", change.what, count("2"))
		two.subscribe("alone-" + change.what)
		two.want("pusher_internal:subscription_count", "alone-"+change.what, count("1"))
		change.make()
		two.Close()
		one.want("pusher_internal:subscription_count", change.what, count("1"))
		one.quiet()
		alone := "alone-" + change.what
		for _, event := range []string{"channel_occupied " + alone + "  0", "subscription_count " + alone + "  1", "subscription_count " + alone + "  0", "channel_vacated " + alone + "  0"} {
			pushdtest.Eventually(t, event, func() bool { return slices.Contains(hooks.all(), event) })
		}
	}
}
