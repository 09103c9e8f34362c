package hook

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/pusher"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("HOOK_TEST_CHILD"); dir != "" {
		child(dir, os.Getenv("HOOK_TEST_URL"))
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// The pair of the protocol's test vectors.
const testKey, testSecret = "278d425bdf160c739803", "7ad3773142a6692b25b8"

// patience bounds waits; no test measures time against it.
const patience = 30 * time.Second

// quick are the default limits with short delays.
var quick = timing{
	hold: 30 * time.Millisecond, first: time.Millisecond, longest: 20 * time.Millisecond,
	giveUp: time.Minute, answer: patience, maxBytes: 32 << 20,
}

func appOf(urls ...string) []pusher.App {
	a := pusher.DefaultApp()
	a.ID, a.Key, a.Secret = "1", testKey, testSecret
	for _, u := range urls {
		a.Webhooks = append(a.Webhooks, pusher.Webhook{URL: u})
	}
	return []pusher.App{a}
}

// mustOpen opens a queue that is closed at the end.
func mustOpen(t testing.TB, dir string, apps []pusher.App, tm timing) (*Queue, *testkit.Log) {
	t.Helper()
	l := new(testkit.Log)
	q, err := open(dir, apps, l.Logger(), &tm, newClient(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return q, l
}

// receiver is an endpoint that checks every POST and keeps what it said.
type receiver struct {
	t    testing.TB
	url  string
	stop func()

	mu     sync.Mutex
	bodies []body
	answer func(http.ResponseWriter, *http.Request) // nil = 200
	posts  int                                      // also those that answer refused
	open   map[net.Conn]bool
}

type body struct {
	TimeMS int64 `json:"time_ms"`
	Events []Event
}

// newReceiver is at an address that stays its own when it stops.
func newReceiver(t testing.TB) *receiver {
	t.Helper()
	return receive(t, pushdtest.FreeAddr(t))
}

func receive(t testing.TB, address string) *receiver {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, url: "http://" + ln.Addr().String() + "/hooks", open: map[net.Conn]bool{}}
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: r, ConnState: r.state}}
	s.Start()
	r.stop = func() { s.CloseClientConnections(); s.Close() }
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	if got := req.Header.Get("X-Pusher-Signature"); got != Sign(testSecret, raw) || req.Header.Get("X-Pusher-Key") != testKey {
		r.t.Errorf("signature %q of %s", got, raw)
	}
	if kind := req.Header.Get("Content-Type"); req.Method != http.MethodPost || kind != "application/json" {
		r.t.Errorf("%s with %s", req.Method, kind)
	}
	r.mu.Lock()
	r.posts++
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, req)
		return
	}
	var b body
	if err := json.Unmarshal(raw, &b); err != nil || len(b.Events) == 0 || len(b.Events) > maxBatch || b.TimeMS == 0 {
		r.t.Errorf("body %.200s: %v", raw, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, b)
}

// behave changes what the endpoint answers.
func (r *receiver) behave(answer func(http.ResponseWriter, *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// got returns the events in short, in the order of the POSTs.
func (r *receiver) state(c net.Conn, state http.ConnState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[c] = true; state == http.StateClosed {
		delete(r.open, c)
	}
}

// alone waits until nobody is connected: what a dead process had sent is answered.
func (r *receiver) alone() {
	r.t.Helper()
	testkit.Eventually(r.t, "nobody is connected", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.open) == 0
	})
}

func (r *receiver) got() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bodies {
		for _, e := range b.Events {
			list = append(list, short(e))
		}
	}
	return list
}

func (r *receiver) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.posts
}

// want waits until exactly these events have come.
func (r *receiver) want(want ...string) {
	r.t.Helper()
	testkit.Eventually(r.t, fmt.Sprintf("%d events come", len(want)), func() bool { return len(r.got()) >= len(want) })
	if got := r.got(); !slices.Equal(got, want) {
		r.t.Fatalf("got  %.300q\nwant %.300q", got, want)
	}
}

// short writes an event in a word: its name, channel and user.
func short(e Event) string {
	return strings.TrimRight(e.Name+" "+e.Channel+" "+e.UserID, " ")
}

func occupied(channel string) Event { return Event{Name: "channel_occupied", Channel: channel} }
func vacated(channel string) Event  { return Event{Name: "channel_vacated", Channel: channel} }
func added(user string) Event       { return Event{Name: "member_added", Channel: "room", UserID: user} }
func removed(user string) Event     { return Event{Name: "member_removed", Channel: "room", UserID: user} }

// numbered makes n distinct events and their short forms.
func numbered(n int) (events []Event, short []string) {
	for i := range n {
		events = append(events, occupied(fmt.Sprint("c", i)))
		short = append(short, fmt.Sprint("channel_occupied c", i))
	}
	return events, short
}

// waits waits until so many events are in the journals.
func waits(t testing.TB, q *Queue, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d events wait", n), func() bool {
		sum := 0
		for _, s := range q.Stats() {
			sum += s.Waiting
		}
		return sum == n
	})
}
