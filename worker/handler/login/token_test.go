package login

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "correct horse battery staple"

func door(t testing.TB) *Door {
	t.Helper()
	d, err := New(Options{KeyOptions: KeyOptions{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func soon() int64 { return time.Now().Add(time.Hour).Unix() }

func token(t testing.TB, secret string, c jwt.MapClaims) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Whatever a client sends as its token: without the secret it does not get in.
func FuzzToken(f *testing.F) {
	d := door(f)
	for _, raw := range []string{"", "..", "garbage", token(f, "another secret of theirs", jwt.MapClaims{"sub": "42", "exp": soon()}),
		token(f, secret, jwt.MapClaims{"sub": "42", "exp": 1}), token(f, secret, jwt.MapClaims{"sub": "42"})} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var c Claims
		if d.verify(raw, &c, time.Now()) == nil {
			t.Errorf("%q is taken", raw)
		}
	})
}

// Whatever stands in claims that the back end has signed: what is taken can be
// named in the API.
func FuzzClaims(f *testing.F) {
	d := door(f)
	for _, c := range []string{`{}`, `{"sub":"42"}`, `{"sub":42}`, `{"sub":null}`, `{"sub":-1e3}`, `{"channels":["a","b"]}`, `{"channels":[1]}`, `{"sub":"\u0000"}`} {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var m jwt.MapClaims
		if json.Unmarshal(payload, &m) != nil || m == nil {
			return
		}
		m["exp"] = soon()
		var c Claims
		if d.verify(token(t, secret, m), &c, time.Now()) != nil {
			return
		}
		for _, name := range append([]string{c.Subject}, c.Channels...) {
			if len(name) > maxName || strings.ContainsAny(name, "\x00\n\x7f") {
				t.Errorf("%q is taken", name)
			}
		}
	})
}
