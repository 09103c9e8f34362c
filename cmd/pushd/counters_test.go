package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// counting has a group that a test takes away.
const counting = `
drain = "100ms"
[metrics]
listen = "%s"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = %d
routes = { "/echo" = "echo" }
`

const otherGroup = `
[[worker]]
name = "other"
listen = "websocket://%s"
routes = { "/echo" = "echo" }
`

// counted is what the server says that it has counted.
type counted struct{ opened, in, out int }

// countedBy reads the sums of `status --json` and those of the metrics.
func countedBy(t *testing.T, s *pushdtest.Server, metrics string) (status, page counted) {
	t.Helper()
	type counters struct {
		Opened      int
		MessagesIn  int `json:"messages_in"`
		MessagesOut int `json:"messages_out"`
	}
	var st struct {
		Workers []counters
		Ended   counters
	}
	if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
		t.Fatal(err)
	}
	for _, w := range append(st.Workers, st.Ended) {
		status.opened += w.Opened
		status.in += w.MessagesIn
		status.out += w.MessagesOut
	}
	res, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) int {
		m := regexp.MustCompile(`(?m)^pushd_` + name + `_total (\S+)$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("no pushd_%s_total in\n%s", name, text)
		}
		n, _ := strconv.ParseFloat(string(m[1]), 64)
		return int(n)
	}
	return status, counted{value("connections_opened"), value("messages_received"), value("messages_sent")}
}

// burstsOf sends n messages on each of the connections and reads the answers.
func burstsOf(t *testing.T, clients []*pushdtest.Client, n int) {
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			burst := strings.Repeat(string(pushdtest.Frame(pushdtest.OpText, []byte("x"))), n)
			if _, err := io.WriteString(c.Conn, burst); err != nil {
				t.Error(err)
			}
			for range n {
				c.WantText("x")
			}
		})
	}
	all.Wait()
}

// TestCountersGoOnOverReloads: what a process has counted up to its end is in
// the sums of the status and of the metrics, and nothing is in them twice.
func TestCountersGoOnOverReloads(t *testing.T) {
	t.Parallel()
	metrics, other := pushdtest.FreeAddr(t), pushdtest.FreeAddr(t)
	config := func(workers int, more string) string { return fmt.Sprintf(counting, metrics, workers) + more }
	second := fmt.Sprintf(otherGroup, other)
	s := pushdtest.Start(t, pushdtest.Options{Config: config(2, second)})
	var want counted
	look := func(when string) {
		t.Helper()
		if status, page := countedBy(t, s, metrics); status != want || page != want {
			t.Fatalf("%s: status %+v, metrics %+v, want %+v", when, status, page, want)
		}
	}
	use := func(addr string, n int) {
		t.Helper()
		var clients []*pushdtest.Client
		for range 5 {
			clients = append(clients, pushdtest.Dial(t, addr, "/echo"))
		}
		burstsOf(t, clients, n)
		want.opened, want.in, want.out = want.opened+5, want.in+5*n, want.out+5*n
	}
	push := fmt.Sprintf("127.0.0.1:%d", s.Port)
	for i := range 3 {
		use(push, 1000)
		use(other, 200)
		s.MustRun("reload")
		look(fmt.Sprintf("after reload %d", i+1))
	}
	use(push, 100)
	s.WriteConfig(config(1, second))
	s.MustRun("reload")
	look("with a slot less")
	use(other, 100)
	s.WriteConfig(config(1, ""))
	s.MustRun("reload")
	look("with a group less")
	use(push, 100)
	broker := s.Status().Broker.PID
	s.Kill(broker)
	pushdtest.Eventually(t, "a new broker process", func() bool {
		b := s.Status().Broker.PID
		res, err := http.Get("http://" + metrics + "/readyz")
		if err == nil {
			res.Body.Close()
		}
		return b != 0 && b != broker && err == nil && res.StatusCode == http.StatusOK
	})
	look("with another broker process")
}

// TestCountersOfAKilledWorker: what it has reported stays.
func TestCountersOfAKilledWorker(t *testing.T) {
	metrics := pushdtest.FreeAddr(t)
	s := pushdtest.Start(t, pushdtest.Options{Config: fmt.Sprintf(counting, metrics, 1)})
	burstsOf(t, []*pushdtest.Client{s.Dial("/echo")}, 100)
	want := counted{1, 100, 100}
	if status, page := countedBy(t, s, metrics); status != want || page != want {
		t.Fatalf("before: status %+v, metrics %+v", status, page)
	}
	victim := s.Status().Workers[0].PID
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "another worker", func() bool {
		w := s.Status().Workers[0]
		return w.PID != victim && w.State == "ready"
	})
	if status, page := countedBy(t, s, metrics); status != want || page != want {
		t.Fatalf("after: status %+v, metrics %+v", status, page)
	}
}

// TestCountersGoOnOverUpgrades, which replace the broker process and the
// master's code as well.
func TestCountersGoOnOverUpgrades(t *testing.T) {
	t.Parallel()
	metrics := pushdtest.FreeAddr(t)
	u := startUpgradable(t, fmt.Sprintf(counting, metrics, 2), false)
	burstsOf(t, []*pushdtest.Client{u.Dial("/echo"), u.Dial("/echo")}, 500)
	want := counted{2, 1000, 1000}
	for _, version := range []string{"two", "one"} {
		u.upgrade(version)
		if status, page := countedBy(t, u.Server, metrics); status != want || page != want {
			t.Fatalf("after the upgrade to %s: status %+v, metrics %+v, want %+v", version, status, page, want)
		}
	}
}
