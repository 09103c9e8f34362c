package hook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// The vector of the protocol's description.
func TestSign(t *testing.T) {
	const body = `{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}`
	if got := Sign(testSecret, []byte(body)); got != "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf" {
		t.Errorf("signature %s", got)
	}
}

func TestEventJSON(t *testing.T) {
	for _, x := range []struct {
		event Event
		want  string
	}{
		{occupied("c"), `{"name":"channel_occupied","channel":"c"}`},
		{removed("7"), `{"name":"member_removed","channel":"room","user_id":"7"}`},
		{Event{Name: "member_added", Channel: "presence-c", UserID: "7", Number: true}, `{"name":"member_added","channel":"presence-c","user_id":7}`},
		{Event{Name: "cache_miss", Channel: "cache-c"}, `{"name":"cache_miss","channel":"cache-c"}`},
		{Event{Name: "client_event", Channel: "private-c", Event: "client-x", Data: `{"a":"<b>"}`, SocketID: "1.2"},
			`{"name":"client_event","channel":"private-c","event":"client-x","data":"{\"a\":\"<b>\"}","socket_id":"1.2"}`},
		{Event{Name: "subscription_count", Channel: "c", SubscriptionCount: 3}, `{"name":"subscription_count","channel":"c","subscription_count":3}`},
		{Event{Name: "subscription_count", Channel: "c"}, `{"name":"subscription_count","channel":"c","subscription_count":0}`},
		{Event{Name: "connected", SocketID: "1.2", Seq: 1, TimeMS: 5}, `{"name":"connected","channel":"","socket_id":"1.2","seq":1,"time_ms":5}`},
		{Event{Name: "disconnected", SocketID: "1.2", UserID: "7", Seq: 2, TimeMS: 6, Code: 1001},
			`{"name":"disconnected","channel":"","socket_id":"1.2","user_id":"7","seq":2,"time_ms":6,"code":1001}`},
	} {
		if raw := encode(x.event.told()); string(raw) != x.want {
			t.Errorf("got  %s\nwant %s", raw, x.want)
		}
		raw := encode(x.event)
		var back Event
		if err := json.Unmarshal(raw, &back); err != nil || back != x.event {
			t.Errorf("%s reads as %+v, %v", raw, back, err)
		}
	}
}

// An endpoint with filters is told of channels whose names fit, and of nothing
// that is of no channel.
func TestChannelFilters(t *testing.T) {
	r := newReceiver(t)
	apps := appOf(r.url)
	apps[0].Webhooks[0].StartsWith, apps[0].Webhooks[0].EndsWith = []string{"private-", "presence-"}, []string{"-a"}
	q, _ := mustOpen(t, t.TempDir(), apps, quick)
	for _, name := range []string{"public-a", "private-a", "private-b", "presence-x-a", ""} {
		q.Add("1", occupied(name))
	}
	q.Add("1", Event{Name: "connected", SocketID: "1.1"})
	q.Add("1", Event{Name: "channel_vacated", Channel: "private-b"}, Event{Name: "channel_vacated", Channel: "private-a"})
	r.want("channel_occupied private-a", "channel_occupied presence-x-a", "channel_vacated private-a")
}

// What comes while a POST is under way goes out together, in order.
func TestBatches(t *testing.T) {
	r := newReceiver(t)
	gate := make(chan struct{})
	r.behave(func(w http.ResponseWriter, _ *http.Request) { <-gate; w.WriteHeader(http.StatusServiceUnavailable) })
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), quick)
	events, want := numbered(1200)
	for _, e := range events {
		q.Add("1", e)
	}
	waits(t, q, 1200)
	r.behave(nil)
	close(gate)
	r.want(want...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.bodies); n != 3 {
		t.Errorf("%d POSTs for 1,200 events, want 3", n)
	}
}

// Each endpoint gets what it wants, of its app only, with its headers.
func TestEndpointsChoose(t *testing.T) {
	all, some, other := newReceiver(t), newReceiver(t), newReceiver(t)
	apps := append(appOf(all.url, some.url), appOf(other.url)...)
	apps[0].Webhooks[1].Events = []string{"connected", "member_added"}
	apps[0].Webhooks[1].Headers = map[string]string{"X-Team": "chat", "X-Pusher-Key": "forged"}
	apps[1].ID = "2"
	var team string
	some.behave(func(w http.ResponseWriter, req *http.Request) {
		team = req.Header.Get("X-Team")
		some.behave(nil)
		w.WriteHeader(http.StatusInternalServerError)
	})
	q, _ := mustOpen(t, t.TempDir(), apps, quick)
	q.Add("1", Event{Name: "connected", SocketID: "1.2"}, occupied("a"), added("7"))
	q.Add("2", occupied("b"))
	q.Add("unknown", occupied("x"))
	all.want("connected", "channel_occupied a", "member_added room 7")
	some.want("connected", "member_added room 7")
	other.want("channel_occupied b")
	if team != "chat" {
		t.Errorf("header of the config: %q", team)
	}
}

// Whatever an endpoint does, nothing is lost or overtaken once it behaves.
func TestEndpointsThatMisbehave(t *testing.T) {
	elsewhere := newReceiver(t)
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"hangs": func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() },
		"500":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"404":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"redirects": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, elsewhere.url, http.StatusTemporaryRedirect)
		},
		"cuts":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"babbles": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t)
			r.behave(answer)
			tm := quick
			if name == "hangs" {
				tm.answer = 2 * time.Second
			}
			q, log := mustOpen(t, t.TempDir(), appOf(r.url), tm)
			events, want := numbered(10)
			q.Add("1", events...)
			testkit.Eventually(t, "three attempts", func() bool { return r.attempts() >= 3 })
			r.behave(nil)
			r.want(want...)
			waits(t, q, 0)
			if s := q.Stats()[0]; s.Delivered != 10 || s.Failures < 3 || s.DroppedOld+s.DroppedFull > 0 {
				t.Errorf("stats %+v", s)
			}
			if n := strings.Count(log.String(), "endpoint fails"); n != 1 {
				t.Errorf("%d lines about the failure, want 1", n)
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.attempts(); n > 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
}

// An endpoint that is away for a while is another process on the same port.
func TestEndpointVanishes(t *testing.T) {
	r := newReceiver(t)
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), quick)
	q.Add("1", occupied("a"))
	r.want("channel_occupied a")
	waits(t, q, 0) // the answer has come, or the event is rightly sent again
	r.stop()
	q.Add("1", occupied("b"), occupied("c"))
	testkit.Eventually(t, "attempts fail", func() bool { return q.Stats()[0].Failures >= 3 })
	receive(t, strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/hooks")).want("channel_occupied b", "channel_occupied c")
}

// An endless answer is cut; it was a 200 all the same.
func TestEndlessAnswer(t *testing.T) {
	r := newReceiver(t)
	r.behave(func(w http.ResponseWriter, req *http.Request) {
		for req.Context().Err() == nil {
			w.Write(make([]byte, 4096))
		}
	})
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), quick)
	q.Add("1", occupied("a"))
	testkit.Eventually(t, "it is delivered", func() bool { return q.Stats()[0].Delivered == 1 })
}

// The log has one line for many drops, and neither it nor errors hold what may
// be secret in a URL.
func TestQueueIsFull(t *testing.T) {
	r := newReceiver(t)
	r.behave(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tm := quick
	tm.maxBytes = 100 * (&Event{Name: "channel_occupied", Channel: "c0"}).size()
	secretURL := strings.Replace(r.url, "//", "//ann:hunter2@", 1) + "/T0P?token=hush"
	q, log := mustOpen(t, t.TempDir(), appOf(secretURL), tm)
	events, want := numbered(10)
	for i := range 100 {
		q.Add("1", events[i%10])
		waits(t, q, i+1)
	}
	for range 50 {
		q.Add("1", events...)
	}
	testkit.Eventually(t, "drops are counted", func() bool { return q.Stats()[0].DroppedFull == 500 })
	r.behave(nil)
	r.want(slices.Repeat(want, 10)...)
	q.Close()
	out := log.String()
	for _, secret := range []string{"hunter2", "T0P", "hush", testSecret} {
		if strings.Contains(out, secret) {
			t.Errorf("the log holds %q:\n%s", secret, out)
		}
	}
	if n := strings.Count(out, "events dropped"); n < 1 || n > 2 {
		t.Errorf("%d lines about 500 drops, want at most one now and one at the end", n)
	}
}

// Any goroutine adds, at any time.
func TestAddConcurrently(t *testing.T) {
	r := newReceiver(t)
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), quick)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				q.Add("1", Event{Name: "connected", SocketID: fmt.Sprintf("%d.%d", g, i), Seq: i})
				q.Stats()
			}
		})
	}
	wg.Wait()
	testkit.Eventually(t, "all are delivered", func() bool { return q.Stats()[0].Delivered == 1600 })
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]int{}
	for _, b := range r.bodies {
		for _, e := range b.Events {
			g, _, _ := strings.Cut(e.SocketID, ".")
			if e.Seq != last[g] {
				t.Fatalf("goroutine %s: event %d came when %d was due", g, e.Seq, last[g])
			}
			last[g]++
		}
	}
}

// Close does not wait for an endpoint that hangs.
// An event that comes while a turn begins is held like any other: the lock makes the turn
// wait where Add would come between.
func TestHoldsAmidTurns(t *testing.T) {
	r := newReceiver(t)
	held := quick
	held.hold = time.Hour
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), held)
	q.mu.Lock()
	q.wake <- struct{}{}
	testkit.Eventually(t, "a turn begins", func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("hook.(*Queue).take("))
	})
	q.inbox = append(q.inbox, arrival{"1", vacated("room"), time.Now()})
	q.mu.Unlock()
	waits(t, q, 1)
	if n := r.attempts(); n > 0 {
		t.Errorf("%d POSTs of an event that is held for an hour", n)
	}
}

func TestCloseWhileHanging(t *testing.T) {
	r := newReceiver(t)
	r.behave(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	tm := quick
	tm.answer = time.Hour
	q, _ := mustOpen(t, t.TempDir(), appOf(r.url), tm)
	q.Add("1", occupied("a"))
	testkit.Eventually(t, "the POST hangs", func() bool { return r.attempts() == 1 })
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
