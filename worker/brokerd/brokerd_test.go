package brokerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/api"
	"github.com/pushd/pushd/worker/broker"
)

// bound is only reached by what hangs.
const bound = 30 * time.Second

// process is a broker process in this one, of whose master the test plays the
// part.
type process struct {
	t    *testing.T
	to   *control.Conn
	over chan error
}

// pair are the two ends of a control channel, which are closed at the end.
func pair(t *testing.T) (mine, theirs *control.Conn) {
	t.Helper()
	mine, f, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = control.Open(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close(); theirs.Close() })
	return mine, theirs
}

func start(t *testing.T, p Process) *process {
	t.Helper()
	mine, theirs := pair(t)
	p.Control, p.Key, p.Log = theirs, "key", slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &process{t: t, to: mine, over: make(chan error, 1)}
	go func() { b.over <- Serve(p) }()
	return b
}

// hear returns the next message of a type.
func (b *process) hear(typ string) control.Message {
	b.t.Helper()
	_ = b.to.SetReadDeadline(time.Now().Add(bound))
	for {
		m, files, err := b.to.Receive()
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			b.t.Fatalf("waiting for %q: %v", typ, err)
		}
		if m.Type == typ {
			return m
		}
	}
}

// order sends a message and returns the error in its answer.
func (b *process) order(typ string, body any, files ...*os.File) string {
	b.t.Helper()
	if err := b.to.Send(typ, 1, body, files...); err != nil {
		b.t.Fatal(err)
	}
	return b.hear(control.TypeAnswer).Error
}

func (b *process) end() error {
	b.t.Helper()
	select {
	case err := <-b.over:
		return err
	case <-time.After(bound):
		b.t.Fatal("the process does not end")
		return nil
	}
}

// inherited are the sockets that a master gives: of the bus, and of the API.
func inherited(t *testing.T) (list []control.Listener, apiAddress string) {
	t.Helper()
	bus, err := net.Listen("unix", filepath.Join(t.TempDir(), "bus"))
	if err != nil {
		t.Fatal(err)
	}
	http, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range []net.Listener{bus, http} {
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		ln.Close()
		list = append(list, control.Listener{Address: ln.Addr().String(), FD: fd})
	}
	return list, http.Addr().String()
}

// TestLife takes a broker process from its start to its end as a master does.
func TestLife(t *testing.T) {
	listeners, address := inherited(t)
	b := start(t, Process{Init: control.Init{Listeners: listeners}, Settings: Settings{API: address, UIDs: []uint32{uint32(os.Geteuid())}}})
	b.hear(control.TypeReady)
	if err := b.to.Send(control.TypePing, 7, nil); err != nil {
		t.Fatal(err)
	}
	if m := b.hear(control.TypePong); m.ID != 7 {
		t.Errorf("pong to ping %d", m.ID)
	}
	if err := b.order(control.TypeRoster, control.Roster{}); err != "" {
		t.Errorf("roster: %s", err)
	}
	client := http.Client{Timeout: bound}
	resp, err := client.Get("http://" + address + "/v1/publish") // the workers, none, have met
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the API without a key answers %d", resp.StatusCode)
	}
	for _, groups := range [][]string{{"idle"}, {"push"}} { // a reload has taken one away
		if err := b.order(control.TypeRoster, control.Roster{Groups: groups}); err != "" {
			t.Errorf("roster: %s", err)
		}
		for _, name := range []string{"idle", "push"} {
			want := http.StatusNotFound
			if name == groups[0] {
				want = http.StatusOK
			}
			req, _ := http.NewRequest("POST", "http://"+address+"/v1/broadcast", strings.NewReader(`{"worker":"`+name+`","data":1}`))
			req.Header.Set("Authorization", "Bearer key")
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("to %s of %s: %d", name, groups, resp.StatusCode)
			}
		}
	}
	if err := b.order(control.TypeQuery, control.Query{What: "stats"}); err == "" {
		t.Error("a query was answered")
	}
	for _, do := range []string{control.BusPause, control.BusDrain} {
		if err := b.order(control.TypeBus, control.Bus{Do: do, BoundMS: bound.Milliseconds()}); err != "" {
			t.Errorf("%s: %s", do, err)
		}
	}
	if err := b.to.Send(control.TypeStop, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// TestPauseAwaitsWhatTheMasterAnswers: a request that waits for the master's word is
// answered while the process leaves, which waits for it.
func TestPauseAwaitsWhatTheMasterAnswers(t *testing.T) {
	listeners, address := inherited(t)
	b := start(t, Process{Init: control.Init{Listeners: listeners}, Settings: Settings{API: address, UIDs: []uint32{uint32(os.Geteuid())}}})
	b.hear(control.TypeReady)
	if err := b.order(control.TypeRoster, control.Roster{}); err != "" {
		t.Errorf("roster: %s", err)
	}
	answered := make(chan string, 1)
	go func() {
		req, _ := http.NewRequest("GET", "http://"+address+"/v1/stats", nil)
		req.Header.Set("Authorization", "Bearer key")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- string(body)
	}()
	asked := b.hear(control.TypeQuery)
	if err := b.to.Send(control.TypeBus, 1, control.Bus{Do: control.BusPause, BoundMS: bound.Milliseconds()}); err != nil {
		t.Fatal(err)
	}
	if err := b.to.SendMessage(control.Message{Type: control.TypeAnswer, ID: asked.ID, Body: json.RawMessage(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	if m := b.hear(control.TypeAnswer); m.Error != "" {
		t.Errorf("pause: %s", m.Error)
	}
	if got := strings.TrimSpace(<-answered); got != `{"a":1}` {
		t.Errorf("stats: %s", got)
	}
	b.to.Close()
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// laden is a service that takes longer to start than others.
type laden struct{ until time.Duration }

func (l laden) Start(env *worker.ServiceEnv) error {
	for begun := time.Now(); time.Since(begun) < l.until; time.Sleep(time.Millisecond) {
		env.Busy()
	}
	return nil
}
func (laden) Tell(string, []byte)                                {}
func (laden) Ask(_ string, _ []byte, answer func([]byte, error)) { answer(nil, nil) }
func (laden) Roster([]string)                                    {}
func (laden) Stop()                                              {}

// starting is what the service of the next process takes.
var starting atomic.Int64

func init() {
	worker.RegisterService("laden", func() worker.Service { return laden{time.Duration(starting.Load())} })
}

// TestBusyIsSaid: the master hears of a start that takes longer, before the process
// is ready.
func TestBusyIsSaid(t *testing.T) {
	starting.Store(int64(busyPause + busyPause/2))
	defer starting.Store(0)
	listeners, address := inherited(t)
	b := start(t, Process{Init: control.Init{Listeners: listeners}, Settings: Settings{API: address, UIDs: []uint32{uint32(os.Geteuid())}}})
	b.hear(control.TypeBusy)
	b.hear(control.TypeReady)
	if err := b.to.Send(control.TypeStop, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// TestFailureIsReported: the master is told at which step the process gave up.
func TestFailureIsReported(t *testing.T) {
	b := start(t, Process{})
	var f control.Failed
	if err := json.Unmarshal(b.hear(control.TypeFailed).Body, &f); err != nil {
		t.Fatal(err)
	}
	if f.Step != "open broker" || f.Error == "" {
		t.Errorf("reported %+v", f)
	}
	if b.end() == nil {
		t.Error("Serve returned no error")
	}
}

// TestCarriedConnections: what was read of a client goes with its connection,
// however long it is, and a message that makes no sense is refused.
func TestCarriedConnections(t *testing.T) {
	to, from := pair(t)
	prefixes := [][]byte{nil, []byte("short"), bytes.Repeat([]byte("long"), partMax)}
	sent := make(chan error, 1)
	go func() {
		var errs []error
		for _, p := range prefixes {
			r, w, err := os.Pipe()
			if err != nil {
				errs = append(errs, err)
				continue
			}
			w.Close()
			errs = append(errs, sendCarried(to, api.Carried{Door: "door", TLS: p == nil, File: r, Prefix: p}))
			r.Close()
		}
		errs = append(errs, to.Send(control.TypeCarried, 0, control.Carried{Door: "door"})) // without a socket
		to.Close()
		sent <- errors.Join(errs...)
	}()
	var all []api.Carried
	if err := receiveCarried(from, &all); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a connection without a socket: %v", err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if len(all) != len(prefixes) {
		t.Fatalf("%d of %d connections came", len(all), len(prefixes))
	}
	for i, c := range all {
		if !bytes.Equal(c.Prefix, prefixes[i]) || c.Door != "door" || c.TLS != (i == 0) {
			t.Errorf("connection %d came with %d bytes, door %q, TLS %v", i, len(c.Prefix), c.Door, c.TLS)
		}
		c.File.Close()
	}
}

// starve leaves this process without a descriptor more, until feed is called.
func starve(t *testing.T) (feed func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	feed = func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) }
	t.Cleanup(feed)
	return feed
}

// TestOrdersWithoutDescriptors: an order whose file finds no descriptor is refused,
// and the master is not taken for dead.
func TestOrdersWithoutDescriptors(t *testing.T) {
	listeners, address := inherited(t)
	b := start(t, Process{Init: control.Init{Listeners: listeners}, Settings: Settings{API: address, UIDs: []uint32{uint32(os.Geteuid())}}})
	b.hear(control.TypeReady)
	feed := starve(t)
	told := b.order(control.TypeBus, control.Bus{Do: control.BusPause, BoundMS: 1000}, os.Stdin)
	feed()
	if !strings.Contains(told, "out of descriptors (limit 3)") {
		t.Errorf("answer %q", told)
	}
	if err := b.to.Send(control.TypePing, 2, nil); err != nil {
		t.Fatal(err)
	}
	b.hear(control.TypePong)
	b.to.Close()
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// TestCarriedWithoutDescriptors: of connections that come, one for which there is
// no descriptor is lost, with all that was read of it, and no other.
func TestCarriedWithoutDescriptors(t *testing.T) {
	to, from := pair(t)
	for _, part := range []control.Carried{{Door: "a", Prefix: []byte("1"), More: true}, {Prefix: []byte("2")}, {Door: "b", Prefix: []byte("3")}} {
		var files []*os.File
		if part.Door != "" {
			files = append(files, os.Stdin)
		}
		if err := to.Send(control.TypeCarried, 0, part, files...); err != nil {
			t.Fatal(err)
		}
	}
	to.Close()
	feed := starve(t)
	var all []api.Carried
	err := receiveCarried(from, &all)
	feed()
	if !errors.Is(err, io.EOF) || len(all) != 2 || all[0].File != nil || string(all[0].Prefix) != "12" || string(all[1].Prefix) != "3" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestAsker: an answer reaches who asked, an error is one, and who waits no more
// is forgotten.
func TestAsker(t *testing.T) {
	to, from := pair(t)
	a := &asker{control: to}
	go func() {
		for {
			m, _, err := from.Receive()
			if err != nil {
				return
			}
			var q control.Query
			_ = json.Unmarshal(m.Body, &q)
			switch q.What {
			case "good":
				a.answered(control.Message{Type: control.TypeAnswer, ID: m.ID, Body: []byte(`1`)})
			case "bad":
				a.answered(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: "no"})
			}
		}
	}()
	defer from.Close()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if raw, err := a.ask(ctx, control.Query{What: "good"}); string(raw) != "1" || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
	if _, err := a.ask(ctx, control.Query{What: "bad"}); err == nil || err.Error() != "no" {
		t.Errorf("%v", err)
	}
	cancel()
	if _, err := a.ask(ctx, control.Query{What: "never"}); !errors.Is(err, context.Canceled) || len(a.waiting) != 0 {
		t.Errorf("%v, %d waiting", err, len(a.waiting))
	}
}

// TestNotReadyWithoutRights: a user of NATS that may not publish is no reason to serve.
func TestNotReadyWithoutRights(t *testing.T) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Users: []*server.User{{
		Username: "u", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"pushd.>"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	b := &serving{}
	b.workers.Store(1)
	b.client, err = broker.NewClient(broker.Options{ID: "api", Node: "n", URL: "nats://u:x@" + ns.Addr().String(), StartTimeout: bound})
	if err == nil {
		err = b.client.Start(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it says why", func() bool {
		_ = b.client.Publish(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room"})
		err := b.ready()
		return err != nil && strings.Contains(err.Error(), "rights")
	})
}
