package pusher

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestHandshake: every client gets its WebSocket, and then either the greeting
// or the protocol's code for why not.
func TestHandshake(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	for _, path := range []string{
		mainPath, "/app/" + appKey, "/app/" + appKey + "?protocol=5", "/app/" + appKey + "?protocol=6",
		"/in/app/" + appKey + "?protocol=7", "/app/plain-key",
	} {
		join(t, s, path).quiet()
	}
	for path, code := range map[string]int{
		"/app/unknown": 4001, "/app/off-key": 4003, "/app/" + appKey + "?protocol=x": 4006,
		"/app/" + appKey + "?protocol=4": 4007, "/app/" + appKey + "?protocol=8": 4007, "/in/app/unknown?protocol=7": 4001,
	} {
		turnedAway(t, s, path, code)
	}
	if c := pushdtest.Handshake(t, addr(s), "/apps/main/events"); c.Response.StatusCode != 404 {
		t.Errorf("WebSocket at the API: %s", c.Response.Status)
	}
	c := s.Dial("/app/"+appKey, "Origin: http://"+addr(s))
	c.Close()
}

// turnedAway connects a client that is told code and closed.
func turnedAway(t *testing.T, s *pushdtest.Server, path string, code int) {
	t.Helper()
	c := &pusher{Client: s.Dial(path), t: t}
	g := c.next()
	if g.Event != "pusher:error" || !strings.Contains(string(g.Data), `"code":`+itoa(code)) {
		t.Errorf("%s: %+v, want code %d", path, g, code)
	}
	c.WantClose(code)
}

// TestWrongMessages: nothing that a client may send does more than an error.
func TestWrongMessages(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	p := join(t, s, mainPath)
	for _, text := range []string{
		"", "{", "null", "[]", "1", `"x"`, "{}", `{"event":1}`, `{"event":"x"}`, `{"event":"pusher:hello"}`,
		`{"event":"pusher:subscribe"}`, `{"event":"pusher:subscribe","data":null}`, `{"event":"pusher:subscribe","data":[]}`,
		`{"event":"pusher:subscribe","data":{"channel":1}}`, `{"event":"pusher:subscribe","data":"x"}`,
		`{"event":"pusher:unsubscribe","data":1}`, `{"event":"pusher:signin","data":1}`, `{"event":"pusher:signin","data":{}}`,
		`{"event":"client-x","data":{}}`, `{"event":"client-x","channel":{},"data":{}}`, `{"event":"pusher_internal:member_added"}`,
	} {
		p.SendText(text)
		if g := p.next(); g.Event != "pusher:error" || g.Channel != "" {
			t.Errorf("%q: %+v", text, g)
		}
	}
	p.Send(pushdtest.OpBinary, []byte(`{"event":"pusher:ping"}`))
	p.want("pusher:error", "", "*")
	p.SendText(`{"event":"pusher:ping"}`)
	p.want("pusher:pong", "", "{}")
	p.SendText(`{"event":"pusher:pong","data":{}}`)
	p.SendText(`{"event":"pusher:unsubscribe","data":{"channel":"never-had"}}`)
	p.quiet()
}

// TestSilentClients: a client that answers no ping is told 4201.
func TestSilentClients(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "count = 2", "count = 1\nping_interval = \"1s\"\nping_timeout = \"1s\"", 1)})
	p := join(t, s, mainPath)
	p.NoPongs = true
	p.WantClose(4201)
}
