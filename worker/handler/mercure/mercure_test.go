package mercure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

const (
	hubURL = "https://hub.example.com/.well-known/mercure"
	secret = "correct horse battery staple"
	issuer = "https://app.example.com"
)

func options(more string) worker.Options {
	return worker.Options(`{"hub":"` + hubURL + `","issuer":"` + issuer + `","secret":"` + secret + `"` + more + `}`)
}

func newWorker(t testing.TB, more string) *worker.Worker {
	t.Helper()
	w := worker.New()
	for _, pattern := range []string{"/.well-known/mercure", "/.well-known/mercure/*", "/.well-known/oauth-protected-resource/*"} {
		h, err := New(options(more))
		if err != nil {
			t.Fatal(err)
		}
		w.Routes = append(w.Routes, worker.Route{Pattern: pattern, Handler: h, Origins: []string{"https://page.example"}})
	}
	return w
}

func start(t testing.TB, more string) *workertest.Server {
	return workertest.Start(t, newWorker(t, more))
}

// grant is an authorization detail.
func grant(action string, topics ...string) map[string]any {
	list := []map[string]string{}
	for _, topic := range topics {
		kind := "exact"
		if strings.Contains(topic, ":id") || strings.HasSuffix(topic, "/*") {
			kind = "urlpattern"
		}
		list = append(list, map[string]string{"match": topic, "match_type": kind})
	}
	return map[string]any{"type": wire.DetailType, "actions": []string{action}, "topics": list}
}

// token makes a good one; change may spoil it.
func token(t testing.TB, now time.Time, details []map[string]any, change func(header map[string]any, claims jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": issuer, "aud": hubURL, "sub": "42", "client_id": "app", "iat": now.Unix(), "exp": now.Add(300 * time.Second).Unix(), "jti": "1"}
	if details != nil {
		claims["authorization_details"] = details
	}
	tok := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	tok.Header["typ"] = "at+jwt"
	if change != nil {
		change(tok.Header, claims)
	}
	raw, err := tok.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func bearer(raw string) string { return "Authorization: Bearer " + raw }

// send publishes a form.
func send(t testing.TB, s *workertest.Server, form, raw string, headers ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://localhost/.well-known/mercure", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	return do(t, s, r)
}

func do(t testing.TB, s *workertest.Server, r *http.Request) (int, string) {
	t.Helper()
	response := s.Request(r)
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func now(s *workertest.Server) (t time.Time) {
	s.Do(func(w *worker.Worker) { t = w.Now() })
	return t
}

// listen subscribes as a client on this machine.
func listen(s *workertest.Server, query, raw string, headers ...string) *workertest.Events {
	if raw != "" {
		headers = append(headers, bearer(raw))
	}
	return s.EventsAt("localhost", "/.well-known/mercure?"+query, headers...)
}

// TestDoubt: an update that is lost on the bus is answered soon, and by no more
// than that it is not known.
func TestDoubt(t *testing.T) {
	bus := &workertest.Bus{}
	s := workertest.Start(t, newWorker(t, ""), workertest.Options{Bus: bus})
	form := "topic=a&data=x"
	post := func() *workertest.Client {
		c := s.Stream(0)
		c.Write([]byte(fmt.Sprintf("POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
			bearer(token(t, now(s), []map[string]any{grant("publish", "*")}, nil)), len(form), form)))
		return c
	}
	bus.Lose(true)
	c := post()
	s.Advance(4 * time.Second)
	if b := c.Bytes(); len(b) != 0 {
		t.Fatalf("answered early: %s", b)
	}
	s.Advance(2 * time.Second)
	if b := string(c.Bytes()); !strings.HasPrefix(b, "HTTP/1.1 503 ") || !strings.Contains(b, "Retry-After: 1\r\n") {
		t.Errorf("answered %q", b)
	}
	bus.Lose(false)
	c = post()
	if b := string(c.Bytes()); !strings.HasPrefix(b, "HTTP/1.1 200 ") {
		t.Errorf("then answered %q", b)
	}
	s.Advance(10 * time.Second) // and nothing more
	if b := c.Bytes(); len(b) != 0 {
		t.Errorf("answered twice: %q", b)
	}
}

// Sections "Subscription", "Publication": an update reaches who has asked for one
// of its topics, once, as an event with id, type, retry and data.
func TestPublishAndSubscribe(t *testing.T) {
	s := start(t, `,"anonymous":true`)
	raw := token(t, now(s), []map[string]any{grant("publish", "*")}, nil)
	one := listen(s, "match=https%3A%2F%2Fexample.com%2F1&match=other", "")
	pattern := listen(s, "match_urlpattern="+url.QueryEscape("https://example.com/:id")+"&match=https%3A%2F%2Fexample.com%2F1", "")
	none := listen(s, "match=https%3A%2F%2Fexample.com%2F2", "")
	status, id := send(t, s, "topic=https%3A%2F%2Fexample.com%2F1&topic=alt&data=line+1%0D%0Aline+2&type=news&retry=1500&id=theirs", raw)
	if status != 200 || !strings.HasPrefix(id, "urn:uuid:") {
		t.Fatalf("%d %q", status, id)
	}
	for _, c := range []*workertest.Events{one, pattern} {
		for {
			e := c.Next()
			if e.Data == nil {
				continue // the time to wait
			}
			if string(e.Data) != "line 1\nline 2" || e.Type != "news" || e.Retry != 1500*time.Millisecond || e.ID != id {
				t.Errorf("%+v", e)
			}
			break
		}
		c.WantNothing()
	}
	none.WantNothing()
	if status, _ := send(t, s, "topic=other&data=x", raw); status != 200 {
		t.Errorf("%d", status)
	}
	one.WantData("x")
	pattern.WantNothing()
}

// Section "Publication": the answer is the id of the hub as plain text, and fields
// that nobody knows are ignored.
func TestPublishAnswer(t *testing.T) {
	s := start(t, `,"anonymous":true`)
	c := listen(s, "match=a", "")
	r, _ := http.NewRequest(http.MethodPost, "http://localhost/.well-known/mercure", strings.NewReader("topic=a&data=one%0Dtwo%0A%0Dthree%0D%0A&priority=%ff&id=urn:x:1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	r.Header.Set("Authorization", "bearer "+token(t, now(s), []map[string]any{grant("publish", "*")}, nil))
	response := s.Request(r)
	id, _ := io.ReadAll(response.Body)
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %v %s", response.StatusCode, response.Header, id)
	}
	for {
		if e := c.Next(); e.Data != nil {
			if string(e.Data) != "one\ntwo\n\nthree\n" || e.ID != string(id) {
				t.Errorf("%+v, answered %s", e, id)
			}
			break
		}
	}
}

// Section "Presenting the Access Token": never in a URL. Section "Error Responses":
// the challenge says where to read what tokens there are.
func TestTokenInURL(t *testing.T) {
	s := start(t, "")
	raw := token(t, now(s), []map[string]any{grant("subscribe", "*")}, nil)
	for _, query := range []string{"access_token=" + raw, "authorization=" + raw, "token=" + raw} {
		status, header := listen(s, "match=a&"+query, "").Status()
		challenge := header.Get("WWW-Authenticate")
		if status != 401 || strings.Contains(challenge, "error") || !strings.Contains(challenge, "resource_metadata=") {
			t.Errorf("%.14s: %d %s", query, status, challenge)
		}
	}
	for _, c := range []struct {
		header string
		status int
		code   string
	}{
		{"Authorization: Bearer ", 400, "invalid_request"}, {"Authorization: " + raw, 400, "invalid_request"}, {"Authorization: Bearer x", 401, "invalid_token"},
	} {
		status, header := listen(s, "match=a", "", c.header).Status()
		if challenge := header.Get("WWW-Authenticate"); status != c.status || !strings.Contains(challenge, `error="`+c.code+`"`) || !strings.Contains(challenge, "resource_metadata=") {
			t.Errorf("%.25s: %d %s", c.header, status, challenge)
		}
	}
}

// Section "Subscribers": what is private goes to who is granted one of the topics.
func TestPrivateUpdates(t *testing.T) {
	s := start(t, `,"anonymous":true`)
	n := now(s)
	publish := token(t, n, []map[string]any{grant("publish", "*")}, nil)
	anonymous := listen(s, "match=*", "")
	granted := listen(s, "match=*", token(t, n, []map[string]any{grant("subscribe", "a")}, nil))
	alternate := listen(s, "match=b", token(t, n, []map[string]any{grant("subscribe", "https://example.com/users/42/*")}, nil))
	publisher := listen(s, "match=*", publish) // publish is not subscribe
	for _, form := range []string{"topic=a&data=1&private=on", "topic=b&data=2&private", "topic=b&topic=https://example.com/users/42/b&data=3&private=off", "topic=b&data=4"} {
		if status, body := send(t, s, form, publish); status != 200 {
			t.Fatalf("%s: %d %s", form, status, body)
		}
	}
	anonymous.WantData("4")
	granted.WantData("1", "4")
	alternate.WantData("3", "4")
	publisher.WantData("4")
	for _, c := range []*workertest.Events{anonymous, granted, alternate, publisher} {
		c.WantNothing()
	}
}

// Sections "Publishers", "Error Responses".
func TestPublishRefused(t *testing.T) {
	s := start(t, `,"anonymous":true`)
	n := now(s)
	good := token(t, n, []map[string]any{grant("publish", "a", "b")}, nil)
	all := listen(s, "match=*", "")
	for _, c := range []struct {
		form, raw string
		headers   []string
		status    int
		challenge string
	}{
		{"topic=a&data=x", "", nil, 401, ""},
		{"topic=a&topic=c&data=x", good, nil, 403, "insufficient_scope"},
		{"topic=a", token(t, n, []map[string]any{grant("subscribe", "*")}, nil), nil, 403, "insufficient_scope"},
		{"topic=a", token(t, n, nil, nil), nil, 403, "insufficient_scope"},
		{"topic=a", "garbage", nil, 401, "invalid_token"},
		{"data=x", good, nil, 400, ""},
		{"topic=*", good, nil, 400, ""},
		{"topic=/.well-known/mercure/subscriptions/exact/a/b", good, nil, 400, ""},
		{"topic=/.well-known/mercure/subscriptions/exact/a/b", token(t, n, nil, nil), nil, 400, ""}, // whatever the token grants
		{"topic=a&type=mercure", good, nil, 400, ""},
		{"topic=a&id=x%00", good, nil, 400, ""},
		{"topic=a&data=%ff", good, nil, 400, ""},
		{strings.Repeat("topic=a&", wire.MaxTopics+1), good, nil, 413, ""},
		{"topic=a", good, []string{"Content-Type: application/x-www-form-urlencoded; charset=utf-16"}, 415, ""},
		{"topic=a", good, []string{"Content-Type: application/json"}, 415, ""},
		{"topic=a", good, []string{"Content-Encoding: gzip"}, 415, ""}, // or it would be read as a form
		{"topic=b", good, []string{"Content-Encoding: x, identity"}, 415, ""},
		{"topic=a", "", []string{"Authorization: Basic eDp5"}, 400, "invalid_request"},
		{"topic=a", good, []string{"Host: hub.example.com"}, 401, "invalid_token"},                             // no encryption
		{"topic=a", good, []string{"Host: hub.example.com", "X-Forwarded-Proto: https"}, 401, "invalid_token"}, // of nobody who is trusted
	} {
		r, _ := http.NewRequest(http.MethodPost, "http://localhost/.well-known/mercure", strings.NewReader(c.form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if c.raw != "" {
			r.Header.Set("Authorization", "Bearer "+c.raw)
		}
		for _, line := range c.headers {
			name, value, _ := strings.Cut(line, ": ")
			if r.Header.Set(name, value); name == "Host" {
				r.Host = value
			}
		}
		response := s.Request(r)
		challenge := response.Header.Get("WWW-Authenticate")
		if response.StatusCode != c.status || (c.status == 401 || c.status == 403) != (challenge != "") && c.challenge == "" || !strings.Contains(challenge, c.challenge) {
			b, _ := io.ReadAll(response.Body)
			t.Errorf("%.60s: %d %q %s, want %d %q", c.form, response.StatusCode, challenge, b, c.status, c.challenge)
		}
		if c.raw == "" && c.headers == nil && (strings.Contains(challenge, "error") || !strings.Contains(challenge, `resource_metadata="https://hub.example.com/.well-known/oauth-protected-resource/.well-known/mercure"`)) {
			t.Errorf("the challenge of who has no token: %q", challenge)
		}
	}
	all.WantNothing()
}

// Section "Token Validation": each MUST, and what the log says of it.
func TestTokenValidation(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	s := start(t, "")
	details := []map[string]any{grant("subscribe", "*")}
	bad := func(name, want string, change func(map[string]any, jwt.MapClaims)) {
		t.Helper()
		s.Advance(2 * time.Second)
		log.Reset()
		c := listen(s, "match=a", token(t, now(s), details, change))
		status, header := c.Status()
		if status != 401 || !strings.Contains(header.Get("WWW-Authenticate"), `error="invalid_token"`) || !strings.Contains(log.String(), "wrong="+want+" ") {
			t.Errorf("%s: %d %v, log %s", name, status, header, log.String())
		}
	}
	set := func(name string, value any) func(map[string]any, jwt.MapClaims) {
		return func(_ map[string]any, c jwt.MapClaims) { c[name] = value }
	}
	typ := func(value any) func(map[string]any, jwt.MapClaims) {
		return func(h map[string]any, _ jwt.MapClaims) { h["typ"] = value }
	}
	bad("an ID token", "typ", typ("JWT"))
	bad("no typ", "typ", func(h map[string]any, _ jwt.MapClaims) { delete(h, "typ") })
	bad("another issuer", "iss", set("iss", "https://other.example"))
	bad("no issuer", "iss", func(_ map[string]any, c jwt.MapClaims) { delete(c, "iss") })
	bad("another hub", "aud", set("aud", "https://other.example/.well-known/mercure"))
	bad("other hubs", "aud", set("aud", []string{"a", "b"}))
	bad("no audience", "aud", func(_ map[string]any, c jwt.MapClaims) { delete(c, "aud") })
	bad("expired", "exp", set("exp", 1000))
	bad("no end", "exp", func(_ map[string]any, c jwt.MapClaims) { delete(c, "exp") })
	bad("an end that is none", "exp", set("exp", "tomorrow"))
	bad("not yet", "nbf", set("nbf", now(s).Add(time.Hour).Unix()))
	bad("a damaged detail", "claims", set("authorization_details", []any{map[string]any{"type": wire.DetailType}}))
	s.Advance(2 * time.Second)
	log.Reset()
	none, _ := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if status, _ := listen(s, "match=a", none).Status(); status != 401 || !strings.Contains(log.String(), "wrong=alg ") {
		t.Errorf("alg none: %d, log %s", status, log.String())
	}
	for _, good := range []func(map[string]any, jwt.MapClaims){nil, typ("application/AT+JWT"), set("aud", []string{"x", hubURL})} {
		if status, _ := listen(s, "match=a", token(t, now(s), details, good)).Status(); status != 200 {
			t.Errorf("a good one: %d", status)
		}
	}
	if status, _ := listen(s, "match=a", "").Status(); status != 401 {
		t.Errorf("without anonymous: %d", status)
	}
	for _, query := range []string{"", "topic=a", "match=" + strings.Repeat("a", 3000), "matchx=a", strings.Repeat("match=a%d&", 1)} {
		want := 400
		if strings.HasPrefix(query, "match=a%d") {
			want = 200
		}
		if status, _ := listen(s, query, token(t, now(s), details, nil)).Status(); status != want {
			t.Errorf("query %.20q: %d", query, status)
		}
	}
}

// Section "Presenting the Access Token": the header goes before the cookie. Section
// "Security Considerations": a page of another site publishes nothing by a cookie.
func TestCookies(t *testing.T) {
	s := start(t, "")
	n := now(s)
	good := token(t, n, []map[string]any{grant("publish", "a"), grant("subscribe", "a")}, nil)
	cookie := "Cookie: mercure_access_token=" + good
	if status, _ := listen(s, "match=a", "", cookie).Status(); status != 200 {
		t.Errorf("the cookie without a prefix on this machine: %d", status)
	}
	if status, _ := listen(s, "match=a", "garbage", cookie).Status(); status != 401 {
		t.Errorf("a bad header beside a good cookie: %d", status)
	}
	if status, _ := s.EventsAt("hub.example.com", "/.well-known/mercure?match=a", "Cookie: "+DefaultCookie+"="+good).Status(); status != 401 {
		t.Errorf("a cookie without encryption: %d", status)
	}
	for _, c := range []struct {
		header string
		status int
	}{
		{"Origin: https://page.example", 200}, {"Origin: http://localhost", 200}, {"Referer: http://localhost/page", 200},
		{"Origin: https://evil.example", 403}, {"Referer: https://evil.example/", 403}, {"Origin: null", 403}, {"X: 1", 403},
	} {
		if status, body := send(t, s, "topic=a", "", cookie, c.header); status != c.status {
			t.Errorf("%s: %d %s", c.header, status, body)
		}
	}
}

// A request that names two origins is of neither, as an upgrade is.
func TestTwoOrigins(t *testing.T) {
	s := start(t, `,"anonymous":true`)
	cookie := "Cookie: mercure_access_token=" + token(t, now(s), []map[string]any{grant("publish", "a")}, nil)
	for _, head := range []string{"POST /.well-known/mercure HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7", "GET /.well-known/mercure?match=a HTTP/1.1"} {
		c := s.Stream(0)
		c.Write([]byte(head + "\r\nHost: localhost\r\n" + cookie + "\r\nOrigin: https://page.example\r\nOrigin: https://evil.example\r\n\r\ntopic=a"))
		if b := string(c.Bytes()); !strings.HasPrefix(b, "HTTP/1.1 400 ") || strings.Contains(b, "Allow-Origin") {
			t.Errorf("%.4s: %q", head, b)
		}
	}
}

// Behind a trusted proxy its word counts: for the encryption, and for the host that
// a page is of.
func TestBehindProxy(t *testing.T) {
	s := workertest.Start(t, newWorker(t, ""), workertest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	good := token(t, now(s), []map[string]any{grant("publish", "a")}, nil)
	for _, c := range []struct {
		status  int
		headers []string
	}{
		{200, []string{"Host: hub.example.com", "X-Forwarded-Proto: https"}},
		{401, []string{"Host: hub.example.com", "X-Forwarded-Proto: http"}},
		{200, []string{"Host: 127.0.0.1:8080", "Forwarded: for=203.0.113.9;host=hub.example.com;proto=https"}},
		{401, []string{"Host: hub.example.com", "Forwarded: proto=https, for=203.0.113.9;proto=http"}},
		{401, []string{"Host: hub.example.com", "Forwarded: proto=https", "X-Forwarded-For: 203.0.113.9"}},
		{401, []string{"Host: hub.example.com"}},
		{401, []string{"Host: 127.0.0.1:8080", "X-Forwarded-Host: hub.example.com"}}, // what nginx makes of Host by itself
	} {
		if status, body := send(t, s, "topic=a", good, c.headers...); status != c.status {
			t.Errorf("%q: %d %s", c.headers, status, body)
		}
	}
	cookie := "Cookie: " + DefaultCookie + "=" + good
	for origin, want := range map[string]int{"https://hub.example.com": 200, "https://127.0.0.1": 403} {
		if status, body := send(t, s, "topic=a", "", cookie, "Host: 127.0.0.1:8080", "X-Forwarded-Host: hub.example.com", "X-Forwarded-Proto: https", "Origin: "+origin); status != want {
			t.Errorf("%s: %d %s", origin, status, body)
		}
	}
}

// Section "Subscription": CORS names the origin, with credentials, and never *
// with them: who comes in by "*" or as "null" is anybody, and has no cookies.
func TestCORS(t *testing.T) {
	for _, c := range []struct {
		origins     []string
		origin      string
		status      int
		allowed     string
		withCookies bool
		byCookie    int
	}{
		{[]string{"https://page.example"}, "https://page.example", 200, "https://page.example", true, 200},
		{[]string{"https://page.example"}, "https://evil.example", 403, "", false, 403},
		{[]string{"https://page.example", "*"}, "https://page.example", 200, "https://page.example", true, 200},
		{[]string{"*"}, "http://localhost", 200, "http://localhost", true, 200},
		{[]string{"*"}, "https://evil.example", 200, "*", false, 403},
		{[]string{"*"}, "null", 200, "*", false, 403},
		{[]string{"null"}, "null", 200, "null", false, 403},
	} {
		w := newWorker(t, `,"anonymous":true`)
		for i := range w.Routes {
			w.Routes[i].Origins = c.origins
		}
		s := workertest.Start(t, w)
		check := func(what string, got, status int, h http.Header) {
			t.Helper()
			if got != status || h.Get("Access-Control-Allow-Origin") != c.allowed || (h.Get("Access-Control-Allow-Credentials") != "") != c.withCookies || h.Get("Vary") != "Origin" {
				t.Errorf("%s from %s with %q: %d %v", what, c.origin, c.origins, got, h)
			}
		}
		status, header := listen(s, "match=a", "", "Origin: "+c.origin).Status()
		check("a stream", status, c.status, header)
		if got := header.Get("Access-Control-Expose-Headers"); c.status == 200 && got != "Link, Mercure-Last-Event-ID" {
			t.Errorf("%s may read %q", c.origin, got)
		}
		r, _ := http.NewRequest(http.MethodOptions, "http://localhost/.well-known/mercure", nil)
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		response := s.Request(r)
		check("a preflight", response.StatusCode, map[int]int{200: 204, 403: 403}[c.status], response.Header)
		if got := response.Header.Get("Access-Control-Allow-Methods"); (got == "GET, HEAD, POST") != (c.status == 200) {
			t.Errorf("%s may %q", c.origin, got)
		}
		cookie := "Cookie: mercure_access_token=" + token(t, now(s), []map[string]any{grant("publish", "a")}, nil)
		if status, body := send(t, s, "topic=a", "", cookie, "Origin: "+c.origin); status != c.byCookie {
			t.Errorf("a publish by cookie from %s with %q: %d %s", c.origin, c.origins, status, body)
		}
	}
}

// Section "Subscribers": a stream ends no later than its token, and up to a tenth
// before, each at another time; it is told.
func TestStreamsEnd(t *testing.T) {
	s := start(t, "")
	n := now(s)
	raw := token(t, n, []map[string]any{grant("subscribe", "*")}, nil)
	var list []*workertest.Events
	for range 40 {
		list = append(list, listen(s, "match=a", raw))
	}
	s.Advance(268 * time.Second)
	open := func() (k int) {
		s.Do(func(w *worker.Worker) { k = w.CountMembers(wire.HubChannel("/.well-known/mercure")) })
		return k
	}
	if open() != 40 {
		t.Fatalf("%d are open after 268 s", open())
	}
	s.Advance(17 * time.Second)
	if k := open(); k == 0 || k == 40 {
		t.Errorf("%d of 40 are open after 285 s: they end together", k)
	}
	s.Advance(25 * time.Second) // some of it for the farewell
	if open() != 0 {
		t.Errorf("%d are open when the token has ended", open())
	}
	for {
		if e := list[0].Next(); e.Type == "pushd:expired" {
			break
		}
	}
	least, most := int64(1<<40), int64(0)
	for i := range int64(30) {
		at := lifetime(time.Unix(1000, 0), 1300, func(n int64) int64 { return i % n })
		least, most = min(least, at), max(most, at)
	}
	if least != 1270 || most != 1299 {
		t.Errorf("from %d to %d", least, most)
	}
}

// Who is told of a loss comes back behind it, and goes on with what is new where he has
// been told once and neither can what is left be had.
func TestLossIsToldOnce(t *testing.T) {
	var conns []*worker.Conn
	w := newWorker(t, `,"anonymous":true`)
	h := w.Routes[0].Handler.(*Handler)
	w.Routes[0].Handler = watched{h, &conns}
	s := workertest.Start(t, w)
	c := listen(s, "match=a", "")
	s.Do(func(*worker.Worker) {
		sub := h.subscriberOf(conns[0])
		h.setAfter(sub.conn, "aaaaaa:1", true)
		for _, want := range []string{wire.Earliest, ""} {
			h.lacks(sub, "aaaaaa:1", "age")
			if after, kept := h.after(sub.conn); after != want || kept {
				t.Errorf("goes on behind %q, want %q", after, want)
			}
		}
	})
	for range 2 {
		e := c.Next()
		for e.Data == nil { // retry
			e = c.Next()
		}
		if e.Type != "pushd:lost" || e.ID != wire.Earliest || string(e.Data) != `{"reason":"age"}` {
			t.Errorf("%+v", e)
		}
	}
	c.WantNothing()
}

// A reload moves streams with what they may read, and nothing is lost or repeated.
func TestReload(t *testing.T) {
	s := start(t, `,"subscriptions":true`)
	n := now(s)
	publish := token(t, n, []map[string]any{grant("publish", "*")}, nil)
	c := listen(s, "match_urlpattern="+url.QueryEscape("https://example.com/:id"), token(t, n, []map[string]any{grant("subscribe", "https://example.com/1")}, nil))
	watcher := listen(s, "match_urlpattern="+url.QueryEscape("/.well-known/mercure/subscriptions/*"), token(t, n, []map[string]any{grant("subscribe", "/.well-known/mercure/subscriptions/*")}, nil))
	for e := watcher.Next(); ; e = watcher.Next() { // its own
		if e.Type == "mercure" {
			break
		}
	}
	for i := range 3 {
		for _, topic := range []string{"1", "2"} {
			if status, body := send(t, s, fmt.Sprintf("topic=https://example.com/%s&data=%d&private=on", topic, i), publish); status != 200 {
				t.Fatal(status, body)
			}
		}
		s.Reload(newWorker(t, `,"subscriptions":true`))
	}
	c.WantData("0", "1", "2")
	c.WantNothing()
	watcher.WantNothing() // nobody has come or gone
	s.Advance(301 * time.Second)
	if !c.Closed() {
		t.Error("the end of the token did not move along")
	}
}

// A stream whose session the new process does not take, as one of another version
// may not, is ended: the client comes back and is told why.
func TestReloadOfWhatCannotBeRead(t *testing.T) {
	var conns []*worker.Conn
	w := newWorker(t, `,"anonymous":true`)
	w.Routes[0].Handler = watched{w.Routes[0].Handler.(*Handler), &conns}
	s := workertest.Start(t, w)
	good, bad := listen(s, "match=a", ""), listen(s, "match_urlpattern=/:a", "")
	s.Do(func(*worker.Worker) {
		if err := conns[1].Set(sessionKey, `{"q":"match_urlpattern=https%3A%2F%2Fexa%20mple.com%2F%2A&match=a"}`); err != nil {
			t.Error(err)
		}
	})
	s.Reload(newWorker(t, `,"anonymous":true`))
	if s.Advance(10 * time.Second); !bad.Closed() { // some of it for the farewell
		t.Error("it is left to hear nothing")
	}
	if status, body := send(t, s, "topic=a&data=x", token(t, now(s), []map[string]any{grant("publish", "*")}, nil)); status != 200 {
		t.Error(status, body)
	}
	good.WantData("x")
}

// Sections "Subscription Events", "Subscription API".
func TestSubscriptions(t *testing.T) {
	s := start(t, `,"subscriptions":true`)
	n := now(s)
	detail := grant("subscribe", "https://example.com/room")
	detail["payload"] = map[string]string{"name": "ann"}
	const base = "/.well-known/mercure/subscriptions"
	watch := token(t, n, []map[string]any{grant("subscribe", base, base+"/*")}, nil)
	watcher := listen(s, "match_urlpattern="+url.QueryEscape(base+"/:type/:match/:subscriber"), watch)
	stranger := listen(s, "match=*", token(t, n, []map[string]any{grant("subscribe", "other")}, nil))
	member := listen(s, "match="+url.QueryEscape("https://example.com/room"), token(t, n, []map[string]any{detail}, nil))
	next := func() (d wire.Document) {
		t.Helper()
		for {
			e := watcher.Next()
			if e.Data == nil {
				continue
			}
			if e.Type != wire.EventType || json.Unmarshal(e.Data, &d) != nil {
				t.Fatalf("%+v", e)
			}
			if d.Match == "https://example.com/room" {
				return d
			}
		}
	}
	d := next()
	if !d.Active || d.Type != "subscription" || d.MatchType != "exact" || string(d.Payload) != `{"name":"ann"}` || !strings.HasPrefix(d.ID, base+"/exact/https%3A%2F%2Fexample.com%2Froom/urn%3Auuid%3A") {
		t.Errorf("%+v", d)
	}
	get := func(path, raw string) (*http.Response, []byte) {
		t.Helper()
		r, _ := http.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		if raw != "" {
			r.Header.Set("Authorization", "Bearer "+raw)
		}
		response := s.Request(r)
		b, _ := io.ReadAll(response.Body)
		return response, b
	}
	for path, want := range map[string]int{base: 3, base + "/exact/https%3A%2F%2Fexample.com%2Froom": 1, base + "/exact/nobody": 0} {
		response, b := get(path, watch)
		var list wire.Collection
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" || json.Unmarshal(b, &list) != nil || len(list.Subscriptions) != want || list.ID != path || list.Type != "subscriptions" {
			t.Errorf("%s: %d %s", path, response.StatusCode, b)
		}
		if link := response.Header.Get("Link"); !strings.Contains(link, `rel="mercure"; last-event-id="urn:uuid:`) {
			t.Errorf("%s: Link %q", path, link)
		}
	}
	if response, b := get(d.ID, watch); response.StatusCode != 200 || !bytes.Contains(b, []byte(`"active":true`)) {
		t.Errorf("one: %d %s", response.StatusCode, b)
	}
	if response, _ := get(d.ID+"x", watch); response.StatusCode != 404 {
		t.Errorf("one that is not there: %d", response.StatusCode)
	}
	if response, _ := get(base, ""); response.StatusCode != 401 {
		t.Errorf("without a token: %d", response.StatusCode)
	}
	if response, _ := get(base, token(t, n, []map[string]any{grant("subscribe", "x")}, nil)); response.StatusCode != 403 {
		t.Errorf("without a grant: %d", response.StatusCode)
	}
	twin := listen(s, "match="+url.QueryEscape("https://example.com/room")+"&subscriber="+url.QueryEscape(d.Subscriber), token(t, n, []map[string]any{detail}, nil))
	if other := next(); !other.Active || other.Subscriber == d.Subscriber {
		t.Errorf("two connections with one token are one subscriber: %+v", other)
	}
	member.Drop()
	if gone := next(); gone.Active || gone.Subscriber != d.Subscriber {
		t.Errorf("%+v", gone)
	}
	twin.Drop()
	next()
	stranger.WantNothing()
	if status, _ := send(t, s, "topic="+url.QueryEscape(d.ID), token(t, n, []map[string]any{grant("publish", "*")}, nil)); status != 400 {
		t.Errorf("a forged one: %d", status)
	}
}

// Section "Protected Resource Metadata".
func TestMetadata(t *testing.T) {
	s := start(t, "")
	r, _ := http.NewRequest(http.MethodGet, "http://localhost/.well-known/oauth-protected-resource/.well-known/mercure", nil)
	status, body := do(t, s, r)
	if status != 200 || !strings.Contains(body, `"resource":"`+hubURL+`"`) || !strings.Contains(body, `"mercure_cookie":"__Secure-mercure_access_token"`) {
		t.Errorf("%d %s", status, body)
	}
}

// What Symfony's client of 0.x sends, byte for byte as its sources write it.
func TestCompat(t *testing.T) {
	s := start(t, `,"compat":true,"issuer":""`)
	claims := jwt.MapClaims{"mercure": map[string]any{"publish": []string{"*"}, "subscribe": []string{"https://example.com/books/{id}"}}}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	c := listen(s, "topic="+url.QueryEscape("https://example.com/books/{id}"), "", "Cookie: mercureAuthorization="+raw)
	status, body := send(t, s, "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&data=%7B%22status%22%3A%22OutOfStock%22%7D&private=on", raw)
	if status != 200 || body == "" {
		t.Fatalf("%d %s", status, body)
	}
	c.WantData(`{"status":"OutOfStock"}`)
	for _, name := range []string{"lastEventID", "Last-Event-ID", "last_event_id"} { // all names that it has had
		_, header := listen(s, "topic=a&"+name+"=urn:uuid:unknown", raw).Status()
		if header.Get("Last-Event-ID") != "earliest" || header.Get("Mercure-Last-Event-ID") != "earliest" {
			t.Errorf("%s: %v", name, header)
		}
	}
	strict := start(t, "")
	if status, _ := send(t, strict, "topic=a", raw); status != 401 {
		t.Errorf("without compat: %d", status)
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range []string{
		`{}`, `{"hub":"x","issuer":"i","secret":"` + secret + `"}`, `{"hub":"` + hubURL + `","secret":"` + secret + `"}`, `{"hub":"` + hubURL + `","issuer":"i"}`,
		string(options(`,"leeway":"1h"`)), string(options(`,"cookie":"a b"`)), string(options(`,"app":"a:b"`)), string(options(`,"unknown":1`)),
	} {
		if _, err := New(worker.Options(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// watched tells by which connections requests come.
type watched struct {
	*Handler
	conns *[]*worker.Conn
}

func (h watched) OnRequest(w *worker.Response, r *worker.Request) {
	*h.conns = append(*h.conns, w.Conn())
	h.Handler.OnRequest(w, r)
}

// TestHead: HEAD says what GET would, and leaves nothing of who has asked on the
// connection, which behind a proxy is the next one's.
func TestHead(t *testing.T) {
	var conns []*worker.Conn
	w := newWorker(t, "")
	w.Routes[0].Handler = watched{w.Routes[0].Handler.(*Handler), &conns}
	s := workertest.Start(t, w)
	raw := token(t, now(s), []map[string]any{grant("subscribe", "*")}, nil)
	c := s.Stream(0)
	for _, last := range []string{"", "&last_event_id=earliest"} {
		c.Write([]byte("HEAD /.well-known/mercure?match=a" + last + " HTTP/1.1\r\nHost: localhost\r\n" + bearer(raw) + "\r\n\r\n"))
		if status, header := c.Status(); status != 200 || header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("HEAD: %d %v", status, header)
		}
		if rest := string(c.Bytes()); last == "" && rest != "" || strings.Contains(rest, "\r\n\r\n:") {
			t.Errorf("behind the header of HEAD: %q", rest)
		}
	}
	if len(conns) != 2 || conns[0] != conns[1] {
		t.Fatalf("%d requests on one connection", len(conns))
	}
	if kept := conns[0].Get(sessionKey); kept != "" {
		t.Errorf("left on the connection: %s", kept)
	}
}

// TestStreamsEndWhateverTheClock: a clock that is set makes no work by the second, and
// ends those alone whose token has ended by it.
func TestStreamsEndWhateverTheClock(t *testing.T) {
	e := ends{from: 1000, due: map[int64]map[*worker.Conn]struct{}{2000: {}, 1 << 50: {}}}
	e.sweep(1<<50 - 1)
	if len(e.due) != 1 || e.due[1<<50] == nil {
		t.Errorf("%v is left after a leap of millions of years", e.due)
	}

	s := start(t, "")
	stream := listen(s, "match=a", token(t, now(s), []map[string]any{grant("subscribe", "*")}, nil))
	members := func() (k int) {
		s.Do(func(w *worker.Worker) { k = w.CountMembers(wire.HubChannel("/.well-known/mercure")) })
		return k
	}
	s.Leap(-time.Hour)
	s.Advance(10 * time.Minute)
	if members() != 1 {
		t.Error("a stream ends while its token is good by the clock")
	}
	s.Leap(time.Hour)
	s.Advance(20 * time.Second)
	if members() != 0 {
		t.Error("a stream goes on whose token has ended by the clock")
	}
	for e := stream.Next(); e.Type != "pushd:expired"; e = stream.Next() {
	}
}
