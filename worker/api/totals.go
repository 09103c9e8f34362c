package api

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// totals adds up the counters of all worker processes so that a sum never goes
// back when one of them is replaced. What a process counted after the last look
// at it is lost with it.
type totals struct {
	mu   sync.Mutex
	sums map[series]uint64
	last map[process]map[series]uint64
}

// series is one time series: a metric and the value of its label.
type series struct {
	desc  *prometheus.Desc
	label string
	plain bool // has no label
}

func (s series) labels() []string {
	if s.plain {
		return nil
	}
	return []string{s.label}
}

// process names a worker process for as long as it lives.
type process struct {
	name                  string
	slot, generation, pid int
}

func newTotals() *totals {
	return &totals{sums: map[series]uint64{}, last: map[process]map[series]uint64{}}
}

// update takes in what the processes count now and returns the sums.
func (t *totals) update(workers []workerStatus) map[series]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := make(map[process]map[series]uint64, len(workers))
	for i := range workers {
		w := &workers[i]
		id := process{w.Name, w.Slot, w.Generation, w.PID}
		now, before := w.counters(), t.last[id]
		for s, n := range now {
			if n >= before[s] {
				t.sums[s] += n - before[s]
			}
		}
		seen[id] = now
	}
	t.last = seen
	return maps.Clone(t.sums)
}

// knownCauses are there before their first event, so that an increase shows.
var knownCauses = map[*prometheus.Desc][]string{
	descFailures: {"slow", "dropped", "superseded", "control", "write", "datagram", "broker"},
	descRefused:  {"origin", "route", "handler", "request", "timeout", "per_ip", "full", "datagram", "panic"},
}

// counters lists what a worker counts, with zeros, so that a series exists
// before its first event. Send failures without a cause of their own are those
// of its end of the bus.
func (w *workerStatus) counters() map[series]uint64 {
	m := map[series]uint64{
		{desc: descOpened, plain: true}:   w.Opened,
		{desc: descReceived, plain: true}: w.MessagesIn,
		{desc: descSent, plain: true}:     w.MessagesOut,
		{desc: descPanics, plain: true}:   w.Panics,
		{desc: descGaps, plain: true}:     w.BrokerGaps,
	}
	for d, causes := range knownCauses {
		for _, label := range causes {
			m[series{desc: d, label: label}] = 0
		}
	}
	for d, by := range map[*prometheus.Desc]map[string]uint64{
		descFailures: w.SendFailuresBy, descRefused: w.HandshakesRefused, descPublished: w.PublishedBy, descIngestRefused: w.IngestRefused,
	} {
		for label, n := range by {
			m[series{desc: d, label: label}] = n
		}
	}
	rest := w.SendFailures
	for _, n := range w.SendFailuresBy {
		rest -= min(n, rest)
	}
	m[series{desc: descFailures, label: "broker"}] += rest
	return m
}
