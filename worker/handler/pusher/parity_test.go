package pusher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestParity tries what users of other servers of the protocol are used to.
func TestParity(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events", "max_member_size = 4096\nclient_events", 1) + "\"/up\" = \"pusher\"\n"})
	for name, try := range map[string]func(*testing.T, *pushdtest.Server){
		"channel_data of private channels": signedData, "ids as numbers": numbers, "large members": largeMembers,
		"terminate": terminates, "connections": countsConnections, "health": health, "sign in again": signsInAgain,
	} {
		t.Run(name, func(t *testing.T) { try(t, s) })
	}
}

// signedData: what a back end signs along is signed, in channels of any kind.
func signedData(t *testing.T, s *pushdtest.Server) {
	for i, kind := range []string{"private-", "private-encrypted-", "private-cache-", "private-encrypted-cache-"} {
		p, name := join(t, s, mainPath), fmt.Sprintf("%sdata-%d", kind, i)
		p.ask(name, `{"user_id":"7","user_info":{"name":"Ann"}}`)
		p.want("pusher_internal:subscription_succeeded", name, "*")
		p.Close()
	}
	p := join(t, s, mainPath)
	p.send("pusher:subscribe", "", object{"channel": "private-x", "channel_data": `{"user_id":"8"}`,
		"auth": p.auth("private-x", `{"user_id":"7"}`)})
	p.want("pusher:subscription_error", "private-x", "*")
	p.send("pusher:subscribe", "", object{"channel": "private-x", "auth": p.auth("private-x", `{"user_id":"7"}`)})
	p.want("pusher:subscription_error", "private-x", "*")
	p.subscribe("private-x") // and without any
}

// numbers: an id is told in the form in which it was given, by a reload too.
func numbers(t *testing.T, s *pushdtest.Server) {
	const room = "presence-numbers"
	b, one, two := newBackend(t, s), join(t, s, mainPath), join(t, s, mainPath)
	one.ask(room, `{"user_id":7}`)
	one.want("pusher_internal:subscription_succeeded", room, `{"presence":{"count":1,"ids":[7],"hash":{"7":null}}}`)
	two.ask(room, `{"user_id":"x","user_info":{"a":1}}`)
	if g := two.want("pusher_internal:subscription_succeeded", room, "*"); !strings.Contains(g.text(), `7`) || strings.Contains(g.text(), `"ids":["7"`) {
		t.Errorf("roster %s", g.text())
	}
	one.want("pusher_internal:member_added", room, `{"user_id":"x","user_info":{"a":1}}`)
	s.MustRun("reload")
	b.want(200, `{"users":[{"id":7},{"id":"x"}]}`, "GET", "channels/"+room+"/users", nil)
	one.send("client-x", room, object{})
	_, raw := two.Read()
	if want := `{"event":"client-x","channel":"presence-numbers","data":{},"user_id":7}`; string(raw) != want {
		t.Errorf("client event %s, want %s", raw, want)
	}
	one.Close()
	two.want("pusher_internal:member_removed", room, `{"user_id":7}`)
}

func largeMembers(t *testing.T, s *pushdtest.Server) {
	p := join(t, s, mainPath)
	user := func(n int) string { return `{"user_id":"big","user_info":"` + strings.Repeat("x", n-2) + `"}` }
	p.ask("presence-big", user(4097))
	if g := p.want("pusher:subscription_error", "presence-big", "*"); !strings.Contains(g.text(), "4096 bytes") {
		t.Errorf("too large: %s", g.text())
	}
	p.ask("presence-big", user(4096))
	p.want("pusher_internal:subscription_succeeded", "presence-big", "*")
}

// terminates: a user's connections hear why, whether they are signed in or known
// by a presence channel; a number and its digits are one user.
func terminates(t *testing.T, s *pushdtest.Server) {
	b := newBackend(t, s)
	a, c := crowd(t, s)
	byNumber, other := join(t, s, mainPath), join(t, s, mainPath)
	a.signin(`{"id":"70"}`)
	a.want("pusher:signin_success", "", "*")
	a.enter("presence-end-a", "70") // in one by both, told once
	c.enter("presence-end-c", "70")
	byNumber.ask("presence-end-n", `{"user_id":70}`)
	byNumber.want("pusher_internal:subscription_succeeded", "presence-end-n", "*")
	other.enter("presence-end-o", "71")
	b.want(200, "{}", "POST", "users/70/terminate_connections", object{})
	for _, p := range []*pusher{a, c, byNumber} {
		p.terminated()
	}
	other.quiet()
}

// countsConnections: of one app, in all processes, by a reload too.
func countsConnections(t *testing.T, s *pushdtest.Server) {
	b := newBackend(t, s)
	b.id, b.key, b.secret = "plain", "plain-key", "plain-secret"
	b.want(200, `{"connections":0}`, "GET", "connections", nil)
	p := join(t, s, "/app/plain-key?protocol=7")
	b.want(200, `{"connections":1}`, "GET", "connections", nil)
	refused := s.Dial("/app/plain-key?protocol=7") // max_connections = 1
	if op, raw := refused.Read(); op != pushdtest.OpText || !strings.Contains(string(raw), "4004") {
		t.Fatalf("got %d %q", op, raw)
	}
	refused.Close()
	s.MustRun("reload")
	b.want(200, `{"connections":1}`, "GET", "connections", nil)
	p.Close()
	pushdtest.Eventually(t, "nobody is left", func() bool {
		_, answer := b.do("GET", "connections", nil)
		return answer == `{"connections":0}`
	})
	b.want(405, "*", "POST", "connections", object{})
}

func health(t *testing.T, s *pushdtest.Server) {
	base := fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	for path, want := range map[string]string{"/up": `200 {"health":"OK"}`, "/apps/main/up": "404 ", "/app/x/up": "404 "} {
		res, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := fmt.Sprint(res.StatusCode, " ", string(body)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if res, err := http.Post(base+"/up", "text/plain", nil); err != nil || res.StatusCode != 405 {
		t.Errorf("POST: %v %v", res, err)
	} else {
		res.Body.Close()
	}
}

// signsInAgain: to say again who one is changes nothing, and nobody is told.
func signsInAgain(t *testing.T, s *pushdtest.Server) {
	star, fan := join(t, s, mainPath), join(t, s, mainPath)
	const watches = `{"id":"fan","watchlist":["star"]}`
	fan.signin(watches)
	fan.want("pusher:signin_success", "", "*")
	fan.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"offline","user_ids":["star"]}]}`)
	for range 3 {
		fan.signin(`{"id":"fan","watchlist":["other"]}`)
		var told struct {
			UserData string `json:"user_data"`
		}
		if g := fan.want("pusher:signin_success", "", "*"); json.Unmarshal([]byte(g.text()), &told) != nil || told.UserData != watches {
			t.Errorf("signed in as %s", g.text())
		}
	}
	fan.quiet()
	star.signin(`{"id":"star"}`)
	star.want("pusher:signin_success", "", "*")
	fan.want("pusher_internal:watchlist_events", "", `{"events":[{"name":"online","user_ids":["star"]}]}`)
	fan.signin(`{"id":"another"}`)
	if g := fan.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), "4009") {
		t.Errorf("as another user: %s", g.Data)
	}
}

// TestAnonymousTimeout: who has shown nothing is closed; a sign-in or a channel
// that was signed for is enough, even one that was left.
func TestAnonymousTimeout(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events", "anonymous_timeout = \"6s\"\nclient_events", 1)})
	user := join(t, s, mainPath)
	user.signin(`{"id":"1"}`)
	user.want("pusher:signin_success", "", "*")
	member := join(t, s, mainPath)
	member.enter("presence-a", "2")
	left := join(t, s, mainPath)
	left.subscribe("private-a")
	left.leave("private-a")
	left.quiet()
	nobody, public := join(t, s, mainPath), join(t, s, mainPath)
	public.subscribe("news")
	s.MustRun("reload")
	for _, p := range []*pusher{nobody, public} {
		p.terminated()
	}
	for _, p := range []*pusher{user, member, left} {
		p.quiet()
	}
}
