package pusher

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	wire "github.com/pushd/pushd/protocol/pusher"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

// The apps of the tests: one with everything on, one with the defaults.
const (
	appID  = "main"
	appKey = "278d425bdf160c739803"
	secret = "7ad3773142a6692b25b8"
)

const config = `
[[app]]
id = "main"
key = "278d425bdf160c739803"
secret = "7ad3773142a6692b25b8"
client_events = true
max_channels = 5
max_presence_members = 3
[[app]]
id = "plain"
key = "plain-key"
secret = "plain-secret"
max_connections = 1
[[app]]
id = "off"
key = "off-key"
secret = "off-secret"
disabled = true
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/app/{key}"     = "pusher"
"/apps/*"        = "pusher"
"/in/app/{key}"  = "pusher"
"/in/apps/*"     = "pusher"
`

// pusher is a client of the protocol.
type pusher struct {
	*pushdtest.Client
	t      testing.TB
	id     string   // socket_id
	online []string // users of its watchlist, see sees
}

// got is what a client gets; see text for its data.
type got struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
	UserID  string          `json:"user_id"`
}

func (g got) text() string {
	var s string
	if json.Unmarshal(g.Data, &s) != nil {
		return string(g.Data)
	}
	return s
}

// join connects a client and reads the greeting.
func join(t testing.TB, s *pushdtest.Server, path string) *pusher {
	t.Helper()
	return greeted(t, s.Dial(path))
}

func greeted(t testing.TB, c *pushdtest.Client) *pusher {
	t.Helper()
	p := &pusher{Client: c, t: t}
	g := p.next()
	var hello struct {
		SocketID        string `json:"socket_id"`
		ActivityTimeout int    `json:"activity_timeout"`
	}
	if g.Event != "pusher:connection_established" || json.Unmarshal([]byte(g.text()), &hello) != nil || hello.ActivityTimeout != 120 {
		t.Fatalf("greeting: %+v", g)
	}
	p.id = hello.SocketID
	return p
}

const mainPath = "/app/" + appKey + "?protocol=7&client=js&version=8.6.0&flash=false"

// crowd connects a client to each of the two processes.
func crowd(t testing.TB, s *pushdtest.Server) (a, b *pusher) {
	t.Helper()
	bySlot := s.DialEach(mainPath, 1)
	return greeted(t, bySlot[0][0]), greeted(t, bySlot[1][0])
}

func (p *pusher) next() (g got) {
	p.t.Helper()
	op, raw := p.Read()
	if op != pushdtest.OpText {
		p.t.Fatalf("got opcode %d %q", op, raw)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		p.t.Fatalf("%q: %v", raw, err)
	}
	return g
}

// want reads the next event and compares it; data "*" is any.
func (p *pusher) want(event, channel, data string) got {
	p.t.Helper()
	g := p.next()
	if g.Event != event || g.Channel != channel || data != "*" && g.text() != data {
		p.t.Fatalf("got %s on %q with %s\nwant %s on %q with %s", g.Event, g.Channel, g.Data, event, channel, data)
	}
	return g
}

// quiet makes sure that nothing has come: a ping is answered next.
func (p *pusher) quiet() {
	p.t.Helper()
	p.SendText(`{"event":"pusher:ping","data":{}}`)
	p.want("pusher:pong", "", "{}")
}

func (p *pusher) send(event, channel string, data any) {
	p.t.Helper()
	raw, err := json.Marshal(map[string]any{"event": event, "channel": channel, "data": data})
	if err != nil {
		p.t.Fatal(err)
	}
	p.SendText(string(raw))
}

// ask subscribes without waiting for the answer.
func (p *pusher) ask(channel, data string) {
	p.t.Helper()
	m := map[string]string{"channel": channel, "auth": ""}
	if wire.NeedsAuth(channel) {
		m["auth"] = p.auth(channel, data)
	}
	if data != "" {
		m["channel_data"] = data
	}
	p.send("pusher:subscribe", "", m)
}

// terminated reads the end of a connection that is not wanted: why, and the close.
func (p *pusher) terminated() {
	p.t.Helper()
	if g := p.want("pusher:error", "", "*"); !strings.Contains(string(g.Data), `"code":4009`) {
		p.t.Errorf("told %s", g.Data)
	}
	p.WantClose(4009)
}

// auth is what the back end signs for a channel.
func (p *pusher) auth(channel, data string) string {
	return appKey + ":" + wire.Sign(secret, wire.ChannelText(p.id, channel, data))
}

// subscribe subscribes to a channel without presence.
func (p *pusher) subscribe(channel string) {
	p.t.Helper()
	p.ask(channel, "")
	p.want("pusher_internal:subscription_succeeded", channel, "{}")
}

func (p *pusher) signin(userData string) {
	p.t.Helper()
	p.send("pusher:signin", "", map[string]string{
		"auth": appKey + ":" + wire.Sign(secret, wire.UserText(p.id, userData)), "user_data": userData,
	})
}

// backend is a back end of an app: it signs requests as the SDKs do.
type backend struct {
	t           testing.TB
	base        string // "http://host:port" and a prefix
	id, key     string
	secret      string
	now         func() time.Time
	spoil       func(url.Values, *string) // changes what is signed
	client      http.Client
	headers     http.Header // of requests, beside the usual ones
	lastHeaders http.Header
}

func newBackend(t testing.TB, s *pushdtest.Server) *backend {
	b := &backend{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", s.Port), id: appID, key: appKey, secret: secret, now: time.Now}
	t.Cleanup(b.client.CloseIdleConnections)
	b.client.Timeout = pushdtest.Timeout
	return b
}

// do sends a request to /apps/{id}/… and returns status and answer.
func (b *backend) do(method, path string, body any, query ...string) (int, string) {
	b.t.Helper()
	var raw []byte
	switch v := body.(type) {
	case nil:
	case string:
		raw = []byte(v)
	default:
		var err error
		if raw, err = json.Marshal(v); err != nil {
			b.t.Fatal(err)
		}
	}
	path = "/apps/" + b.id + "/" + path
	q := url.Values{"auth_key": {b.key}, "auth_timestamp": {strconv.FormatInt(b.now().Unix(), 10)}, "auth_version": {"1.0"}}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	if len(raw) > 0 {
		sum := md5.Sum(raw)
		q.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	parsed, err := wire.ParseQuery(q.Encode())
	if err != nil {
		b.t.Fatal(err)
	}
	signature := wire.Sign(b.secret, wire.RequestText(method, path, parsed))
	if b.spoil != nil {
		b.spoil(q, &signature)
	}
	q.Set("auth_signature", signature)
	plain, err := url.PathUnescape(path)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequest(method, b.base+(&url.URL{Path: plain, RawPath: path, RawQuery: q.Encode()}).String(), bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, b.headers)
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.lastHeaders = res.Header
	if strings.Contains(string(answer), secret) {
		b.t.Errorf("%s %s: the answer shows the secret: %s", method, path, answer)
	}
	return res.StatusCode, string(answer)
}

// want does a request and compares the answer; "*" is any. A question that no
// worker answered in time, as on a busy machine, is asked again, as it says.
func (b *backend) want(status int, answer, method, path string, body any, query ...string) string {
	b.t.Helper()
	code, got := b.do(method, path, body, query...)
	for again := 0; again < 5 && method == "GET" && code == 503 && status != 503; again++ {
		code, got = b.do(method, path, body, query...)
	}
	if code != status || answer != "*" && got != answer {
		b.t.Fatalf("%s %s: %d %s\nwant %d %s", method, path, code, got, status, answer)
	}
	return got
}

// trigger sends an event to channels.
func (b *backend) trigger(name, data string, channels ...string) {
	b.t.Helper()
	b.want(200, "{}", "POST", "events", map[string]any{"name": name, "data": data, "channels": channels})
}

type object = map[string]any
