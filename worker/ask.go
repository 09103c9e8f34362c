package worker

import (
	"encoding/json"
	"sort"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// askTimeout is how long the other processes have to answer.
const askTimeout = 250 * time.Millisecond

// ProcessStats are the counters of one worker process.
type ProcessStats struct {
	Node       string // "" = there is only one
	Name       string // of the worker group
	Slot       int
	Generation int
	Stats
}

// StatsAll asks every worker process of every group for its counters and calls
// fn on the loop a quarter of a second later with those that have answered, in
// the order of group, slot and generation. It does not wait. While a slot is
// being replaced both of its processes answer. Errors: ErrBrokerBusy,
// ErrBrokerAway, ErrNoServices; then fn is not called.
func (w *Worker) StatsAll(fn func(all []ProcessStats)) error {
	return w.loop.broker.Gather(BusQuery{What: "stats"}, askTimeout, func(answers []Answer, _ bool) {
		all := statsOf(answers)
		w.loop.post(func() { fn(all) })
	})
}

// statsOf reads the answers and leaves out what is none.
func statsOf(answers []Answer) []ProcessStats {
	all := make([]ProcessStats, 0, len(answers))
	for _, a := range answers {
		id, ok := control.ParseIdentity(a.Worker)
		s := ProcessStats{Node: id.Node, Name: id.Group, Slot: id.Slot, Generation: id.Generation}
		if ok && a.Error == "" && json.Unmarshal(a.Data, &s.Stats) == nil {
			all = append(all, s)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		switch {
		case a.Node != b.Node:
			return a.Node < b.Node
		case a.Name != b.Name:
			return a.Name < b.Name
		case a.Slot != b.Slot:
			return a.Slot < b.Slot
		}
		return a.Generation < b.Generation
	})
	return all
}
