package worker

import (
	"encoding/json"
	"errors"
	"sort"
	"strconv"
	"strings"
	"time"
)

// An Asker is a Broker that can also put a question to every worker process,
// its own included.
type Asker interface {
	// Ask sends q to all and calls done once, on a goroutine of its own, with
	// the answers that came within wait. It does not block. Errors:
	// ErrBrokerBusy, ErrBrokerAway; then done is not called.
	Ask(q BusQuery, wait time.Duration, done func([]Answer)) error
}

// ErrCannotAsk is returned where the Broker is no Asker.
var ErrCannotAsk = errors.New("broker cannot carry questions between processes")

// askTimeout is how long the other processes have to answer.
const askTimeout = 250 * time.Millisecond

// ProcessStats are the counters of one worker process.
type ProcessStats struct {
	Name       string // of the worker group
	Slot       int
	Generation int
	Stats
}

// StatsAll asks every worker process of every group for its counters and calls
// fn on the loop a quarter of a second later with those that have answered, in
// the order of group, slot and generation. It does not wait. While a slot is
// being replaced both of its processes answer. Errors: ErrBrokerBusy,
// ErrBrokerAway, ErrCannotAsk; then fn is not called.
func (w *Worker) StatsAll(fn func(all []ProcessStats)) error {
	a, ok := w.loop.broker.(Asker)
	if !ok {
		return ErrCannotAsk
	}
	return a.Ask(BusQuery{What: "stats"}, askTimeout, func(answers []Answer) {
		all := statsOf(answers)
		w.loop.post(func() { fn(all) })
	})
}

// statsOf reads the answers and leaves out what is none.
func statsOf(answers []Answer) []ProcessStats {
	all := make([]ProcessStats, 0, len(answers))
	for _, a := range answers {
		s, ok := parseIdentity(a.Worker)
		if ok && a.Error == "" && json.Unmarshal(a.Data, &s.Stats) == nil {
			all = append(all, s)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		switch {
		case a.Name != b.Name:
			return a.Name < b.Name
		case a.Slot != b.Slot:
			return a.Slot < b.Slot
		}
		return a.Generation < b.Generation
	})
	return all
}

// parseIdentity splits "name/slot/generation"; only the name may hold a slash.
func parseIdentity(s string) (p ProcessStats, ok bool) {
	rest, generation, ok := cutLast(s, "/")
	if !ok {
		return p, false
	}
	name, slot, ok := cutLast(rest, "/")
	if !ok {
		return p, false
	}
	p.Name = name
	var slotErr, generationErr error
	p.Slot, slotErr = strconv.Atoi(slot)
	p.Generation, generationErr = strconv.Atoi(generation)
	return p, slotErr == nil && generationErr == nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
