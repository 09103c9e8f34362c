package api

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/pushd/pushd/worker"
)

// serviceCollector makes metrics of what the services of this process tell.
type serviceCollector func() []worker.Metric

// Describe implements prometheus.Collector. It names none, since what services
// tell is known only when they do.
func (serviceCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c serviceCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c() {
		var names, values []string
		if m.Label != "" {
			names, values = []string{m.Label}, []string{m.Value}
		}
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(desc(m.Name, m.Help, names...), kind, m.Number, values...)
	}
}
