package notify

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/sse"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/workertest"
)

const streamConfig = `
[history]
store = "disk"
[[channel]]
match = "*"
history = 1000
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/notify" = { handler = "notify", origins = ["https://app.example"], options = { secret = "` + secret + `", channels = ["all"] } }
"/open"   = { handler = "notify", origins = ["*"], options = { anonymous = true, channels = ["all"] } }
`

const patience = 60 * time.Second

// source is what EventSource does: it comes back with the last id.
type source struct {
	t       *testing.T
	address string
	secure  bool // by TLS, believing any certificate
	path    string
	conn    net.Conn
	r       *sse.Reader
	last    string
	opened  int
}

// open asks for the stream.
func (s *source) open() bool {
	s.t.Helper()
	header := ""
	if s.last != "" {
		header = "Last-Event-ID: " + s.last + "\r\n"
	}
	resp, conn, err := ask(s.address, s.path, header, s.secure)
	if err != nil {
		return false
	}
	if resp.StatusCode != 200 {
		s.t.Fatal(resp.Status)
	}
	s.conn, s.r, s.opened = conn, sse.NewReader(resp.Body, 1<<20), s.opened+1
	s.t.Cleanup(func() { conn.Close() })
	return true
}

// next returns the next event that is one for the page.
func (s *source) next() sse.Event {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if s.r == nil && !s.open() {
			time.Sleep(10 * time.Millisecond) // there may be no process for a moment
			continue
		}
		e, err := s.r.Next()
		if s.r.LastID != "" {
			s.last = s.r.LastID
		}
		switch {
		case err != nil:
			s.conn.Close()
			s.r = nil
		case e.Data != nil:
			return e
		}
	}
	s.t.Fatal("no event")
	return sse.Event{}
}

// want reads events up to the text, which the next message is to be; it returns
// what pushd itself has said before.
func (s *source) want(text string) (said []string) {
	s.t.Helper()
	for {
		e := s.next()
		if e.Type == "" {
			if string(e.Data) != text {
				s.t.Fatalf("%q, want %q", e.Data, text)
			}
			return said
		}
		said = append(said, e.Type+" "+string(e.Data))
	}
}

func ask(address, path, header string, secure bool) (*http.Response, net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, nil, err
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n%s\r\n", path, address, header)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		conn.Close()
	}
	return resp, conn, err
}

// TestStream: whoever listens by a stream misses nothing and gets nothing twice, also
// if he was cut before the first message, through a reload that he does not notice, killed workers, and a killed broker
// process, with two channels that have one position.
func TestStream(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: streamConfig})
	tok := token(t, claims{"sub": "42", "channels": []string{"news"}, "exp": soon()})
	es := &source{t: t, address: s.Address(), path: "/notify?token=" + url.QueryEscape(tok)}
	n := 0
	say := func() string {
		t.Helper()
		n++
		text := fmt.Sprint("message\n", n)
		order := map[string]any{"channel": []string{"all", "news"}[n%2], "data": text, "idempotency_key": text}
		await(t, func() bool { // there may be no broker process for a moment
			status, _ := s.Post("/v1/publish", order)
			return status == 200
		})
		return text
	}
	connected := func() bool { return len(connections(t, s)) == 1 }
	if !es.open() {
		t.Fatal("no stream")
	}
	await(t, connected)
	if c := connections(t, s)[0]; c["protocol"] != "sse" || c["uid"] != "42" {
		t.Errorf("%v", c)
	}
	if e := es.next(); e.Type != "pushd:position" || e.ID == "" || es.opened != 1 {
		t.Fatalf("%+v, opened %d times", e, es.opened)
	}
	kill := func() {
		for _, w := range s.Status().Workers {
			s.Kill(w.PID)
		}
	}
	kill()
	if said := es.want(say()); es.opened != 2 {
		t.Fatalf("opened %d times; %q", es.opened, said)
	}
	es.want(say())
	s.MustRun("reload")
	es.want(say())
	if es.opened != 2 {
		t.Error("the reload has cut it")
	}
	missed := []string{}
	kill()
	for range 3 {
		missed = append(missed, say())
	}
	var got, said []string // each channel's messages in their order, behind each other
	for len(got) < len(missed) {
		if e := es.next(); e.Type == "" {
			got = append(got, string(e.Data))
		} else {
			said = append(said, e.Type+" "+string(e.Data))
		}
	}
	if slices.Sort(got); !slices.Equal(got, missed) {
		t.Errorf("%q, want %q", got, missed)
	}
	said = append(said, es.want(say())...)
	if all := strings.Join(said, "\n"); es.opened != 3 || strings.Count(all, `"recovered":true`) != 2 {
		t.Errorf("opened %d times; %q", es.opened, all)
	}
	s.Kill(s.Status().Broker.PID)
	es.want(say())
	if es.opened != 3 {
		t.Error("the end of the broker process has cut it")
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never")
}

func connections(t *testing.T, s *pushdtest.Server) []map[string]any {
	t.Helper()
	var answer struct{ Connections []map[string]any }
	if err := json.Unmarshal([]byte(s.MustRun("connections", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Connections
}

// handler makes one without processes.
func handler(t *testing.T, options string) worker.Handler {
	t.Helper()
	h, err := New(worker.Options(options))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func routed(t *testing.T, origins []string, options string) *workertest.Server {
	return workertest.Start(t, routing(t, origins, options))
}

func routing(t *testing.T, origins []string, options string) *worker.Worker {
	w := worker.New("websocket://127.0.0.1:2346")
	w.Routes = []worker.Route{{Pattern: "/", Handler: handler(t, options), Origins: origins}}
	return w
}

const withSecret = `{"secret":"` + secret + `","channels":["all"]}`

// TestStreamRefusals: who cannot come in is told so by a status, once and for all;
// who only needs a new token gets an event, since a status would be the end of it.
func TestStreamRefusals(t *testing.T) {
	s := routed(t, nil, withSecret)
	for target, status := range map[string]int{
		"/":         401,
		"/?token=x": 401,
		"/?after=x&token=" + token(t, claims{"exp": soon()}): 400,
	} {
		if got, _ := s.Events(target).Status(); got != status {
			t.Errorf("%s: %d, want %d", target, got, status)
		}
	}
	late := s.Events("/?token=" + token(t, claims{"exp": 1}))
	if e := late.Next(); e.Type != "pushd:expired" || string(e.Data) != "{}" {
		t.Errorf("%+v", e)
	}
	if e := late.Next(); e.Retry < time.Second || e.Data != nil {
		t.Errorf("%+v", e)
	}
	if !late.Closed() {
		t.Error("it is open")
	}
	c := s.Events("/", "Authorization: Bearer "+token(t, claims{"exp": time.Now().Add(10 * time.Second).Unix()}))
	c.Next() // the time to come back
	s.Advance(time.Minute)
	if e, f := c.Next(), c.Next(); e.Type != "pushd:expired" || f.Type != "pushd:close" || !strings.Contains(string(f.Data), "4001") || f.Retry < time.Second {
		t.Errorf("%+v %+v", e, f)
	}
}

// TestOddIDs: an id that no event of ours has had is that of a client which knows
// nothing.
func TestOddIDs(t *testing.T) {
	s := routed(t, nil, withSecret)
	tok := token(t, claims{"exp": soon()})
	for _, id := range []string{"0", "a:b", "\xff\xfe", strings.Repeat("9", 200), "000000:18446744073709551616", "é"} {
		c := s.Events("/?token="+tok, "Last-Event-ID: "+id)
		if status, _ := c.Status(); status != 200 {
			t.Errorf("%q: %d", id, status)
		}
		c.Next()
		if e := c.Next(); e.Type != "pushd:recovered" || !strings.Contains(string(e.Data), `"recovered":false`) {
			t.Errorf("%q: %q %q", id, e.Type, e.Data)
		}
	}
	if got, _ := s.Events("/?token="+tok, "Last-Event-ID: a\x00b").Status(); got != 400 {
		t.Errorf("a header with NUL: %d", got)
	}
}

// TestOrigins: a page from elsewhere may read what the route's origins say.
func TestOrigins(t *testing.T) {
	named := routed(t, []string{"https://app.example"}, withSecret)
	any := routed(t, []string{"*", "null"}, `{"anonymous":true}`)
	for _, tc := range []struct {
		s              *workertest.Server
		origin         string
		status         int
		allow, cookies string
	}{
		{named, "https://app.example", 200, "https://app.example", "true"},
		{named, "https://evil.example", 403, "", ""},
		{named, "null", 403, "", ""},
		{named, "http://example.com", 200, "http://example.com", "true"}, // the host itself
		{any, "https://evil.example", 200, "*", ""},
		{any, "null", 200, "*", ""},
	} {
		c := tc.s.Events("/?token="+token(t, claims{"exp": soon()}), "Origin: "+tc.origin)
		if tc.s == any {
			c = tc.s.Events("/", "Origin: "+tc.origin)
		}
		status, h := c.Status()
		if status != tc.status || h.Get("Access-Control-Allow-Origin") != tc.allow || h.Get("Access-Control-Allow-Credentials") != tc.cookies || h.Get("Vary") != "Origin" {
			t.Errorf("%s: %d %v", tc.origin, status, h)
		}
	}
	r, _ := http.NewRequest(http.MethodOptions, "http://example.com/", nil)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "GET")
	r.Header.Set("Access-Control-Request-Headers", "authorization,last-event-id")
	resp := named.Request(r)
	if h := resp.Header; resp.StatusCode != 204 || h.Get("Access-Control-Allow-Headers") != "authorization,last-event-id" || h.Get("Access-Control-Allow-Methods") != "GET" {
		t.Errorf("%s %v", resp.Status, h)
	}
	r.Header.Set("Origin", "https://evil.example")
	if resp := named.Request(r); resp.StatusCode != 403 || resp.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

// TestPolls: one who polls again with the position of the answer before misses
// nothing and gets nothing twice, through a reload in the middle of a poll, which
// waits for nobody, killed workers, and a killed broker process.
func TestPolls(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: streamConfig})
	query := "/notify?poll=25s&token=" + url.QueryEscape(token(t, claims{"sub": "42", "channels": []string{"news"}, "exp": soon()}))
	type told struct {
		Position string
		Messages []struct{ Position, Channel, Data string }
	}
	after := ""
	ask := func(got func(int, told)) {
		await(t, func() bool { // there may be no process for a moment
			resp, err := http.Get("http://" + s.Address() + query + "&after=" + url.QueryEscape(after))
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			var answer told
			if resp.StatusCode == 200 && json.NewDecoder(resp.Body).Decode(&answer) != nil {
				return false // cut in the middle
			}
			if answer.Position != "" {
				after = answer.Position
			}
			got(resp.StatusCode, answer)
			return true
		})
	}
	say := func(channel, text string) {
		t.Helper()
		await(t, func() bool {
			status, _ := s.Post("/v1/publish", map[string]any{"channel": channel, "data": text, "idempotency_key": text})
			return status == 200
		})
	}
	var got []string
	until := func(n int) {
		for len(got) < n {
			ask(func(status int, a told) {
				if status != 200 && status != 204 {
					t.Error(status)
					return
				}
				for _, m := range a.Messages {
					got = append(got, m.Channel+" "+m.Data)
				}
			})
		}
	}
	say("all", "before anybody was here")
	for after == "" { // where it is
		ask(func(int, told) {})
	}
	say("all", "a")
	say("news", "b")
	until(2)
	done := make(chan struct{})
	go func() { defer close(done); until(3) }()
	await(t, func() bool {
		list := connections(t, s)
		return len(list) == 1 && list[0]["protocol"] == "poll"
	})
	s.MustRun("reload")
	if list := connections(t, s); len(list) != 1 || list[0]["protocol"] != "poll" {
		t.Errorf("after the reload: %v", list)
	}
	say("all", "c")
	<-done
	for _, w := range s.Status().Workers {
		s.Kill(w.PID)
	}
	say("news", "d")
	until(4)
	s.Kill(s.Status().Broker.PID)
	say("all", "e")
	until(5)
	if want := []string{"all a", "news b", "all c", "news d", "all e"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPollRefusals: what a poll cannot ask for, and who has not asked for a stream.
func TestPollRefusals(t *testing.T) {
	s := routed(t, nil, withSecret)
	tok := token(t, claims{"exp": soon()})
	for target, status := range map[string]int{
		"/?poll=25s":                        401,
		"/?poll=0s&token=" + tok:            400,
		"/?poll=1h&token=" + tok:            400,
		"/?poll&token=" + tok:               400,
		"/?poll=5s&after=x%00&token=" + tok: 400,
		"/?token=" + tok:                    426,
	} {
		r, _ := http.NewRequest(http.MethodGet, "http://example.com"+target, nil)
		if resp := s.Request(r); resp.StatusCode != status {
			t.Errorf("%s: %s, want %d", target, resp.Status, status)
		}
	}
	for _, accept := range []string{"text/event-streams", "text/event-stream;q=0, */*"} {
		r, _ := http.NewRequest(http.MethodGet, "http://example.com/?token="+tok, nil)
		r.Header.Set("Accept", accept)
		if resp := s.Request(r); resp.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("Accept: %s: %s, want 426", accept, resp.Status)
		}
	}
}

// TestNothingOfAFormerToken: on one connection, as behind a proxy, somebody with a
// token is refused, and then somebody without one asks. He is not closed when the
// token expires.
func TestNothingOfAFormerToken(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(streamConfig, `options = { anonymous = true, channels = ["all"] }`,
		`options = { anonymous = true, public_history = true, channels = ["all"], secret = "`+secret+`" }`, 1)})
	one := http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	ask := func(query string) (int, string) {
		t.Helper()
		resp, err := one.Get("http://" + s.Address() + "/open?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	get := func(query string, want int) string {
		t.Helper()
		status, body := ask(query)
		if status != want {
			t.Fatalf("%s: %d %s, want %d", query, status, body, want)
		}
		return body
	}
	var now struct{ Position string }
	if err := json.Unmarshal([]byte(get("poll=1s", 200)), &now); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // before it expires, and not long before
		status, body := ask("poll=10s&after=bad&token=" + token(t, claims{"exp": time.Now().Add(2 * time.Second).Unix()}))
		if status != 400 && status != 401 {
			t.Fatalf("%d %s", status, body)
		}
		return status == 400
	})
	get("poll=4s&after="+url.QueryEscape(now.Position), 204)
}
