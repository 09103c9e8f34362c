package notify

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const secret = "correct horse battery staple"

const config = `
log_level = "debug"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/notify" = { handler = "notify", options = { secret = "` + secret + `", cookie = "login", channels = ["all"] } }
"/open"   = { handler = "notify", options = { anonymous = true, channels = ["all"] } }
"/both"   = { handler = "notify", options = { anonymous = true, secret = "` + secret + `" } }
`

type claims = jwt.MapClaims

func soon() int64 { return time.Now().Add(time.Hour).Unix() }

func sign(t testing.TB, method jwt.SigningMethod, key any, c claims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func token(t testing.TB, c claims) string {
	return sign(t, jwt.SigningMethodHS256, []byte(secret), c)
}

// reaches pushes by the API and checks how many connections it was for.
func reaches(t *testing.T, s *pushdtest.Server, path string, body map[string]any, n int) {
	t.Helper()
	status, answer := s.Post(path, body)
	if status != http.StatusOK || answer["reached"] != float64(n) || answer["complete"] != true {
		t.Fatalf("%s %v: %d %v, want %d reached", path, body, status, answer, n)
	}
}

// id reads the greeting of ?hello=1.
func id(t *testing.T, c *pushdtest.Client) string {
	t.Helper()
	op, raw := c.Read()
	var hello map[string]string
	if err := json.Unmarshal(raw, &hello); err != nil || op != pushdtest.OpText || len(hello) != 1 || hello["id"] == "" {
		t.Fatalf("greeting: opcode %d %q", op, raw)
	}
	return hello["id"]
}

func TestPushesArriveAsTheyWereSent(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	phone := s.Dial("/notify?token=" + token(t, claims{"sub": "42", "channels": []string{"news", "chess"}, "exp": soon()}))
	laptop := s.Dial("/notify?token=" + token(t, claims{"sub": 42, "exp": soon()})) // as some back ends write ids
	guest := s.Dial("/open")

	reaches(t, s, "/v1/send", map[string]any{"uid": "42", "data": "to both"}, 2)
	phone.WantText("to both")
	laptop.WantText("to both")
	reaches(t, s, "/v1/publish", map[string]any{"channel": "chess", "data": json.RawMessage(`{"move":"e4","n":1.50}`)}, 1)
	phone.WantText(`{"move":"e4","n":1.50}`)
	reaches(t, s, "/v1/publish", map[string]any{"channel": "news", "data_base64": "AP8="}, 1)
	if op, raw := phone.Read(); op != pushdtest.OpBinary || string(raw) != "\x00\xff" {
		t.Fatalf("got opcode %d %q", op, raw)
	}
	reaches(t, s, "/v1/publish", map[string]any{"channel": "all", "data": "everyone"}, 3)
	for _, c := range []*pushdtest.Client{phone, laptop, guest} {
		c.WantText("everyone")
	}
	guest.SendText("is ignored")
	guest.Send(pushdtest.OpBinary, []byte{1})
	reaches(t, s, "/v1/publish", map[string]any{"channel": "all", "data": "still here"}, 3)
	guest.WantText("still here")
}

func TestHelloTellsTheConnection(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	a, b := s.Dial("/open?hello=1"), s.Dial("/open?hello=1")
	idA, idB := id(t, a), id(t, b)
	if idA == idB {
		t.Fatalf("two connections have the id %s", idA)
	}
	reaches(t, s, "/v1/send", map[string]any{"connection": idA, "data": "for a"}, 1)
	reaches(t, s, "/v1/send", map[string]any{"connection": idB, "data": "for b"}, 1)
	a.WantText("for a")
	b.WantText("for b")
	quiet := s.Dial("/open?hello=0")
	reaches(t, s, "/v1/publish", map[string]any{"channel": "all", "data": "x"}, 3)
	quiet.WantText("x") // and no greeting before it
}

func TestCookie(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	good := token(t, claims{"sub": "7", "exp": soon()})
	c := s.Dial("/notify", "Cookie: theme=dark; login="+good)
	reaches(t, s, "/v1/send", map[string]any{"uid": "7", "data": "hi"}, 1)
	c.WantText("hi")
	other := pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/notify", "Cookie: session="+good)
	if other.Response.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a cookie of another name: %s", other.Response.Status)
	}
}

// critical signs a token with an extension that has to be understood.
func critical(t testing.TB, c claims) string {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	token.Header["crit"], token.Header["b64x"] = []string{"b64x"}, true
	raw, err := token.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// refused are the tokens that must not let anyone in, and what the client hears.
func refused(t testing.TB) map[string]struct{ token, reason string } {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := claims{"sub": "42", "exp": soon()}
	signed := token(t, good)
	hmac := func(c claims) string { return token(t, c) }
	return map[string]struct{ token, reason string }{
		"expired":           {hmac(claims{"sub": "42", "exp": time.Now().Add(-time.Second).Unix()}), "expired"},
		"not yet":           {hmac(claims{"sub": "42", "exp": soon(), "nbf": soon()}), "not valid yet"},
		"exp is a text":     {hmac(claims{"sub": "42", "exp": fmt.Sprint(soon())}), "invalid"},
		"exp is null":       {hmac(claims{"sub": "42", "exp": nil}), "invalid"},
		"exp is EXP":        {hmac(claims{"sub": "42", "EXP": soon()}), "invalid"},
		"exp is no date":    {hmac(claims{"sub": "42", "exp": 1e300}), "invalid"},
		"exp is negative":   {hmac(claims{"sub": "42", "exp": -1}), "invalid"},
		"nbf is no date":    {hmac(claims{"sub": "42", "exp": soon(), "nbf": 1e300}), "invalid"},
		"nbf is a text":     {hmac(claims{"sub": "42", "exp": soon(), "nbf": "1"}), "invalid"},
		"nbf over leeway":   {hmac(claims{"sub": "42", "exp": soon(), "nbf": time.Now().Add(time.Minute).Unix()}), "not valid yet"},
		"SUB":               {hmac(claims{"sub": 4.5, "SUB": "42", "exp": soon()}), "invalid"},
		"channels is text":  {hmac(claims{"sub": "42", "exp": soon(), "channels": "news"}), "invalid"},
		"crit":              {critical(t, good), "invalid"},
		"no exp":            {hmac(claims{"sub": "42"}), "invalid"},
		"alg none":          {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good), "invalid"},
		"alg RS256":         {sign(t, jwt.SigningMethodRS256, key, good), "invalid"},
		"alg HS512":         {sign(t, jwt.SigningMethodHS512, []byte(secret), good), "invalid"},
		"other secret":      {sign(t, jwt.SigningMethodHS256, []byte(secret+"?"), good), "invalid"},
		"empty secret":      {sign(t, jwt.SigningMethodHS256, []byte{}, good), "invalid"},
		"no signature":      {signed[:strings.LastIndex(signed, ".")+1], "invalid"},
		"cut":               {signed[:len(signed)-1], "invalid"},
		"garbage":           {"garbage", "invalid"},
		"sub is a list":     {hmac(claims{"sub": []string{"42"}, "exp": soon()}), "invalid"},
		"sub is a fraction": {hmac(claims{"sub": 4.2, "exp": soon()}), "invalid"},
		"sub is control":    {hmac(claims{"sub": "4\n2", "exp": soon()}), "invalid"},
		"channel is empty":  {hmac(claims{"sub": "42", "exp": soon(), "channels": []string{""}}), "invalid"},
		"channel is long":   {hmac(claims{"sub": "42", "exp": soon(), "channels": []string{strings.Repeat("x", 201)}}), "invalid"},
		"many channels":     {hmac(claims{"exp": soon(), "channels": strings.Split(strings.Repeat("a,", 100), ",")}), "invalid"},
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	check := func(name, path, reason string) {
		t.Helper()
		r := pushdtest.Handshake(t, addr, path).Response
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), reason) {
			t.Errorf("%s: %s %q, want 401 and %q", name, r.Status, body, reason)
		}
	}
	for name, c := range refused(t) {
		check(name, "/notify?token="+c.token, "token refused: "+c.reason+"\n")
		check(name+", on a route that lets everyone in", "/both?token="+c.token, c.reason)
	}
	check("no token", "/notify", "a token is needed")
	check("empty token", "/notify?token=", "a token is needed")
	check("a route without a secret", "/open?token="+token(t, claims{"sub": "42", "exp": soon()}), "invalid")
	reaches(t, s, "/v1/send", map[string]any{"uid": "42", "data": "x"}, 0)
	reaches(t, s, "/v1/publish", map[string]any{"channel": "all", "data": "x"}, 0)
}

func TestTokenIsToldNowhere(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	tokens := []string{token(t, claims{"sub": "42", "exp": soon()})}
	c := s.Dial("/notify?token=" + tokens[0])
	s.Dial("/both?x=1&token=" + tokens[0] + "&hello=1")
	s.Dial("/notify", "Cookie: login="+tokens[0])
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	for _, bad := range refused(t) {
		tokens = append(tokens, bad.token)
		pushdtest.Handshake(t, addr, "/notify?token="+bad.token)
		pushdtest.Handshake(t, addr, "/nowhere?token="+bad.token)
	}
	if r, err := http.Get("http://" + addr + "/notify?token=" + tokens[0]); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	told := s.MustRun("connections", "--json") + s.MustRun("status", "--json") + s.MustRun("plan")
	if !strings.Contains(told, `"42"`) {
		t.Errorf("connections does not know the uid: %s", told)
	}
	c.Close()
	s.Stop()
	told += s.Log()
	if !strings.Contains(told, "refused a client") {
		t.Error("the log does not tell of the refusals")
	}
	for _, token := range append(tokens, secret) {
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > len("garbage") && strings.Contains(told, part) {
				t.Errorf("%q is told", part)
			}
		}
	}
}

// TestWaysOfTheToken: a client logs in by a header, by subprotocols, and by a
// cookie among those of others; and while the back end's clock is ahead.
func TestWaysOfTheToken(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config + `"/chosen" = { handler = "notify", protocols = ["v2", "v1"], options = { secret = "` + secret + `" } }
`})
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	good := token(t, claims{"sub": "42", "exp": soon()})
	ahead := token(t, claims{"sub": "42", "exp": soon(), "nbf": time.Now().Add(10 * time.Second).Unix(), "iat": soon()})
	bad := token(t, claims{"sub": "42", "exp": 1})
	for name, c := range map[string]struct {
		path   string
		header []string
		status int
		chosen string
	}{
		"Authorization":          {"/notify", []string{"Authorization: Bearer " + good}, 101, ""},
		"in any case":            {"/notify", []string{"authorization: bearer  " + good}, 101, ""},
		"another scheme":         {"/notify", []string{"Authorization: Basic " + good}, 401, ""},
		"a bad one":              {"/notify", []string{"Authorization: Bearer " + bad}, 401, ""},
		"on a route for anybody": {"/both", []string{"Authorization: Bearer " + bad}, 401, ""},
		"of a proxy":             {"/both", []string{"Authorization: Basic dXNlcjpwYXNz"}, 101, ""},
		"subprotocols":           {"/notify", []string{"Sec-WebSocket-Protocol: bearer, " + good}, 101, "bearer"},
		"in two lines":           {"/notify", []string{"Sec-WebSocket-Protocol: chat, bearer", "Sec-WebSocket-Protocol: " + good}, 101, "bearer"},
		"the word alone":         {"/notify", []string{"Sec-WebSocket-Protocol: bearer"}, 401, ""},
		"bad subprotocols":       {"/notify", []string{"Sec-WebSocket-Protocol: bearer, " + bad}, 401, ""},
		"and one of the route":   {"/chosen", []string{"Sec-WebSocket-Protocol: bearer, " + good + ", v1"}, 101, "v1"},
		"none of the route":      {"/chosen", []string{"Sec-WebSocket-Protocol: bearer, " + good + ", v3"}, 101, "bearer"},
		"route, best first":      {"/chosen?token=" + good, []string{"Sec-WebSocket-Protocol: v1, v2"}, 101, "v2"},
		"route, nothing offered": {"/chosen?token=" + good, nil, 101, ""},
		"no name":                {"/notify", []string{"Cookie: flag; login=" + good}, 101, ""},
		"JSON":                   {"/notify", []string{`Cookie: prefs={"a":1,"b":"c d"}; login=` + good}, 101, ""},
		"an umlaut":              {"/notify", []string{"Cookie: login=" + good + "; city=Zürich"}, 101, ""},
		"quotes":                 {"/notify", []string{`Cookie: =x; ;login="` + good + `";;a=b`}, 101, ""},
		"an empty one before":    {"/notify", []string{"Cookie: login=; login=" + good}, 101, ""},
		"another query":          {"/notify?x=%zz&y=a;b&100%&token=" + good + "&%", nil, 101, ""},
		"ahead":                  {"/notify?token=" + ahead, nil, 101, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := pushdtest.Handshake(t, addr, c.path, c.header...).Response
			if chosen := r.Header.Get("Sec-WebSocket-Protocol"); r.StatusCode != c.status || chosen != c.chosen {
				t.Errorf("%s, subprotocol %q; want %d, %q", r.Status, chosen, c.status, c.chosen)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []string{``, `{}`, `{"secret":""}`, `{"Secret2":"x"}`, `{"secret":"…"}`, `{"secret":"fifteen-bytes-1"}`, `{"anonymous":true,"channels":[""]}`, `{"anonymous":true,"channels":["a\n"]}`,
		`{"anonymous":true,"leeway":"x"}`, `{"anonymous":true,"leeway":"6m"}`, `{"anonymous":true,"leeway":"-1s"}`} {
		if _, err := New(worker.Options(o)); err == nil {
			t.Errorf("options %s are taken", o)
		}
	}
}

// TestTokensOfAnHour goes through that hour, and a reload in it, by the test's clock.
func TestTokensOfAnHour(t *testing.T) {
	route := func() *worker.Worker {
		h, err := New(worker.Options(`{"secret":"` + secret + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		w := worker.New()
		w.Handler = h
		return w
	}
	s := workertest.Start(t, route())
	good := token(t, claims{"sub": "42", "exp": soon(), "channels": []string{"news"}})
	c := s.Dial("/?token=" + good)
	s.Advance(50 * time.Minute)
	s.Reload(route())
	late := s.Dial("/?token=" + good)
	s.Do(func(w *worker.Worker) {
		if err := w.Publish("news", worker.Text("still here")); err != nil {
			t.Error(err)
		}
	})
	c.WantText("still here")
	s.Advance(11 * time.Minute)
	c.WantClose(4001)
	late.WantClose(4001)
	if status, _ := s.Handshake("/?token=" + good).Status(); status != http.StatusUnauthorized {
		t.Errorf("a token that has expired: %d", status)
	}
}

// TestExpiredTokenEndsTheConnection, in its process and in the one that a reload
// has put in its place.
func TestExpiredTokenEndsTheConnection(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	expires := time.Now().Add(7 * time.Second)
	lasting := s.Dial("/notify?hello=1&token=" + token(t, claims{"sub": "42", "exp": soon()}))
	id(t, lasting)
	short := s.Dial("/notify?hello=1&token=" + token(t, claims{"sub": "42", "exp": expires.Unix()}))
	id(t, short)
	s.MustRun("reload")
	fresh := s.Dial("/notify?token=" + token(t, claims{"exp": time.Now().Add(5 * time.Second).Unix()}))
	fresh.WantClose(4001)
	short.WantClose(4001)
	if early := time.Until(time.Unix(expires.Unix(), 0)); early > 0 {
		t.Errorf("closed %s before the tokens expired", early)
	}
	reaches(t, s, "/v1/send", map[string]any{"uid": "42", "data": "still here"}, 1)
	lasting.WantText("still here")
}
