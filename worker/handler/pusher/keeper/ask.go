package keeper

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// Ask implements worker.Service.
func (k *Keeper) Ask(from string, data []byte, answer func([]byte, error)) {
	var q question
	if err := json.Unmarshal(data, &q); err != nil {
		answer(nil, err)
		return
	}
	switch {
	case q.Hello != nil:
		next, announce := k.leases.stand(from, q.Hello, k.env.Now())
		settled := k.settled
		k.settle()
		k.flush()
		k.watchLeases()
		stand := func() { answer(json.Marshal(standing{Next: next, Announce: announce, Settled: settled})) }
		if settled && (k.due > 0 || len(k.counts.changed) > 0) { // a departure is confirmed when the members know
			k.env.After(max(roomPause, countPause)+time.Millisecond, stand)
			return
		}
		stand()
	case !k.settled:
		answer(nil, ErrUnsettled)
	case q.Users != "":
		answer(json.Marshal(k.usersOf(q.Users, q.Form)))
	case q.Of != nil:
		answer(json.Marshal(k.countEach(q.Of)))
	default:
		answer(nil, errors.New("the keeper does not know the question"))
	}
}

// ErrUnsettled is the answer of a keeper that has just begun.
var ErrUnsettled = errors.New("presence is being put together again; ask again in a second")

// usersOf lists who is in a presence channel, in order: all ids as strings, or
// each in the form in which it was given.
func (k *Keeper) usersOf(name string, form bool) []json.RawMessage {
	ids := []json.RawMessage{}
	r := k.rooms[name]
	if r == nil {
		return ids
	}
	for _, m := range slices.SortedFunc(slices.Values(r.members), byID) {
		m.Number = m.Number && form
		ids = append(ids, m.AppendID(nil))
	}
	return ids
}

func byID(a, b wire.Member) int { return strings.Compare(a.ID, b.ID) }

// countEach tells how many users each of the channels has.
func (k *Keeper) countEach(names []string) []int {
	counts := make([]int, len(names))
	for i, name := range names {
		if r := k.rooms[name]; r != nil {
			counts[i] = len(r.users)
		}
	}
	return counts
}

// Metrics implements worker.MetricsService.
func (k *Keeper) Metrics(emit func(worker.Metric)) {
	members := 0
	for _, r := range k.rooms {
		members += len(r.users)
	}
	gauge := func(name, help string, n int) { emit(worker.Metric{Name: name, Help: help, Number: float64(n)}) }
	gauge("presence_channels", "Presence channels with somebody in them.", len(k.rooms))
	gauge("presence_members", "Users in presence channels, each channel's own.", members)
	gauge("presence_connections", "Subscriptions to presence channels.", len(k.entries))
	gauge("signed_in_connections", "Connections that have signed in.", len(k.people.logins))
	if m := &k.mirror; m.node != "" {
		gauge("presence_peers", "Other nodes whose members are known here.", len(m.holds))
		emit(worker.Metric{Name: "presence_lists_total", Help: "Whole lists of members taken from other nodes.", Counter: true, Number: float64(m.lists)})
	}
	if k.hooks != nil {
		k.hookMetrics(emit)
	}
}

// hookMetrics sums over the endpoints of each app.
func (k *Keeper) hookMetrics(emit func(worker.Metric)) {
	type sums struct{ waiting, delivered, failures, dropped float64 }
	apps := map[string]*sums{}
	for _, s := range k.hooks.Stats() {
		n := apps[s.App]
		if n == nil {
			n = &sums{}
			apps[s.App] = n
		}
		n.waiting += float64(s.Waiting)
		n.delivered += float64(s.Delivered)
		n.failures += float64(s.Failures)
		n.dropped += float64(s.DroppedFull + s.DroppedOld)
	}
	for app, n := range apps {
		emit(worker.Metric{Name: "webhook_waiting", Help: "Webhook events that wait.", Label: "app", Value: app, Number: n.waiting})
		for _, c := range []struct {
			name, help string
			n          float64
		}{
			{"webhook_delivered_total", "Webhook events that an endpoint has taken.", n.delivered},
			{"webhook_failures_total", "Attempts to deliver webhook events that failed.", n.failures},
			{"webhook_dropped_total", "Webhook events given up.", n.dropped},
		} {
			emit(worker.Metric{Name: c.name, Help: c.help, Counter: true, Label: "app", Value: app, Number: c.n})
		}
	}
}
