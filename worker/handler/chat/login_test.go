package chat

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
)

const secret = "correct horse battery staple"

const withLogin = `
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/chat"   = { handler = "chat", options = { secret = "` + secret + `", cookie = "login", channels = ["news"] } }
"/mixed"  = { handler = "chat", options = { secret = "` + secret + `", anonymous = true } }
"/single" = { handler = "chat", options = { secret = "` + secret + `", rooms = false } }
`

func token(t *testing.T, sub string, channels ...string) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": sub, "channels": channels, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestTokenSaysWhichRooms: a client gets into the rooms that its token names,
// and hears what else that lets it listen to.
func TestTokenSaysWhichRooms(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withLogin})
	ann := s.Dial("/chat?token=" + token(t, "ann", "offers", "chat:red", "chat:blue"))
	bob := s.Dial("/chat?room=blue&token="+token(t, "bob", "chat:red", "chat:blue"), "Origin: http://127.0.0.1")
	cyd := s.Dial("/chat", "Cookie: login="+token(t, "cyd", "chat:blue"))
	bob.SendText("blue")
	cyd.WantText("blue")
	for who, c := range map[string]*pushdtest.Client{"ann": ann, "bob": bob, "cyd": cyd} {
		if status, answer := s.Post("/v1/send", map[string]any{"uid": who, "data": "for " + who}); status != 200 || answer["reached"] != 1.0 {
			t.Errorf("%s: %d %v", who, status, answer)
		}
		c.WantText("for " + who)
	}
	for channel, n := range map[string]float64{"chat:red": 1, "chat:blue": 2, "offers": 1, "news": 3, "chat:lobby": 0} {
		if _, answer := s.Post("/v1/publish", map[string]any{"channel": channel, "data": "x"}); answer["reached"] != n {
			t.Errorf("%s reaches %v, want %v", channel, answer["reached"], n)
		}
	}
	s.MustRun("reload")
	cyd.WantText("x")
	cyd.WantText("x")
	cyd.SendText("still blue")
	bob.WantText("x")
	bob.WantText("x")
	bob.WantText("still blue")
}

// TestWhoMayNotEnter: with a secret nobody gets into a room that his token does
// not name.
func TestWhoMayNotEnter(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withLogin})
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	red, plain := token(t, "ann", "chat:red"), token(t, "ann", "news")
	for path, want := range map[string]int{
		"/chat":                          http.StatusUnauthorized,
		"/chat?room=red":                 http.StatusUnauthorized,
		"/chat?token=x":                  http.StatusUnauthorized,
		"/chat?token=" + red:             http.StatusSwitchingProtocols,
		"/chat?room=red&token=" + red:    http.StatusSwitchingProtocols,
		"/chat?room=blue&token=" + red:   http.StatusForbidden,
		"/chat?room=lobby&token=" + red:  http.StatusForbidden,
		"/chat?token=" + plain:           http.StatusForbidden,
		"/single?room=blue&token=" + red: http.StatusSwitchingProtocols, // the room of the token
		"/mixed":                         http.StatusSwitchingProtocols,
		"/mixed?room=blue&token=" + red:  http.StatusSwitchingProtocols,
		"/mixed?token=x":                 http.StatusUnauthorized,
		"/chat?room=" + strings.Repeat("a", 101) + "&token=" + red: http.StatusBadRequest,
	} {
		if r := pushdtest.Handshake(t, addr, path).Response; r.StatusCode != want {
			t.Errorf("%.60s: %s, want %d", path, r.Status, want)
		}
	}
}

// TestLoginOptions are checked as those of notify.
func TestLoginOptions(t *testing.T) {
	for o, want := range map[string]string{
		`{"secret":"short"}`:                      "secret",
		`{"channels":["chat:lobby"]}`:             "is a room",
		`{"leeway":"1h"}`:                         "leeway",
		`{"channels":["` + "a\\n" + `"]}`:         "channels",
		`{"secret":"` + secret + `","cokie":"x"}`: "cokie",
	} {
		if _, err := New(worker.Options(o)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", o, err)
		}
	}
	if _, err := New(worker.Options(`{"anonymous":true}`)); err != nil {
		t.Error(err)
	}
}
