package api

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // gnet starts some when it is imported
}

const testKey = "key-5f2d"

// stage is an API with its broker and fake workers.
type stage struct {
	t      testing.TB
	bus    *broker.Server
	api    *Server
	url    string
	log    *testkit.Log
	client *http.Client
	live   []string
}

func newStage(t testing.TB, change ...func(*Options)) *stage {
	t.Helper()
	st := &stage{t: t, log: new(testkit.Log), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	bus, err := broker.NewServer(broker.ServerOptions{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	st.bus = bus
	o := Options{
		Client: st.join("api", nil),
		Key:    testKey,
		Stats:  func(context.Context) (json.RawMessage, error) { return []byte(`{"workers":[]}`), nil },
		Logger: slog.New(slog.NewTextHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		// Long, so that a busy machine does not make an answer incomplete.
		AnswerTimeout: 10 * time.Second,
	}
	o.Client.SetRoster(nil)
	for _, f := range change {
		f(&o)
	}
	if st.api, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		st.client.CloseIdleConnections()
		if err := st.api.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	st.url = "http://" + st.listen(st.api.Serve)
	return st
}

// listen runs serve on a free TCP port and returns its address.
func (st *stage) listen(serve func(net.Listener) error) string {
	st.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		st.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ln) }()
	st.t.Cleanup(func() { // runs before the API is closed: closing ln is enough
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func (st *stage) join(id string, in worker.Inbox) *broker.Client {
	st.t.Helper()
	c, err := broker.NewClient(broker.Options{ID: id, Server: st.bus, Logger: quiet()})
	if err != nil {
		st.t.Fatal(err)
	}
	if err := c.Start(in); err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { c.Close() })
	return c
}

// worker adds a fake worker to the bus and the roster.
func (st *stage) worker(id string, conns ...*fakeConn) *fakeWorker {
	st.t.Helper()
	w := &fakeWorker{id: id, conns: conns, ready: make(chan struct{})}
	w.bus = st.join(id, w)
	close(w.ready)
	st.live = append(st.live, id)
	st.api.o.Client.SetRoster(st.live)
	return w
}

// call sends a request with the key and returns status and body.
func (st *stage) call(method, path, body string) (int, string) {
	st.t.Helper()
	r := st.request(method, path, body)
	status, _, text := st.do(r)
	return status, text
}

func (st *stage) request(method, path, body string) *http.Request {
	st.t.Helper()
	r, err := http.NewRequest(method, st.url+path, strings.NewReader(body))
	if err != nil {
		st.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (st *stage) do(r *http.Request) (int, http.Header, string) {
	st.t.Helper()
	resp, err := st.client.Do(r)
	if err != nil {
		st.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(b))
}

// want calls and compares status and body.
func (st *stage) want(method, path, body string, status int, answer string) {
	st.t.Helper()
	gotStatus, got := st.call(method, path, body)
	if gotStatus != status || got != answer {
		st.t.Errorf("%s %s %s\n got %d %s\nwant %d %s", method, path, body, gotStatus, got, status, answer)
	}
}

// fakeConn is a client of a fake worker.
type fakeConn struct {
	worker.ConnInfo
	got    []string // "text:…" or "binary:…"
	closed string   // reason
	code   uint16
}

// fakeWorker does what publications say to its connections, and answers.
type fakeWorker struct {
	id    string
	bus   *broker.Client
	ready chan struct{}

	mu     sync.Mutex
	conns  []*fakeConn
	mute   bool // answers nothing
	asked  int
	kinds  string // of the publications, in order
	refuse string // error to answer with
}

func (w *fakeWorker) Deliver(batch []worker.Publication) {
	<-w.ready
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range batch {
		p := &batch[i]
		w.kinds += string(rune(p.Kind))
		n := 0
		for _, c := range w.conns {
			if w.selects(p, c) {
				w.act(p, c)
				n++
			}
		}
		w.asked++
		if p.Reply != "" && !w.mute {
			w.bus.Answer(p.Reply, worker.Answer{Worker: w.id, Reached: n, Error: w.refuse})
		}
	}
}

func (w *fakeWorker) selects(p *worker.Publication, c *fakeConn) bool {
	if slices.Contains(p.Except, c.ID) || c.closed != "" {
		return false
	}
	switch p.Scope {
	case worker.ScopeChannel:
		return slices.Contains(c.Channels, p.Target)
	case worker.ScopeUID:
		return c.UID == p.Target
	case worker.ScopeConn:
		return c.ID == p.Target
	}
	id, _ := control.ParseIdentity(w.id)
	return p.Target == "" || p.Target == id.Group
}

func (w *fakeWorker) act(p *worker.Publication, c *fakeConn) {
	var names []string
	switch p.Kind {
	case worker.KindMessage:
		kind := "text:"
		if p.Binary {
			kind = "binary:"
		}
		c.got = append(c.got, kind+string(p.Data))
	case worker.KindKick:
		c.code, c.closed = p.Code, "closed:"+string(p.Data)
	case worker.KindBind:
		c.UID = string(p.Data)
	case worker.KindUnbind:
		c.UID = ""
	case worker.KindJoin:
		json.Unmarshal(p.Data, &names)
		c.Channels = append(c.Channels, names...)
	case worker.KindLeave:
		json.Unmarshal(p.Data, &names)
		c.Channels = slices.DeleteFunc(c.Channels, func(n string) bool { return slices.Contains(names, n) })
	}
}

func (w *fakeWorker) Gap(uint64, uint8, uint64) {}

func (w *fakeWorker) Query(q worker.BusQuery) {
	<-w.ready
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute {
		return
	}
	a := worker.Answer{Worker: w.id, Error: w.refuse}
	switch q.What {
	case "connections":
		var args worker.ConnQuery
		json.Unmarshal(q.Args, &args)
		a.Data, _ = json.Marshal(w.page(args))
	case "channels":
		var args worker.ChannelQuery
		json.Unmarshal(q.Args, &args)
		a.Data, _ = json.Marshal(w.channels(args))
	case "online":
		var args worker.OnlineQuery
		json.Unmarshal(q.Args, &args)
		a.Data, _ = json.Marshal(w.online(args))
	}
	w.bus.Answer(q.Reply, a)
}

func (w *fakeWorker) online(q worker.OnlineQuery) []int {
	counts := make([]int, len(q))
	for i, uid := range q {
		for _, c := range w.conns {
			if c.UID == string(uid) {
				counts[i]++
			}
		}
	}
	return counts
}

func (w *fakeWorker) page(q worker.ConnQuery) worker.ConnPage {
	slices.SortFunc(w.conns, func(a, b *fakeConn) int { return compareIDs(a.ID, b.ID) })
	var p worker.ConnPage
	for _, c := range w.conns {
		if q.Cursor != "" && compareIDs(c.ID, q.Cursor) <= 0 || q.UID != "" && c.UID != q.UID ||
			q.Channel != "" && !slices.Contains(c.Channels, q.Channel) || q.IP != "" && c.IP != q.IP {
			continue
		}
		if len(p.Connections) == q.Limit {
			p.Cursor = p.Connections[q.Limit-1].ID
			break
		}
		p.Connections = append(p.Connections, c.ConnInfo)
	}
	return p
}

func (w *fakeWorker) channels(q worker.ChannelQuery) worker.ChannelPage {
	members := map[string]int{}
	for _, c := range w.conns {
		for _, name := range c.Channels {
			members[name]++
		}
	}
	var p worker.ChannelPage
	for name, n := range members {
		if strings.HasPrefix(name, q.Prefix) && name > q.Cursor {
			p.Channels = append(p.Channels, worker.ChannelInfo{Name: name, Members: n})
		}
	}
	slices.SortFunc(p.Channels, func(a, b worker.ChannelInfo) int { return cmp.Compare(a.Name, b.Name) })
	if len(p.Channels) > q.Limit {
		p.Channels = p.Channels[:q.Limit]
		p.Cursor = p.Channels[q.Limit-1].Name
	}
	return p
}

// conn makes a fake connection.
func conn(id, uid string, channels ...string) *fakeConn {
	return &fakeConn{ConnInfo: worker.ConnInfo{ID: id, UID: uid, Channels: channels, IP: "127.0.0.1"}}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
