package api

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/pushd/pushd/protocol/control"
)

// totals are the counters of all worker processes, as of the last answer of the
// master: it adds what processes had counted that have ended.
type totals struct {
	mu   sync.Mutex
	sums map[series]uint64
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

// update takes in what the master says.
func (t *totals) update(st *status) {
	sum := st.Ended
	for i := range st.Workers {
		sum = sum.Plus(st.Workers[i].Counters)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sums = seriesOf(&sum)
}

// all returns a copy.
func (t *totals) all() map[series]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.sums)
}

// knownCauses are there before their first event, so that an increase shows.
var knownCauses = map[*prometheus.Desc][]string{
	descFailures: {"slow", "dropped", "superseded", "control", "write", "datagram", "broker"},
	descClosed:   {"max_rate", "max_control_rate"},
	descRefused:  {"origin", "route", "handler", "request", "timeout", "per_ip", "full", "datagram", "panic"},
}

// seriesOf lists what workers count, with zeros, so that a series exists before
// its first event. Send failures without a cause of their own are those of a
// worker's end of the bus.
func seriesOf(w *control.Counters) map[series]uint64 {
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
		descFailures: w.SendFailuresBy, descRefused: w.HandshakesRefused, descPublished: w.PublishedBy, descIngestRefused: w.IngestRefused, descClosed: w.ClosedBy,
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
