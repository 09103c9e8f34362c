package hook

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// What an endpoint was told late is said, the last of each, if it can be told better.
func TestLate(t *testing.T) {
	left := func(user string) Event {
		return Event{Name: "member_removed", Channel: "room", UserID: user, Waited: true}
	}
	count := func(n int) Event {
		return Event{Name: "subscription_count", Channel: "c", SubscriptionCount: n}
	}
	for name, row := range map[string]struct {
		away   time.Duration // the endpoint
		wants  string        // events; "" = all
		events []Event
		after  []Event // come while the POST of these is under way
		want   string
	}{
		"in time":              {events: []Event{added("7"), occupied("a")}},
		"late":                 {away: 10 * time.Second, events: []Event{added("7"), added("8"), occupied("a")}, want: "channel_occupied a, member_added room 7, member_added room 8"},
		"the last counts":      {away: 10 * time.Second, events: []Event{added("7"), left("7"), count(1), count(2)}, want: "member_removed room 7, subscription_count c"},
		"others do not":        {away: 10 * time.Second, events: []Event{{Name: "cache_miss", Channel: "cache-c"}, {Name: "connected", SocketID: "1.1"}}},
		"newer is on its way":  {away: 10 * time.Second, events: []Event{added("7"), added("8")}, after: []Event{left("7")}, want: "member_added room 8"},
		"no opposite is heard": {away: 10 * time.Second, wants: "member_added channel_vacated channel_occupied", events: []Event{added("7"), occupied("a")}, want: "channel_occupied a"},
	} {
		apps := appOf("http://x")
		apps[0].Webhooks[0].Events = strings.Fields(row.wants)
		onOwnClock(t, apps, func(t *testing.T, q *Queue, w *wire, _ *testkit.Log) {
			var got []string
			q.late = func(_ string, events []Event, _ time.Time) {
				for _, e := range events {
					got = append(got, short(e))
				}
			}
			q.client.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
				if !w.fails.Load() {
					q.Add("1", row.after...)
					row.after = nil
				}
				return w.RoundTrip(req)
			})
			w.fails.Store(row.away > 0)
			q.Add("1", row.events...)
			time.Sleep(row.away)
			w.fails.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			slices.Sort(got)
			if all := strings.Join(got, ", "); all != row.want {
				t.Errorf("%s: said %q, want %q", name, all, row.want)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (fn roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return fn(req) }
