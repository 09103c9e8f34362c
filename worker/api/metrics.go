package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
)

// statsTimeout bounds the question to the master.
const statsTimeout = 2 * time.Second

// The metrics. Names are the contract with dashboards.
var (
	descConnections   = desc("connections", "Open connections.", "worker", "slot")
	descLimit         = desc("connections_limit", "Connections that there may be.", "worker", "slot")
	descPaused        = desc("accept_paused", "1 while there is no place for one more connection.", "worker", "slot")
	descOpened        = desc("connections_opened_total", "Connections accepted.")
	descReceived      = desc("messages_received_total", "Messages received from clients.")
	descSent          = desc("messages_sent_total", "Messages queued for clients.")
	descFailures      = desc("send_failures_total", "Messages that could not be queued or published.", "cause")
	descQueue         = desc("queue_bytes", "Bytes that wait to be written to clients.")
	descRefused       = desc("handshakes_refused_total", "Clients that were not let in.", "cause")
	descPanics        = desc("callback_panics_total", "Callbacks that panicked.")
	descLag           = desc("loop_lag_seconds", "Longest turn of a worker's loop in the last 5 to 10 seconds.")
	descRestarts      = desc("worker_restarts_total", "Workers that died and were started again.")
	descReloads       = desc("reloads_total", "Reloads by result.", "result")
	descPause         = desc("reload_pause_seconds", "Longest pause of a connection in the last reload.")
	descPublished     = desc("publish_total", "Messages published.", "source")
	descGaps          = desc("broker_gaps_total", "Publications known to be lost between processes.")
	descExpiry        = desc("tls_certificate_expiry_timestamp_seconds", "Unix time at which a certificate that is served ends.", "file")
	descUnrenewed     = desc("tls_certificate_failed", "1 while what is in the file is not taken over, or no certificate could be ordered.", "file")
	descIngestRefused = desc("ingest_refused_total", "Ingest objects refused.", "cause")
	descClosed        = desc("clients_closed_total", "Clients that were closed for going over a limit of rate.", "cause")
	descDatagrams     = desc("datagrams_dropped_total", "Datagrams that the kernel has dropped, since they were not read in time.", "listener")

	descs = []*prometheus.Desc{
		descConnections, descLimit, descPaused, descOpened, descReceived, descSent, descFailures, descQueue, descRefused, descPanics,
		descLag, descRestarts, descReloads, descPause, descPublished, descGaps, descIngestRefused, descExpiry, descUnrenewed, descClosed, descDatagrams,
	}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pushd_"+name, help, labels, nil)
}

// metricsHandler serves /metrics, /healthz and /readyz, without a key.
func (s *Server) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{s: s, totals: &totals{sums: map[series]uint64{}}})
	if s.o.Services != nil {
		registry.MustRegister(serviceCollector(s.o.Services))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // our own counters even without the master's
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("/healthz", healthz)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.o.Ready(); err != nil {
			fail(w, &problem{Status: http.StatusServiceUnavailable, Message: "not ready: " + err.Error()})
			return
		}
		reply(w, http.StatusOK, s.readiness())
	})
	return mux
}

// ready is the answer of /readyz.
type ready struct {
	Ready  bool              `json:"ready"`
	Full   []string          `json:"full,omitempty"`   // processes with no place for one more connection
	States map[string]string `json:"states,omitempty"` // of processes that are not plainly ready

	Services map[string]string `json:"services,omitempty"` // what those say that do not do all that they should
}

// fullTimeout bounds how long /readyz waits for the word of the processes.
const fullTimeout = 500 * time.Millisecond

// readiness says which processes take nobody more, as far as they can be asked.
func (s *Server) readiness() ready {
	r := ready{Ready: true}
	if s.o.States != nil {
		for _, state := range s.o.States() {
			if r.Services == nil {
				r.Services = map[string]string{}
			}
			r.Services[state.Service] = state.Says
		}
	}
	st, err := s.status(fullTimeout)
	if err != nil {
		return r
	}
	for _, w := range st.Workers {
		name := fmt.Sprintf("%s/%d", w.Name, w.Slot)
		if w.AcceptPaused {
			r.Full = append(r.Full, name)
		}
		if w.State != "" && w.State != "ready" {
			if r.States == nil {
				r.States = map[string]string{}
			}
			r.States[name] = w.State
		}
	}
	return r
}

// status is what the metrics need of the object of `status --json`.
type status struct {
	Workers []workerStatus   `json:"workers"`
	Ended   control.Counters `json:"ended"` // of groups that are no more

	Certificates []struct {
		File     string    `json:"file"`
		NotAfter time.Time `json:"not_after"`
		Error    string    `json:"error"`
	} `json:"certificates"`
	Dropped map[string]uint64 `json:"datagrams_dropped"`
	Reloads *struct {
		OK      uint64  `json:"ok"`
		Failed  uint64  `json:"failed"`
		PauseMS float64 `json:"pause_max_ms"`
	} `json:"reloads"`
}

type workerStatus struct {
	Name       string `json:"name"`
	Slot       int    `json:"slot"`
	PID        int    `json:"pid"`
	State      string `json:"state"`
	Generation int    `json:"generation"`
	Restarts   uint64 `json:"restarts"`
	worker.Stats
}

// collector makes metrics of the status at each scrape.
type collector struct {
	s      *Server
	totals *totals
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st, err := c.s.status(statsTimeout)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descConnections, err)
	} else {
		c.totals.update(&st)
	}
	sums := c.totals.all()
	c.own(sums)
	for series, n := range sums {
		counter(series.desc, n, series.labels()...)
	}
	if err != nil {
		return
	}
	c.gauges(ch, st)
	for listener, n := range st.Dropped {
		counter(descDatagrams, n, listener)
	}
	counter(descRestarts, restarts(st.Workers))
	if r := st.Reloads; r != nil {
		counter(descReloads, r.OK, "ok")
		counter(descReloads, r.Failed, "failed")
		ch <- prometheus.MustNewConstMetric(descPause, prometheus.GaugeValue, r.PauseMS/1000)
	}
}

func (s *Server) status(timeout time.Duration) (status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var st status
	raw, err := s.o.Stats(ctx)
	if err != nil {
		return st, fmt.Errorf("ask for status: %w", err)
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return st, fmt.Errorf("read status: %w", err)
	}
	return st, nil
}

// own adds what this process counts.
func (c *collector) own(sums map[series]uint64) {
	sums[series{desc: descPublished, label: "api"}] += c.s.published.Load()
	sums[series{desc: descPublished, label: "ingest"}] += c.s.ingest.published.Load()
	for cause, n := range c.s.ingest.refusals() {
		sums[series{desc: descIngestRefused, label: cause}] += n
	}
}

// slot is one place for a process; a reload has two in it for a while.
type slot struct {
	name string
	slot int
}

func (c *collector) gauges(ch chan<- prometheus.Metric, st status) {
	open, limit, paused := map[slot]int{}, map[slot]int{}, map[slot]int{}
	var queued int64
	var lag float64
	for _, w := range st.Workers {
		at := slot{w.Name, w.Slot}
		open[at] += w.Connections
		limit[at] = max(limit[at], w.Limit)
		if w.AcceptPaused {
			paused[at] = 1
		}
		queued += w.QueueBytes
		lag = max(lag, w.LoopLagMS)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for at, n := range open {
		labels := []string{at.name, fmt.Sprint(at.slot)}
		gauge(descConnections, float64(n), labels...)
		gauge(descLimit, float64(limit[at]), labels...)
		gauge(descPaused, float64(paused[at]), labels...)
	}
	for _, cert := range st.Certificates {
		failed := 0.0
		if cert.Error != "" {
			failed = 1
		}
		if !cert.NotAfter.IsZero() { // else there is none yet
			gauge(descExpiry, float64(cert.NotAfter.Unix()), cert.File)
		}
		gauge(descUnrenewed, failed, cert.File)
	}
	gauge(descQueue, float64(queued))
	gauge(descLag, lag/1000)
}

func restarts(workers []workerStatus) (n uint64) {
	most := map[slot]uint64{} // both processes of a slot tell the slot's number
	for _, w := range workers {
		at := slot{w.Name, w.Slot}
		most[at] = max(most[at], w.Restarts)
	}
	for _, m := range most {
		n += m
	}
	return n
}
