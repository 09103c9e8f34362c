package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/order"
)

func TestPublishSendBroadcast(t *testing.T) {
	st := newStage(t)
	a, b, c := conn("1.1", "42", "news"), conn("1.2", "42", "news", "sport"), conn("1.3", "7")
	st.worker("push/0/1", a)
	st.worker("push/1/1", b)
	st.worker("other/0/1", c)

	post := func(path, body, answer string) {
		t.Helper()
		st.want("POST", path, body, 200, answer)
	}
	post("/v1/publish", `{"channel":"news","data":"héllo \"you\""}`, `{"reached":2,"complete":true}`)
	post("/v1/publish", `{"channels":["news","sport"],"data":{ "a": 1.50 }}`, `{"reached":3,"complete":true}`)
	post("/v1/publish", `{"channel":"news","data_base64":"AP8=","except":["1.2"]}`, `{"reached":1,"complete":true}`)
	post("/v1/publish", `{"channel":"news","data":null,"except":"1.1"}`, `{"reached":1,"complete":true}`)
	post("/v1/publish", `{"channel":"nobody","data":""}`, `{"reached":0,"complete":true}`)
	post("/v1/send", `{"uid":42,"data":[1]}`, `{"reached":2,"online":true,"complete":true}`)
	post("/v1/send", `{"uids":["7"],"connections":["1.1","9.9"],"data":true}`, `{"reached":2,"online":true,"complete":true}`)
	post("/v1/send", `{"connection":"9.9","data":"x"}`, `{"reached":0,"online":false,"complete":true}`)
	post("/v1/broadcast", `{"data":"all"}`, `{"reached":3,"complete":true}`)
	post("/v1/broadcast", `{"worker":"push","data":"group"}`, `{"reached":2,"complete":true}`)

	for _, x := range []struct {
		conn *fakeConn
		want []string
	}{
		{a, []string{`text:héllo "you"`, `text:{ "a": 1.50 }`, "binary:\x00\xff", "text:[1]", "text:true", "text:all", "text:group"}},
		{b, []string{`text:héllo "you"`, `text:{ "a": 1.50 }`, `text:{ "a": 1.50 }`, "text:null", "text:[1]", "text:all", "text:group"}},
		{c, []string{"text:true", "text:all"}},
	} {
		if !slices.Equal(x.conn.got, x.want) {
			t.Errorf("%s got %q\nwant %q", x.conn.ID, x.conn.got, x.want)
		}
	}
}

func TestKickBindJoin(t *testing.T) {
	st := newStage(t)
	a, b, c := conn("1.1", ""), conn("1.2", "42"), conn("1.3", "42")
	st.worker("push/0/1", a, b)
	st.worker("push/1/1", c)
	gone := `{"error":"no such connection","field":"connection"}`

	st.want("POST", "/v1/bind", `{"connection":"1.1","uid":7}`, 200, `{}`)
	st.want("POST", "/v1/bind", `{"connection":"8.8","uid":"7"}`, 404, gone)
	if a.UID != "7" {
		t.Errorf("bound to %q", a.UID)
	}
	st.want("POST", "/v1/join", `{"connection":"1.1","channel":"a","channels":["b","c"]}`, 200, `{}`)
	st.want("POST", "/v1/leave", `{"connection":"1.1","channel":"b"}`, 200, `{}`)
	st.want("POST", "/v1/join", `{"connection":"8.8","channel":"a"}`, 404, gone)
	st.want("POST", "/v1/leave", `{"connection":"8.8","channel":"a"}`, 404, gone)
	slices.Sort(a.Channels)
	if !slices.Equal(a.Channels, []string{"a", "c"}) {
		t.Errorf("channels %q", a.Channels)
	}
	st.want("POST", "/v1/unbind", `{"connection":"1.1"}`, 200, `{}`)
	st.want("POST", "/v1/unbind", `{"connection":"1.1","uid":"7"}`, 200, `{}`)
	st.want("POST", "/v1/unbind", `{"connection":"8.8"}`, 404, gone)
	if a.UID != "" {
		t.Errorf("still bound to %q", a.UID)
	}
	st.want("POST", "/v1/kick", `{"uid":"42","code":4001,"reason":"bye"}`, 200, `{"closed":2,"complete":true}`)
	st.want("POST", "/v1/kick", `{"connections":["1.1","8.8"]}`, 200, `{"closed":1,"complete":true}`)
	if b.code != 4001 || b.closed != "closed:bye" || a.code != 1000 || a.closed != "closed:" {
		t.Errorf("kicked with %d %q and %d %q", b.code, b.closed, a.code, a.closed)
	}
}

// someChannels is a list of so many names.
func someChannels(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return `["` + strings.Join(names, `","`) + `"]`
}

func TestRefusedRequests(t *testing.T) {
	st := newStage(t, func(o *Options) { o.Groups = func() []string { return []string{"push", "idle"} } })
	for _, id := range []string{"push/0/1", "push/1/1", "web/0/1"} {
		st.worker(id)
	}
	st.want("POST", "/v1/broadcast", `{"worker":"idle","data":1}`, 200, `{"reached":0,"complete":true}`)
	st.want("POST", "/v1/broadcast", `{"worker":"web","data":1}`, 200, `{"reached":0,"complete":true}`)
	long := strings.Repeat("x", order.MaxName+1)
	most := someChannels(order.MaxTargets)
	many := strings.Replace(most, `"0"`, `"0","0"`, 1)
	for _, x := range []struct {
		method, path, body string
		status             int
		field, says        string
	}{
		{"GET", "/nope", "", 404, "", "no such path"},
		{"GET", "/v1/publish", "", 405, "", "use POST"},
		{"POST", "/v1/stats", "{}", 405, "", "use GET"},
		{"POST", "/v1/publish", ``, 400, "", "not JSON"},
		{"POST", "/v1/publish", `{"channel":`, 400, "", "not JSON"},
		{"POST", "/v1/publish", `{} {}`, 400, "", "not JSON"},
		{"POST", "/v1/publish", `[]`, 400, "", "JSON object"},
		{"POST", "/v1/publish", `null`, 400, "", "JSON object"},
		{"POST", "/v1/publish", "{\"channel\":\"\xff\",\"data\":1}", 400, "", "UTF-8"},
		{"POST", "/v1/publish", `{"channel":"a","data":1,"chanel":2}`, 400, "chanel", "unknown field"},
		{"POST", "/v1/publish", `{"Channel":"a","data":1}`, 400, "Channel", "unknown field"},
		{"POST", "/v1/publish", `{"data":1}`, 400, "channel", "needed"},
		{"POST", "/v1/publish", `{"channel":"a"}`, 400, "data", "needed"},
		{"POST", "/v1/publish", `{"channel":1,"data":1}`, 400, "channel", "string"},
		{"POST", "/v1/publish", `{"channel":null,"data":1}`, 400, "channel", "string"},
		{"POST", "/v1/publish", `{"channel":"","data":1}`, 400, "channel", "empty"},
		{"POST", "/v1/publish", `{"channel":"` + long + `","data":1}`, 400, "channel", "200 bytes"},
		{"POST", "/v1/publish", `{"channel":"a\u0000b","data":1}`, 400, "channel", "control"},
		{"POST", "/v1/publish", `{"channel":"a\r\nb","data":1}`, 400, "channel", "control"},
		{"POST", "/v1/publish", `{"channels":"a","data":1}`, 400, "channels", "list"},
		{"POST", "/v1/publish", `{"channels":[],"data":1}`, 400, "channels", "1 to"},
		{"POST", "/v1/publish", `{"channels":["a",2],"data":1}`, 400, "channels", "string"},
		{"POST", "/v1/publish", `{"channels":` + many + `,"data":1}`, 400, "channels", "1 to 1000"},
		{"POST", "/v1/publish", `{"channel":"b","channels":` + most + `,"data":1}`, 400, "", "1001 targets"},
		{"POST", "/v1/publish", `{"channel":"a","data":1,"data_base64":""}`, 400, "data_base64", "either"},
		{"POST", "/v1/publish", `{"channel":"a","data_base64":"!"}`, 400, "data_base64", "base64"},
		{"POST", "/v1/publish", `{"channel":"a","data_base64":1}`, 400, "data_base64", "string"},
		{"POST", "/v1/publish", `{"channel":"a","data":1,"except":{}}`, 400, "except", "list"},
		{"POST", "/v1/send", `{"data":1}`, 400, "uid", "needed"},
		{"POST", "/v1/send", `{"uid":"1","channel":"a","data":1}`, 400, "channel", "unknown field"},
		{"POST", "/v1/broadcast", `{}`, 400, "data", "needed"},
		{"POST", "/v1/broadcast", `{"worker":7,"data":1}`, 400, "worker", "string"},
		{"POST", "/v1/broadcast", `{"worker":"","data":1}`, 400, "worker", "empty"},
		{"POST", "/v1/broadcast", `{"worker":"pusch","data":1}`, 404, "worker", `no group "pusch", but [idle push web]`},
		{"POST", "/v1/kick", `{}`, 400, "uid", "needed"},
		{"POST", "/v1/kick", `{"uid":"1","code":1006}`, 400, "code", "3000"},
		{"POST", "/v1/kick", `{"uid":"1","code":5000}`, 400, "code", "4999"},
		{"POST", "/v1/kick", `{"uid":"1","code":"4000"}`, 400, "code", "1000"},
		{"POST", "/v1/kick", `{"uid":"1","reason":"` + strings.Repeat("x", 124) + `"}`, 400, "reason", "123 bytes"},
		{"POST", "/v1/bind", `{"connection":"1.1"}`, 400, "uid", "needed"},
		{"POST", "/v1/bind", `{"uid":"1"}`, 400, "connection", "needed"},
		{"POST", "/v1/unbind", `{}`, 400, "connection", "needed"},
		{"POST", "/v1/join", `{"connection":"1.1"}`, 400, "channel", "needed"},
		{"POST", "/v1/batch", `{}`, 400, "items", "list"},
		{"POST", "/v1/batch", `{"items":[],"x":1}`, 400, "x", "unknown"},
		{"POST", "/v1/batch", `{"items":[` + strings.Repeat(`{},`, order.MaxItems) + `{}]}`, 400, "items", "100"},
		{"GET", "/v1/connections?limit=0", "", 400, "limit", "1 to 1000"},
		{"GET", "/v1/connections?limit=1001", "", 400, "limit", "1 to 1000"},
		{"GET", "/v1/connections?cursor=*", "", 400, "cursor", "earlier answer"},
		{"GET", "/v1/connections?ip=localhost", "", 400, "ip", "IP address"},
		{"GET", "/v1/connections?user=1", "", 400, "user", "unknown parameter"},
		{"GET", "/v1/channels?prefix=" + long, "", 400, "prefix", "200 bytes"},
		{"GET", "/v1/channels?a=%zz", "", 400, "", "query string"},
	} {
		if status, body := st.call(x.method, x.path, x.body); status != x.status || !isError(body, x.field, x.says) {
			t.Errorf("%s %s %.80s: %d %s\nwant %d, field %q, %q", x.method, x.path, x.body, status, body, x.status, x.field, x.says)
		}
	}
}

// isError checks the body of an error answer.
func isError(body, field, says string) bool {
	var e struct{ Error, Field string }
	err := json.Unmarshal([]byte(body), &e)
	return err == nil && e.Field == field && strings.Contains(e.Error, says)
}

func TestKeyIsNeededForAllButHealthz(t *testing.T) {
	st := newStage(t)
	for _, path := range []string{"/", "/v1/stats", "/v1/publish", "/nope", "/metrics", "/readyz"} {
		for _, auth := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + testKey + "x", "Basic " + testKey, testKey} {
			r := st.request("GET", path, "")
			r.Header.Set("Authorization", auth)
			status, header, body := st.do(r)
			if status != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(body, testKey) {
				t.Errorf("%s with %q: %d %v %s", path, auth, status, header, body)
			}
		}
	}
	r := st.request("GET", "/healthz", "")
	r.Header.Del("Authorization")
	if status, _, body := st.do(r); status != 200 || body != `{"ok":true}` {
		t.Errorf("healthz: %d %s", status, body)
	}
	r = st.request("GET", "/", "")
	r.Header.Set("Authorization", "bearer "+testKey)
	if status, _, body := st.do(r); status != 200 || body != `{"api":"/v1","server":"pushd"}` {
		t.Errorf("hello: %d %s", status, body)
	}
	if strings.Contains(st.log.String(), testKey) {
		t.Errorf("the log has the key: %s", st.log)
	}
	if shown := fmt.Sprintf("%v %+v %s", st.api.key, st.api.key, st.api.key); strings.Contains(shown, "[") {
		t.Errorf("the secret prints as %s", shown)
	}
}

func TestHeadersOfErrors(t *testing.T) {
	st := newStage(t)
	r := st.request("PUT", "/v1/send", "{}")
	if status, header, _ := st.do(r); status != 405 || header.Get("Allow") != "POST" {
		t.Errorf("PUT: %d, Allow %q", status, header.Get("Allow"))
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json;;"} {
		r := st.request("POST", "/v1/send", "{}")
		r.Header.Set("Content-Type", kind)
		if status, _, _ := st.do(r); status != 415 {
			t.Errorf("Content-Type %q: %d", kind, status)
		}
	}
	r = st.request("POST", "/v1/send", `{"uid":"1","data":1}`)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if status, _, body := st.do(r); status != 200 {
		t.Errorf("with charset: %d %s", status, body)
	}
	r = st.request("POST", "/v1/send", "\x1f\x8b")
	r.Header.Set("Content-Encoding", "gzip")
	if status, header, body := st.do(r); status != 415 || header.Get("Accept-Encoding") != "identity" || !isError(body, "", "Content-Encoding") {
		t.Errorf("compressed: %d %v %s", status, header, body)
	}
	giant := `{"channel":"a","data":"` + strings.Repeat("x", maxBody) + `"}`
	if status, body := st.call("POST", "/v1/publish", giant); status != 413 || !isError(body, "", "1 MiB") {
		t.Errorf("giant: %d %s", status, body)
	}
	r = st.request("POST", "/v1/publish", "")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(giant)), -1
	if status, _, _ := st.do(r); status != 413 {
		t.Errorf("giant in chunks: %d", status)
	}
	wide := `{"channels":` + someChannels(100) + `,"data":"` + strings.Repeat("x", 200<<10) + `"}`
	if status, body := st.call("POST", "/v1/publish", wide); status != 413 || !isError(body, "data", "16 MiB") {
		t.Errorf("wide: %d %s", status, body)
	}
}

func TestIncompleteWhenAWorkerIsSilent(t *testing.T) {
	st := newStage(t, func(o *Options) { o.AnswerTimeout = time.Second })
	st.worker("push/0/1", conn("1.1", "", "news"))
	st.worker("push/1/1").mute = true
	begin := time.Now()
	st.want("POST", "/v1/publish", `{"channel":"news","data":1}`, 200, `{"reached":1,"complete":false}`)
	if took := time.Since(begin); took < time.Second {
		t.Errorf("gave up after %v", took)
	}
	st.want("POST", "/v1/bind", `{"connection":"1.1","uid":"1"}`, 200, `{}`)
	if status, body := st.call("POST", "/v1/bind", `{"connection":"9.9","uid":"1"}`); status != 503 || !isError(body, "", "try again") {
		t.Errorf("unknown connection, not all answered: %d %s", status, body)
	}
	status, body := st.call("GET", "/v1/connections", "")
	if status != 200 || !strings.HasSuffix(body, `"cursor":"","complete":false}`) {
		t.Errorf("connections: %d %s", status, body)
	}
}

func TestRosterChangeEndsTheWait(t *testing.T) {
	st := newStage(t, func(o *Options) { o.AnswerTimeout = time.Hour })
	st.worker("push/0/1", conn("1.1", "", "news"))
	silent := st.worker("push/1/1")
	silent.mute = true
	go func() {
		testkit.Eventually(t, "the question", func() bool {
			silent.mu.Lock()
			defer silent.mu.Unlock()
			return silent.asked > 0
		})
		st.api.o.Client.SetRoster([]string{"push/0/1", "push/2/2"})
	}()
	st.want("POST", "/v1/publish", `{"channel":"news","data":1}`, 200, `{"reached":1,"complete":true}`)
}

func TestWorkerRefusal(t *testing.T) {
	st := newStage(t)
	w := st.worker("push/0/1", conn("1.1", ""))
	w.refuse = "too many channels"
	st.want("POST", "/v1/join", `{"connection":"1.1","channel":"a"}`, 400, `{"error":"too many channels"}`)
	if status, body := st.call("GET", "/v1/channels", ""); status != 500 || !isError(body, "", "push/0/1") {
		t.Errorf("query: %d %s", status, body)
	}
}

func TestBatch(t *testing.T) {
	st := newStage(t)
	a := conn("1.1", "")
	w := st.worker("push/0/1", a)
	st.want("POST", "/v1/batch", `{"items":[
		{"op":"bind","connection":"1.1","uid":"42"},
		{"op":"send","uid":"42","data":"one"},
		{"op":"send","uid":"42"},
		{"op":"fly"},
		{"op":"join","connection":"1.1","channel":"a"},
		{"op":"publish","channels":["a","b"],"data":"two"},
		7,
		{"op":"bind","connection":"9.9","uid":"42"},
		{"op":"kick","uid":"42"}]}`, 200,
		`{"results":[{},{"reached":1,"online":true,"complete":true},`+
			`{"error":"data or data_base64 is needed","field":"data"},`+
			`{"error":"unknown op \"fly\"; known are [bind broadcast join kick leave publish send unbind]","field":"op"},`+
			`{},{"reached":1,"complete":true},{"error":"item must be an object"},`+
			`{"error":"no such connection","field":"connection"},{"closed":1,"complete":true}]}`)
	if w.kinds != "bmjmmbk" {
		t.Errorf("order %q", w.kinds)
	}
	if !slices.Equal(a.got, []string{"text:one", "text:two"}) {
		t.Errorf("got %q", a.got)
	}
	wide := `{"op":"publish","channels":` + someChannels(600) + `,"data":1}`
	if status, body := st.call("POST", "/v1/batch", `{"items":[`+wide+`,`+wide+`]}`); status != 400 || !isError(body, "items", "1200 targets") {
		t.Errorf("too many targets: %d %s", status, body)
	}
	st.want("POST", "/v1/batch", `{"items":[{"op":"fly"}]}`, 200,
		`{"results":[{"error":"unknown op \"fly\"; known are [bind broadcast join kick leave publish send unbind]","field":"op"}]}`)
}

func TestStats(t *testing.T) {
	var failing error
	st := newStage(t, func(o *Options) {
		o.Stats = func(ctx context.Context) (json.RawMessage, error) {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("no deadline")
			}
			return json.RawMessage(`{"version":"1"}`), failing
		}
	})
	st.want("GET", "/v1/stats", "", 200, `{"version":"1"}`)
	failing = errors.New("master is busy")
	st.want("GET", "/v1/stats", "", 503, `{"error":"stats: master is busy"}`)
}

func TestBrokerAwayIs503(t *testing.T) {
	st := newStage(t)
	st.worker("push/0/1")
	st.bus.Close()
	testkit.Eventually(t, "noticed", func() bool { return !st.api.o.Client.Stats().Connected })
	for _, r := range []*http.Request{
		st.request("POST", "/v1/publish", `{"channel":"a","data":1}`),
		st.request("POST", "/v1/batch", `{"items":[{"op":"publish","channel":"a","data":1}]}`),
		st.request("GET", "/v1/channels", ""),
	} {
		status, header, body := st.do(r)
		if status != 503 || header.Get("Retry-After") != "1" || !isError(body, "", "broker is away") {
			t.Errorf("%s: %d %v %s", r.URL.Path, status, header, body)
		}
	}
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	st := newStage(t, func(o *Options) { o.MaxRequests, o.AnswerTimeout = 1, time.Hour })
	w := st.worker("push/0/1")
	w.mute = true
	var wg sync.WaitGroup
	wg.Go(func() {
		st.want("POST", "/v1/publish", `{"channel":"a","data":1}`, 200, `{"reached":0,"complete":true}`)
	})
	testkit.Eventually(t, "one in flight", func() bool { return len(st.api.busy) == 1 })
	status, header, body := st.do(st.request("GET", "/v1/stats", ""))
	if status != 503 || header.Get("Retry-After") != "1" || !isError(body, "", "in flight") {
		t.Errorf("second: %d %v %s", status, header, body)
	}
	st.api.o.Client.SetRoster(nil)
	wg.Wait()
	testkit.Eventually(t, "room again", func() bool { status, _ := st.call("GET", "/v1/stats", ""); return status == 200 })
}

func TestCloseFinishesRequests(t *testing.T) {
	st := newStage(t, func(o *Options) { o.AnswerTimeout = time.Hour })
	w := st.worker("push/0/1")
	w.mute = true
	var wg sync.WaitGroup
	wg.Go(func() {
		st.want("POST", "/v1/publish", `{"channel":"a","data":1}`, 200, `{"reached":0,"complete":true}`)
	})
	testkit.Eventually(t, "in flight", func() bool { return len(st.api.busy) == 1 })
	closed := make(chan error, 1)
	go func() { closed <- st.api.Close(context.Background()) }()
	testkit.Eventually(t, "no new connections", func() bool {
		resp, err := http.Get(st.url + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	st.api.o.Client.SetRoster(nil)
	wg.Wait()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestConnectionsOfTheAPIAreBounded: 4,096 at once of each listener, each idle for
// at most 75 s. Who waits for a request gives way to who comes, the longest first.
func TestConnectionsOfTheAPIAreBounded(t *testing.T) {
	st := newStage(t)
	if maxConnections != 4096 || st.api.http.IdleTimeout != 75*time.Second || st.api.metrics.IdleTimeout != 75*time.Second {
		t.Errorf("the reference says 4,096 and 75 s: %d, %v, %v", maxConnections, st.api.http.IdleTimeout, st.api.metrics.IdleTimeout)
	}
	const few = 3
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := newBounded(ln, few)
	bounded.patience = time.Hour
	h := st.api.httpServer(st.api.handler())
	h.ReadHeaderTimeout, h.ReadTimeout = time.Hour, time.Hour
	served := make(chan error, 1)
	go func() { served <- h.Serve(bounded) }()
	ask := func(c net.Conn) error {
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
		_, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err
	}
	waiting := func() (n int) {
		list := bounded.conns()
		bounded.mu.Lock()
		defer bounded.mu.Unlock()
		for _, c := range list {
			if _, waits, ok := c.givesWay(); ok && waits {
				n++
			}
		}
		return n
	}
	come := func() net.Conn { return dial(t, "tcp", ln.Addr().String()) }
	silent := come()
	testkit.Eventually(t, "it waits for a request", func() bool { return waiting() == 1 })
	var idle []net.Conn
	for n := range few { // the last one takes the place of the silent one
		c := come()
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		testkit.Eventually(t, "it waits for the next", func() bool { return waiting() == min(n+2, few) })
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent one has its place")
	}
	for _, c := range idle {
		fmt.Fprint(c, "GET /hea") // a request has begun
	}
	testkit.Eventually(t, "all are at work", func() bool { return waiting() == 0 })
	if ask(come()) == nil {
		t.Error("one more is served")
	}
	idle[0].Close()
	testkit.Eventually(t, "room again", func() bool { return ask(come()) == nil })
	testkit.Eventually(t, "all are at work again", func() bool {
		fmt.Fprint(come(), "GET /hea")
		return waiting() == 0
	})
	if ask(come()) == nil {
		t.Error("one more is served, though no head takes its time")
	}
	bounded.mu.Lock()
	bounded.patience = 0
	bounded.mu.Unlock()
	last := come()
	if err := ask(last); err != nil {
		t.Errorf("heads that take their time do not give way: %v", err)
	}
	testkit.Eventually(t, "it waits for the next", func() bool { return waiting() == 1 })
	if err := ask(come()); err != nil {
		t.Error(err)
	}
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who waits gives way before them: %v", err)
	}
	h.Close()
	<-served
}

// TestBodiesThatNobodyReads: who is refused cannot keep the connection by a body
// that does not come, and who is not is told that it has not.
func TestBodiesThatNobodyReads(t *testing.T) {
	st := newStage(t)
	serve := func(within time.Duration) (address string) {
		h := st.api.httpServer(st.api.doors.unlessTaken(st.api.handler()))
		h.ReadTimeout = within
		return st.listen(func(ln net.Listener) error { return h.Serve(newBounded(ln, 9)) })
	}
	address := serve(time.Hour) // nobody is to wait for it
	for _, head := range []string{"POST /v1/publish HTTP/1.1\r\nContent-Length: 5000", "POST /v1/publish HTTP/1.1\r\nTransfer-Encoding: chunked", "GET /healthz HTTP/1.1\r\nContent-Length: 5000"} {
		c := dial(t, "tcp", address)
		fmt.Fprint(c, head, "\r\nHost: a\r\n\r\n1")
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 ") {
			t.Errorf("%q: %q, %v", head, got, err)
		}
	}
	c := dial(t, "tcp", serve(100*time.Millisecond))
	fmt.Fprintf(c, "POST /v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{", testKey)
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 408 ") || !strings.Contains(string(got), "has not come within 15s") {
		t.Errorf("half a body: %q, %v", got, err)
	}
}

func TestIdleConnectionsOfTheAPIEnd(t *testing.T) {
	st := newStage(t)
	h := st.api.httpServer(st.api.handler())
	h.IdleTimeout = time.Millisecond
	c := dial(t, "tcp", st.listen(func(ln net.Listener) error { return h.Serve(newBounded(ln, 9)) }))
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("until its end: %q, %v", got, err)
	}
}

func TestNewNeedsWhatItNeeds(t *testing.T) {
	c, err := broker.NewClient(broker.Options{Path: "x"})
	if err != nil {
		t.Fatal(err)
	}
	stats := func(context.Context) (json.RawMessage, error) { return nil, nil }
	for _, o := range []Options{{Key: "k", Stats: stats}, {Client: c, Stats: stats}, {Client: c, Key: "k"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	st := newStage(b)
	st.worker("push/0/1", conn("1.1", ""))
	st.worker("push/1/1", conn("1.2", ""))
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if status, body := st.call("POST", "/v1/publish", `{"channel":"news","data":{"a":1}}`); status != 200 {
				b.Errorf("%d %s", status, body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// TestConnectionsLeaveDescriptors: a process with few of them keeps most for itself.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	for files, want := range map[int][2]int{0: {4096, 1000}, 300: {30, 30}, 20_000: {2000, 1000}, 1 << 20: {4096, 1000}} {
		st := newStage(t, func(o *Options) { o.OpenFiles = files })
		if got := [2]int{st.api.o.Connections, st.api.o.IngestConnections}; got != want {
			t.Errorf("%d descriptors: %d, want %d", files, got, want)
		}
	}
}
