package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/proc"
	"github.com/pushd/pushd/cmd/pushdtest"
)

const (
	rounds = 5    // in turns, so that all meet what else the machine does
	burst  = 2000 // requests
	lines  = 8    // of requests, one after the other in each
)

// bursts sends requests of the API by some connections and returns how long each took.
func (n *Node) bursts(t *testing.T, lines int, body func(i int) object) (took []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for line := range lines {
		all.Go(func() {
			times := n.line(t, line, lines, body)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, times...)
		})
	}
	all.Wait()
	return took
}

// line sends every so many of them.
func (n *Node) line(t *testing.T, first, lines int, body func(i int) object) (took []time.Duration) {
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr, Timeout: pushdtest.Timeout}
	for i := first; i < burst; i += lines {
		raw, _ := json.Marshal(body(i))
		req, err := http.NewRequest(http.MethodPost, "http://"+n.API+"/v1/publish", bytes.NewReader(raw))
		if err != nil {
			t.Error(err)
			return took
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+n.Key)
		began := time.Now()
		res, err := c.Do(req)
		if err != nil {
			t.Error(err)
			return took
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("publish %d: %s %s", i, res.Status, text)
			return took
		}
		took = append(took, time.Since(began))
	}
	return took
}

// cpu is what a node's processes have taken.
func (n *Node) cpu(t *testing.T) time.Duration {
	t.Helper()
	s, err := proc.Tree(n.masterPID())
	if err != nil {
		t.Fatal(err)
	}
	return s.CPU
}

// nodesCPU is what all nodes have taken.
func (c *Cluster) nodesCPU(t *testing.T) (all time.Duration) {
	t.Helper()
	for _, n := range c.Nodes {
		all += n.cpu(t)
	}
	return all
}

// cpu is what all nodes and NATS servers have taken.
func (c *Cluster) cpu(t *testing.T) time.Duration {
	t.Helper()
	all := c.nodesCPU(t)
	for _, s := range c.NATS {
		sample, err := proc.Tree(s.proc.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		all += sample.CPU
	}
	return all
}

// middle is the median of what a request took, in microseconds.
func middle(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Nanoseconds()) / 1000
}

// priceOf is what one of the requests of a burst takes, beside what is taken anyway.
func priceOf(cpu func() time.Duration, work func()) time.Duration {
	return pricesOf(work, cpu)[0]
}

// pricesOf is priceOf by several clocks.
func pricesOf(work func(), clocks ...func() time.Duration) []time.Duration {
	const rest = 2 * time.Second
	read := func() []time.Duration {
		var now []time.Duration
		for _, clock := range clocks {
			now = append(now, clock())
		}
		return now
	}
	at := read()
	time.Sleep(rest)
	began, before := time.Now(), read()
	work()
	ratio := time.Since(began).Seconds() / rest.Seconds()
	all := read()
	for i := range all {
		idle := time.Duration(float64(before[i]-at[i]) * ratio)
		all[i] = (all[i] - before[i] - idle) / burst
	}
	return all
}

var single = strings.Replace(patient, "count = 2", "count = 1", 1)

// TestPriceOfAPublish says what a publish by the API takes of the processor, all nodes and
// servers together, on three nodes and on one: at most 1.6 times is what is aimed at.
func TestPriceOfAPublish(t *testing.T) {
	if !full() {
		t.Skip("a measurement; PUSHD_TEST_FULL=1")
	}
	one, three := Start(t, Options{Config: single, Nodes: 1, NATS: 1, Direct: true}), Start(t, Options{Config: single, NATS: 3, Direct: true})
	one.crowd(t, 1)
	three.crowd(t, 1)
	price, nodes := map[*Cluster][]time.Duration{}, map[*Cluster][]time.Duration{}
	for range rounds {
		for _, c := range []*Cluster{one, three} {
			both := pricesOf(func() {
				c.Nodes[0].bursts(t, lines, func(i int) object { return object{"channel": "room", "data": fmt.Sprint(i)} })
			}, func() time.Duration { return c.cpu(t) }, func() time.Duration { return c.nodesCPU(t) })
			price[c], nodes[c] = append(price[c], both[0]), append(nodes[c], both[1])
		}
	}
	a, b := middle(price[one]), middle(price[three])
	t.Logf("CPU of a publish by the API with a member on each node: %.0f µs on one node, %.0f µs on three: %.2f × (aim 1.6)", a, b, b/a)
	a, b = middle(nodes[one]), middle(nodes[three])
	t.Logf("of that pushd, without the NATS servers: %.0f µs and %.0f µs: %.2f ×", a, b, b/a)
}

// plain is what commits before [cluster] understand too.
var plain = strings.Replace(single, "[cluster]\nlost = \"60s\"\n", "", 1)

// TestPriceOfAForeignMessage says what a node without members takes of the processor for a
// message that another node publishes. PUSHD_TEST_OTHER names a program to compare with, as
// the one of another commit, in the same run.
func TestPriceOfAForeignMessage(t *testing.T) {
	if !full() {
		t.Skip("a measurement; PUSHD_TEST_FULL=1")
	}
	programs := map[string][]byte{"this": nil}
	if path := os.Getenv("PUSHD_TEST_OTHER"); path != "" {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		programs["other"] = raw
	}
	clusters, price := map[string]*Cluster{}, map[string][]time.Duration{}
	for name, program := range programs {
		clusters[name] = Start(t, Options{Config: plain, Nodes: 2, Program: program, Direct: true})
	}
	for range rounds {
		for name, c := range clusters {
			price[name] = append(price[name], priceOf(func() time.Duration { return c.Nodes[1].cpu(t) }, func() {
				c.Nodes[0].bursts(t, lines, func(i int) object { return object{"channel": "room", "data": fmt.Sprint(i)} })
			}))
		}
	}
	this := middle(price["this"])
	t.Logf("CPU of a node without members for a message of another node: %.0f µs", this)
	if other := price["other"]; other != nil {
		t.Logf("with the other program %.0f µs: %.2f × (aim 0.55 of 9ffb97b)", middle(other), this/middle(other))
	}
}

// TestHowSoonOthersKnow says how long it takes until members of his node and of another are
// told of one who joins: 2 ms is what is aimed at on another.
func TestHowSoonOthersKnow(t *testing.T) {
	if !full() {
		t.Skip("a measurement; PUSHD_TEST_FULL=1")
	}
	c := Start(t, Options{Config: rooms, NATS: 3, Direct: true})
	far, near := visit(t, c.Nodes[0], "far"), visit(t, c.Nodes[1], "near")
	took := map[*visitor][]time.Duration{}
	for i := range 80 { // a presence channel has 100 members
		time.Sleep(100 * time.Millisecond) // a room pauses for 25 ms between two events
		v := visit(t, c.Nodes[1], fmt.Sprint("user-", i))
		for _, w := range []*visitor{far, near} {
			pushdtest.Eventually(t, w.user+" is told", func() bool { return !w.heardOf(v.user).IsZero() })
			took[w] = append(took[w], w.heardOf(v.user).Sub(v.asked))
		}
	}
	here, there := middle(took[near]), middle(took[far])
	t.Logf("from the request to join to member_added, 80 joins: %.0f µs p50 on its own node, %.0f µs on another (aim 2000)", here, there)
}

// TestPriceOfOrder says what a message of a channel with history takes where JetStream
// orders it, replicas 3, and what its key and its version add.
func TestPriceOfOrder(t *testing.T) {
	if !full() {
		t.Skip("a measurement; PUSHD_TEST_FULL=1")
	}
	c := Start(t, Options{Config: remembering, NATS: 3, Direct: true})
	pushdtest.Eventually(t, "it is taken", func() bool {
		status, _ := c.Nodes[0].attempt(object{"channel": "chat:log", "data": "x"})
		return status == 200
	})
	kinds := []string{"no history", "history", "idempotency_key", "version"}
	price, took := map[string][]time.Duration{}, map[string][]time.Duration{}
	var last atomic.Int64
	for range rounds {
		for _, kind := range kinds {
			var times []time.Duration
			message := func(int) object {
				n := last.Add(1)
				body := object{"channel": "chat:log", "data": fmt.Sprint(n)}
				switch kind {
				case "no history":
					body["channel"] = "chat:room"
				case "idempotency_key":
					body[kind] = fmt.Sprint("key", n)
				case "version":
					body[kind] = n
				}
				return body
			}
			cost := priceOf(func() time.Duration { return c.cpu(t) }, func() { times = c.Nodes[0].bursts(t, 1, message) })
			took[kind], price[kind] = append(took[kind], times...), append(price[kind], cost)
		}
	}
	cpu, wait := middle(price["history"]), middle(took["history"])
	for _, kind := range kinds {
		a, b := middle(price[kind]), middle(took[kind])
		t.Logf("%-16s CPU %5.0f µs (%.2f ×), answered after %5.0f µs p50 (%.2f ×)", kind, a, a/cpu, b, b/wait)
	}
}
