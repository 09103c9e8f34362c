package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/pusher"
)

// These tests run on a clock of their own, with the real delays.

// wire is a transport that notes when what was posted.
type wire struct {
	mu    sync.Mutex
	began time.Time
	sent  []string // "second: events"
	fails atomic.Bool
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(req.Body)
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range b.Events {
		names = append(names, short(e))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, fmt.Sprintf("%.1f: %s", time.Since(w.began).Seconds(), strings.Join(names, ", ")))
	status := http.StatusOK
	if w.fails.Load() {
		status = http.StatusBadGateway
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: req}, nil
}

func (w *wire) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// onOwnClock runs fn with a queue of one endpoint and the real delays.
func onOwnClock(t *testing.T, apps []pusher.App, fn func(t *testing.T, q *Queue, w *wire, log *testkit.Log)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, log := &wire{began: time.Now()}, new(testkit.Log)
		q, err := open(dir, apps, log.Logger(), &defaults, &http.Client{Transport: w}, nil)
		if err != nil {
			t.Fatal(err)
		}
		fn(t, q, w, log)
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFiveMinutesOfAttempts(t *testing.T) {
	onOwnClock(t, appOf("http://x"), func(t *testing.T, q *Queue, w *wire, log *testkit.Log) {
		w.fails.Store(true)
		q.Add("1", occupied("a"))
		time.Sleep(time.Minute)
		q.Add("1", occupied("b"))
		time.Sleep(time.Hour)
		sent := w.all()
		// 0, 1, 3, 7, 15, 31, 63, 123 … seconds, each pause up to a tenth longer.
		due, n := 0.0, 0
		for i, pause := range []float64{0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60} {
			due += pause
			var at float64
			var what string
			if i >= len(sent) {
				break
			}
			if _, err := fmt.Sscanf(sent[i], "%f: %s", &at, &what); err != nil || at < due-0.1 || at > due*1.1+0.1 {
				t.Errorf("attempt %d: %s, want at %.0f s: %v", i, sent[i], due, err)
			}
			if strings.Contains(sent[i], "occupied a") {
				n = i + 1
			}
		}
		if n < 11 || len(sent) < n {
			t.Errorf("%d attempts with a, want one after 5 minutes too: %q", n, sent)
		}
		if s := q.Stats()[0]; s.DroppedOld != 2 || s.Waiting != 0 || s.Delivered != 0 {
			t.Errorf("after an hour: %+v", s)
		}
		if n := strings.Count(log.String(), "events dropped"); n != 2 {
			t.Errorf("%d lines about the drops, want 2:\n%s", n, log)
		}
		w.fails.Store(false)
		q.Add("1", occupied("c"))
		time.Sleep(2 * time.Minute)
		if s := q.Stats()[0]; s.Delivered != 1 {
			t.Errorf("an endpoint that is back gets nothing: %+v", s)
		}
	})
}

// What an endpoint that is gone has not even been offered does not pile up.
func TestFiveMinutesForAll(t *testing.T) {
	onOwnClock(t, appOf("http://x"), func(t *testing.T, q *Queue, w *wire, log *testkit.Log) {
		w.fails.Store(true)
		events, _ := numbered(10 * maxBatch)
		q.Add("1", events...)
		time.Sleep(4 * time.Minute)
		q.Add("1", occupied("late"))
		time.Sleep(2*time.Minute + 30*time.Second)
		if s := q.Stats()[0]; s.DroppedOld != uint64(len(events)) || s.Waiting != 1 {
			t.Errorf("after 6.5 minutes: %+v\n%s", s, log)
		}
		w.fails.Store(false)
		time.Sleep(2 * time.Minute)
		if s := q.Stats()[0]; s.Delivered != 1 || s.Waiting != 0 {
			t.Errorf("when it is back: %+v", s)
		}
	})
}

// step adds events after a pause.
type step struct {
	after  time.Duration
	events []Event
}

func TestHolds(t *testing.T) {
	const s = time.Second
	for name, x := range map[string]struct {
		wants []string // of the endpoint
		steps []step
		want  []string
	}{
		"a channel that stays empty": {nil, []step{{0, []Event{occupied("a"), vacated("a")}}},
			[]string{"0.0: channel_occupied a", "3.0: channel_vacated a"}},
		"a return in time": {nil, []step{{0, []Event{vacated("a"), removed("7")}}, {2900 * time.Millisecond, []Event{occupied("a"), added("7")}}}, nil},
		"a return too late": {nil, []step{{0, []Event{vacated("a")}}, {3100 * time.Millisecond, []Event{occupied("a")}}},
			[]string{"3.0: channel_vacated a", "3.1: channel_occupied a"}},
		"one flaps, another leaves": {nil, []step{
			{0, []Event{removed("7")}}, {s, []Event{added("7"), removed("8"), removed("7")}},
			{s, []Event{added("7"), removed("7")}}, {s, []Event{added("7"), removed("7")}}, {s, []Event{added("7"), removed("7")}}},
			[]string{"4.0: member_removed room 8", "7.0: member_removed room 7"}},
		"others are not held": {nil, []step{{0, []Event{removed("7"), added("8"), occupied("a"), {Name: "cache_miss", Channel: "cache-a"}}}},
			[]string{"0.0: member_added room 8, channel_occupied a, cache_miss cache-a", "3.0: member_removed room 7"}},
		"the same user of another channel is another": {nil, []step{{0, []Event{{Name: "member_removed", Channel: "else", UserID: "7"}, added("7")}}},
			[]string{"0.0: member_added room 7", "3.0: member_removed else 7"}},
		"twice is once": {nil, []step{{0, []Event{vacated("a"), vacated("a")}}}, []string{"3.0: channel_vacated a"}},
		"what has waited elsewhere": {nil, []step{{0, []Event{removed("8"), {Name: "member_removed", Channel: "room", UserID: "7", Waited: true}}}},
			[]string{"0.0: member_removed room 7", "3.0: member_removed room 8"}},
		"an endpoint for additions only": {[]string{"member_added"}, []step{{0, []Event{removed("7")}}, {s, []Event{added("7")}}, {s, []Event{removed("7")}}, {4 * s, []Event{added("7")}}},
			[]string{"6.0: member_added room 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			apps := appOf("http://x")
			apps[0].Webhooks[0].Events = x.wants
			onOwnClock(t, apps, func(t *testing.T, q *Queue, w *wire, _ *testkit.Log) {
				for _, st := range x.steps {
					time.Sleep(st.after)
					q.Add("1", st.events...)
				}
				time.Sleep(10 * s)
				if got := w.all(); !slices.Equal(got, x.want) {
					t.Errorf("got  %q\nwant %q", got, x.want)
				}
				if st := q.Stats()[0]; st.Waiting != 0 || st.Bytes != 0 {
					t.Errorf("something is left: %+v", st)
				}
			})
		})
	}
}

// With nothing to do the goroutine sleeps: a clock that only moves when all
// sleep would not get through a day otherwise.
func TestIdleSleeps(t *testing.T) {
	onOwnClock(t, appOf("http://x"), func(t *testing.T, q *Queue, w *wire, _ *testkit.Log) {
		q.Add("1", occupied("a"))
		time.Sleep(24 * time.Hour)
		if got := w.all(); len(got) != 1 {
			t.Errorf("sent %q", got)
		}
	})
}

// TestWhateverTheClock: an event is as old as it is, not as the wall clock has it,
// which is set by hours while it waits.
func TestWhateverTheClock(t *testing.T) {
	for _, leap := range []time.Duration{-time.Hour, time.Hour, -24 * time.Hour, 30 * 24 * time.Hour} {
		apps := appOf("http://x")
		e := newEndpoint(t.TempDir(), &apps[0], &apps[0].Webhooks[0], &defaults, new(testkit.Log).Logger())
		now := time.Now()
		e.add(occupied("a"), now)
		e.add(vacated("b"), now)
		now = testkit.Leap(now.Add(time.Second), leap)
		e.mature(now)
		if len(e.held) != 1 {
			t.Errorf("a leap of %v ends a hold", leap)
		}
		if at := e.next(); at.After(now.Add(defaults.hold)) {
			t.Errorf("a leap of %v: sleeps for %v", leap, at.Sub(now))
		}
		e.batch(now)
		e.finish(errors.New("no answer"), now)
		if len(e.queue) != 1 || e.stats.DroppedOld != 0 {
			t.Errorf("a leap of %v drops an event of a second: %+v", leap, e.stats)
		}
		now = now.Add(defaults.hold)
		if e.mature(now); len(e.held) != 0 {
			t.Errorf("a leap of %v: still held after its time", leap)
		}
		now = now.Add(defaults.giveUp)
		e.batch(now)
		if e.finish(errors.New("no answer"), now); len(e.queue) != 0 {
			t.Errorf("a leap of %v: kept for longer than 5 minutes of failure", leap)
		}
	}
}
