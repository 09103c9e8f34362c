// Package survey is what one process asks all worker processes, or the master each of
// them, and how the answers are put together: counters, lists of connections and
// channels, counts of members and users. The worker answers on its loop; who asks is
// another worker, the API (worker/api) or a command (cmd). All of it is JSON, and every
// answer is bounded, whatever names strangers have chosen.
package survey

import (
	"encoding/json"
	"sort"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/bus"
)

// Stats is what one worker process reports about itself. Together with what
// the master knows (state, restarts) it is an entry of `status --json`.
type Stats struct {
	Connections  int      `json:"connections"`
	Ending       int      `json:"ending,omitempty"`  // of them those that are about to end; in control.QueryClients alone
	Limit        int      `json:"connections_limit"` // max_connections, or what the descriptors allow
	AcceptPaused bool     `json:"accept_paused"`     // there is no place left; the state is "full"
	QueueBytes   int64    `json:"queue_bytes"`
	Timers       int      `json:"timers"`
	Goroutines   int      `json:"goroutines"`
	LoopLagMS    float64  `json:"loop_lag_ms"` // longest turn of the loop in the last 5 to 10 s
	Listen       []string `json:"listen"`

	Scripts []ScriptStats `json:"scripts,omitempty"` // of handlers that are programs beside the worker

	control.Counters
}

// ScriptStats is what a handler says of the program that it runs beside the
// worker, one process of it.
type ScriptStats struct {
	Route    string    `json:"route"` // "" = what no route takes
	Title    string    `json:"title"`
	PID      int       `json:"pid"`    // 0 = none at the moment
	State    string    `json:"state"`  // "ready", "starting", "leaving", "degraded": does not get ready, or dies before it has done anything
	Births   int       `json:"births"` // processes started, this one included
	Started  time.Time `json:"started"`
	RSSBytes int64     `json:"rss_bytes"`
	Batches  int       `json:"batches"` // that it has done
	Waiting  int       `json:"waiting"` // bytes of events that it has not done
	Told     int       `json:"told"`    // connections that it knows
	Bound    int       `json:"bound"`   // of them those that only it can go on with: they are closed if it is killed
	Held     bool      `json:"held"`    // its clients wait: too much is not done, or a process takes over

	Holds   uint64 `json:"holds"`           // how often clients had to wait since too much was not done
	Doubts  uint64 `json:"closed_in_doubt"` // connections closed since nobody knew what became of their message
	Strands uint64 `json:"closed_held"`     // connections closed since only a dead process knew them
	Packets uint64 `json:"packets_lost"`    // datagrams that found too much waiting
}

// ProcessStats are the counters of one worker process.
type ProcessStats struct {
	Node       string // "" = there is only one
	Name       string // of the worker group
	Slot       int
	Generation int
	Stats
}

// StatsOf reads the answers and leaves out what is none.
func StatsOf(answers []bus.Answer) []ProcessStats {
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
