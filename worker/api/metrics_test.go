package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushd/pushd/protocol/control"
)

const twoWorkers = `{"workers":[
	{"name":"push","slot":0,"pid":10,"generation":1,"restarts":2,"connections":5,"messages_in":100,"messages_out":200,"send_failures":7,
	 "send_failures_by":{"slow":4},"queue_bytes":30,"loop_lag_ms":1.5,"opened":50,"callback_panics":1,
	 "handshakes_refused":{"origin":3},"published_by":{"worker":9},"broker_gaps":1,"ingest_refused":{"syntax":2},"closed_by":{"max_rate":2}},
	{"name":"push","slot":1,"pid":11,"generation":1,"restarts":0,"connections":6,"messages_in":1,"messages_out":2,"queue_bytes":12,"loop_lag_ms":25,
	 "published_by":{"worker":1}}],
	"datagrams_dropped":{"udp://127.0.0.1:6553":8},"reloads":{"ok":3,"failed":1,"pause_max_ms":120}}`

// The second worker was replaced, what the first had counted is in its own
// counters; a whole group is no more.
const replaced = `{"ended":{"messages_in":50},"workers":[
	{"name":"push","slot":0,"pid":10,"generation":1,"restarts":2,"connections":5,"messages_in":101},
	{"name":"push","slot":1,"pid":12,"generation":2,"restarts":1,"connections":1,"messages_in":5,"ended":{"messages_in":1}}]}`

func TestMetrics(t *testing.T) {
	var body atomic.Value
	body.Store(twoWorkers)
	st := newStage(t, func(o *Options) {
		o.Stats = func(context.Context) (json.RawMessage, error) {
			if s := body.Load().(string); s != "" {
				return json.RawMessage(s), nil
			}
			return nil, errors.New("master is busy")
		}
	})
	st.worker("push/0/1", conn("1.1", "", "a"))
	st.want("POST", "/v1/batch", `{"items":[{"op":"publish","channels":["a","b"],"data":1},{"op":"bind","connection":"1.1","uid":"1"}]}`,
		200, `{"results":[{"reached":1,"complete":true},{}]}`)
	st.api.refuse(causeSyntax, nil)
	st.url = "http://" + st.listen(st.api.ServeMetrics)

	scrape := func() []string {
		t.Helper()
		status, text := st.call("GET", "/metrics", "")
		if status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		slices.Sort(lines)
		return lines
	}
	want := `pushd_accept_paused{slot="0",worker="push"} 0
pushd_accept_paused{slot="1",worker="push"} 0
pushd_broker_gaps_total 1
pushd_callback_panics_total 1
pushd_clients_closed_total{cause="max_control_rate"} 0
pushd_clients_closed_total{cause="max_rate"} 2
pushd_connections_limit{slot="0",worker="push"} 0
pushd_connections_limit{slot="1",worker="push"} 0
pushd_connections_opened_total 50
pushd_connections{slot="0",worker="push"} 5
pushd_connections{slot="1",worker="push"} 6
pushd_datagrams_dropped_total{listener="udp://127.0.0.1:6553"} 8
pushd_handshakes_refused_total{cause="datagram"} 0
pushd_handshakes_refused_total{cause="full"} 0
pushd_handshakes_refused_total{cause="handler"} 0
pushd_handshakes_refused_total{cause="origin"} 3
pushd_handshakes_refused_total{cause="panic"} 0
pushd_handshakes_refused_total{cause="per_ip"} 0
pushd_handshakes_refused_total{cause="request"} 0
pushd_handshakes_refused_total{cause="route"} 0
pushd_handshakes_refused_total{cause="timeout"} 0
pushd_ingest_refused_total{cause="syntax"} 3
pushd_loop_lag_seconds 0.025
pushd_messages_received_total 101
pushd_messages_sent_total 202
pushd_publish_total{source="api"} 2
pushd_publish_total{source="ingest"} 0
pushd_publish_total{source="worker"} 10
pushd_queue_bytes 42
pushd_reload_pause_seconds 0.12
pushd_reloads_total{result="failed"} 1
pushd_reloads_total{result="ok"} 3
pushd_send_failures_total{cause="broker"} 3
pushd_send_failures_total{cause="control"} 0
pushd_send_failures_total{cause="datagram"} 0
pushd_send_failures_total{cause="dropped"} 0
pushd_send_failures_total{cause="slow"} 4
pushd_send_failures_total{cause="superseded"} 0
pushd_send_failures_total{cause="write"} 0
pushd_worker_restarts_total 2`
	if got := strings.Join(scrape(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	body.Store(replaced)
	if got := scrape(); !slices.Contains(got, "pushd_messages_received_total 156") || !slices.Contains(got, "pushd_worker_restarts_total 3") {
		t.Errorf("after a replacement (101 + 5 + 50 received):\n%s", strings.Join(got, "\n"))
	}
	body.Store("")
	if got := strings.Join(scrape(), "\n"); !strings.Contains(got, `pushd_publish_total{source="api"} 2`) || strings.Contains(got, "pushd_connections{") {
		t.Errorf("without the master:\n%s", got)
	}
	if !strings.Contains(st.log.String(), "master is busy") {
		t.Errorf("log: %s", st.log)
	}
}

func TestMetricsListenerServesNothingElse(t *testing.T) {
	var notReady atomic.Value
	notReady.Store("")
	st := newStage(t, func(o *Options) {
		o.Ready = func() error {
			if s := notReady.Load().(string); s != "" {
				return errors.New(s)
			}
			return nil
		}
	})
	st.url = "http://" + st.listen(st.api.ServeMetrics)
	for _, x := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/healthz", 200}, {"HEAD", "/healthz", 200}, {"POST", "/healthz", 405}, {"GET", "/readyz", 200}, {"POST", "/readyz", 405},
		{"GET", "/", 404}, {"GET", "/v1/stats", 404}, {"POST", "/v1/publish", 404}, {"POST", "/metrics", 405},
	} {
		r := st.request(x.method, x.path, "")
		r.Header.Del("Authorization")
		if status, _, body := st.do(r); status != x.status {
			t.Errorf("%s %s: %d %s", x.method, x.path, status, body)
		}
	}
	st.want("GET", "/readyz", "", 200, `{"ready":true}`)
	notReady.Store("draining")
	st.want("GET", "/readyz", "", 503, `{"error":"not ready: draining"}`)
}

// TestReadyzSaysWhatIsNot: ready as a whole, with what a balancer may want to know.
func TestReadyzSaysWhatIsNot(t *testing.T) {
	var body atomic.Value
	st := newStage(t, func(o *Options) {
		o.Ready = func() error { return nil }
		o.Stats = func(context.Context) (json.RawMessage, error) { return json.RawMessage(body.Load().(string)), nil }
	})
	st.url = "http://" + st.listen(st.api.ServeMetrics)
	for status, want := range map[string]string{
		`{"workers":[{"name":"push","slot":0,"state":"ready"},{"name":"push","slot":1,"state":"ready"}]}`:                        `{"ready":true}`,
		`{"workers":[{"name":"push","slot":0,"state":"full","accept_paused":true},{"name":"push","slot":1,"state":"degraded"}]}`: `{"ready":true,"full":["push/0"],"states":{"push/0":"full","push/1":"degraded"}}`,
	} {
		body.Store(status)
		if code, got := st.call("GET", "/readyz", ""); code != 200 || strings.TrimSpace(got) != want {
			t.Errorf("%d %s, want %s", code, got, want)
		}
	}
	st.api.o.States = func() []control.ServiceState { return []control.ServiceState{{Service: "history", Says: "away"}} }
	body.Store(`{}`)
	st.want("GET", "/readyz", "", 200, `{"ready":true,"services":{"history":"away"}}`)
}
