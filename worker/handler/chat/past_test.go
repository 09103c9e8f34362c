package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
)

const withHistory = `
[[channel]]
match = "chat:*"
history = 100
[[channel]]
match = "news"
history = 100
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/chat"   = { handler = "chat", options = { public_history = true, last = 2 } }
"/closed" = "chat"
"/token"  = { handler = "chat", options = { secret = "` + secret + `", last = 2 } }
"/notify" = { handler = "notify", options = { anonymous = true, channels = ["news"], public_history = true } }
"/shut"   = { handler = "notify", options = { anonymous = true, channels = ["news"] } }
`

// told is a message as a client with ?positions=1 gets it.
type told struct {
	Position, Channel, Data, Reason string
	Recovered                       *bool
	Count                           int
}

func read(t *testing.T, c *pushdtest.Client) (m told) {
	t.Helper()
	_, raw := c.Read()
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return m
}

// TestLastAndAfter: who joins gets the last messages, who comes back with a
// position all that was missed, in whatever process, through a reload, a killed
// worker and a killed broker process.
func TestLastAndAfter(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withHistory})
	first := s.Dial("/chat?room=red&positions=1")
	where := read(t, first)
	if where.Position == "" || where.Channel != "chat:red" || where.Data != "" || where.Recovered != nil {
		t.Fatalf("an empty room is told as %+v", where)
	}
	say := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if status, answer := s.Post("/v1/publish", map[string]any{"channel": "chat:red", "data": text}); status != 200 {
				t.Fatalf("%d %v", status, answer)
			}
		}
	}
	say("one", "two", "three")
	for _, want := range []string{"one", "two", "three"} {
		if m := read(t, first); m.Data != want || m.Channel != "chat:red" || m.Position == "" {
			t.Errorf("%+v, want %q", m, want)
		}
	}
	plain := s.Dial("/chat?room=red")
	plain.WantText("two")
	plain.WantText("three")
	plain.SendText("from plain") // it is in its room
	at := read(t, first)
	if at.Data != "from plain" {
		t.Fatalf("%+v", at)
	}
	missed := func(position string, recovered bool, want ...string) (end told) {
		t.Helper()
		c := s.Dial("/chat?room=red&after=" + position)
		for _, text := range want {
			if m := read(t, c); m.Data != text || m.Recovered != nil {
				t.Errorf("after %s: %+v, want %q", position, m, text)
			}
		}
		end = read(t, c)
		if end.Recovered == nil || *end.Recovered != recovered || end.Count != len(want) || end.Position == "" {
			t.Errorf("after %s: %+v, want recovered %v", position, end, recovered)
		}
		say("live")
		if m := read(t, c); m.Data != "live" {
			t.Errorf("after %s: %+v, want what follows", position, m)
		}
		return end
	}
	missed(where.Position, true, "one", "two", "three", "from plain")
	missed(at.Position, true, "live")
	s.MustRun("reload")
	missed(at.Position, true, "live", "live")
	for _, w := range s.Status().Workers {
		s.Kill(w.PID)
	}
	pushdtest.Eventually(t, "the workers are back", func() bool {
		for _, w := range s.Status().Workers {
			if w.State != "ready" {
				return false
			}
		}
		return true
	})
	missed(at.Position, true, "live", "live", "live")
	epoch, _, _ := strings.Cut(at.Position, ":")
	if end := missed(epoch+":18446744073709551615", false); end.Reason != "future" {
		t.Errorf("the future: %+v", end)
	}
	if end := missed("aaaaaa:1", false); end.Reason != "epoch" {
		t.Errorf("another epoch: %+v", end)
	}
	if r := s.Dial("/closed?positions=1&room=blue"); read(t, r).Position == "" {
		t.Error("positions are told in open rooms too")
	}
	s.Kill(s.Status().Broker.PID)
	pushdtest.Eventually(t, "the API is back", func() bool {
		status, _ := s.Post("/v1/publish", map[string]any{"channel": "chat:green", "data": "x"})
		return status == 200
	})
	if end := missed(at.Position, false); end.Reason != "epoch" {
		t.Errorf("the memory is gone: %+v", end)
	}
}

// TestWhoMayReadThePast: nobody reads what was said before he came by guessing a
// room, and garbage is refused.
func TestWhoMayReadThePast(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withHistory})
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	red := token(t, "ann", "chat:red")
	for path, want := range map[string]int{
		"/chat?after=aaaaaa:1":                            101,
		"/notify?after=aaaaaa:1":                          101,
		"/token?after=aaaaaa:1&token=" + red:              101,
		"/closed?after=aaaaaa:1":                          403,
		"/shut?after=aaaaaa:1":                            403,
		"/token?after=aaaaaa:1":                           401,
		"/token?room=blue&after=aaaaaa:1&token=" + red:    403,
		"/chat?after=x":                                   400,
		"/chat?after=aaaaaa":                              400,
		"/chat?after=aaaaaa:18446744073709551616":         400,
		"/chat?after=" + strings.Repeat("a", 5000) + ":1": 400,
		"/closed?positions=1":                             101,
		"/closed?after=":                                  101,
	} {
		if r := pushdtest.Handshake(t, addr, path).Response; r.StatusCode != want {
			t.Errorf("%.50s: %s, want %d", path, r.Status, want)
		}
	}
	for _, o := range []string{`{"last":20}`, `{"secret":"` + secret + `","anonymous":true,"last":20}`, `{"last":-1,"public_history":true}`} {
		if _, err := New(worker.Options(o)); err == nil {
			t.Errorf("%s is taken", o)
		}
	}
	// Without history in its query a client of an open room gets none.
	s.Post("/v1/publish", map[string]any{"channel": "chat:lobby", "data": "before"})
	c := s.Dial("/closed")
	s.Post("/v1/publish", map[string]any{"channel": "chat:lobby", "data": "after"})
	c.WantText("after")
}

// TestNotifyAfter: one position is enough for all channels that a client has.
func TestNotifyAfter(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withHistory})
	c := s.Dial("/notify?positions=1")
	where := read(t, c)
	s.Post("/v1/publish", map[string]any{"channel": "news", "data": json.RawMessage(`{"n":1}`)})
	if m := read(t, c); m.Data != `{"n":1}` || m.Channel != "news" {
		t.Errorf("%+v", m)
	}
	again := s.Dial("/notify?after=" + where.Position)
	if m := read(t, again); m.Data != `{"n":1}` {
		t.Errorf("%+v", m)
	}
	if m := read(t, again); m.Recovered == nil || !*m.Recovered || m.Count != 1 {
		t.Errorf("%+v", m)
	}
	plain := s.Dial("/notify")
	s.Post("/v1/publish", map[string]any{"channel": "news", "data": "plain"})
	plain.WantText("plain")
}
