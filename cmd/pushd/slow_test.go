package main_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const sluggish = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
slow = "%s"
limits = { max_queue = "64KiB" }
routes = { "/echo" = "echo", "/chat" = "chat" }
`

// slowFlags let 10 of 20 members read 500 bytes a second of some 600 KB/s.
var slowFlags = []string{"--channels", "1", "--members", "10", "--slow", "10", "--slow-bytes", "500", "--size", "8192", "--publish-rate", "80", "--talk-rate", "0", "--drain", "60s"}

// TestSlowReaders: each policy bounds what waits for them, and the others are
// served as if they were not there.
func TestSlowReaders(t *testing.T) {
	for policy, flag := range map[string]string{
		"close":       "--slow-cut-ok", // one that reads next to nothing does not get to the close frame
		"drop-oldest": "--slow-may-miss",
		"latest":      "--slow-may-miss",
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := pushdtest.Start(t, pushdtest.Options{Config: fmt.Sprintf(sluggish, policy)})
			l := stand(t, s, append(slices.Clone(slowFlags), flag)...)
			const dropped = 20 // messages: surely more than one queue has overflowed
			most := 0
			pushdtest.Eventually(t, "queues overflow", func() bool {
				st := s.Status()
				failures, queued := 0, 0
				for _, w := range st.Workers {
					failures += w.SendFailures
					queued += w.QueueBytes
				}
				most = max(most, queued)
				if policy == "close" {
					return failures == 10 && queued == 0
				}
				return failures > dropped
			})
			// Each queue has its limit, the frame that is partly sent, and a close frame.
			// One that is closed has it for a tenth of a second: it need not be seen.
			if bound := 10 * (64<<10 + 9<<10); most > bound || most == 0 && policy != "close" {
				t.Errorf("%d bytes were queued, want at most %d", most, bound)
			}
			v := l.end()
			if cut := int(v.Numbers["slow_members_cut"]); policy == "close" && cut != 10 || policy != "close" && cut != 0 {
				t.Errorf("%d slow members were cut", cut)
			}
			if late := time.Duration(v.Numbers["delivery_p99_us"]) * time.Microsecond; late > 5*time.Second { // starved, not slow: a slow reader takes 16 s for a message
				t.Errorf("of the deliveries to the others one in a hundred took %s", late)
			}
		})
	}
}

// BenchmarkSlowReaders measures what 100 slow readers, who are not cut, cost
// the others: the 99th percentile of their deliveries with and without. Its goal
// is a ratio of at most 2.
func BenchmarkSlowReaders(b *testing.B) {
	s := pushdtest.Start(b, pushdtest.Options{Config: fmt.Sprintf(sluggish, "drop-oldest")})
	bench := pushdtest.Build(b, "cmd/pushbench")
	p99 := func(slow int) float64 {
		out, err := exec.Command(bench, "verify", "--json", "--slow-may-miss",
			"--url", fmt.Sprintf("ws://127.0.0.1:%d", s.Port), "--api", "http://"+s.API, "--key", s.Key,
			"-d", "8s", "--channels", "1", "--members", "200", "--slow", strconv.Itoa(slow), "--slow-bytes", "500", "--size", "4096",
			"--publish-rate", "20", "--talk-rate", "0", "--echoes", "200", "--echo-rate", "1000", "--connect-rate", "20").Output()
		var v verdict
		if jsonErr := json.Unmarshal(out, &v); err != nil || jsonErr != nil {
			b.Fatalf("%v %v\n%s", err, jsonErr, out)
		}
		return v.Numbers["delivery_p99_us"]
	}
	for b.Loop() {
		without, with := p99(0), p99(100)
		b.ReportMetric(without, "p99-µs-without")
		b.ReportMetric(with, "p99-µs-with")
		b.ReportMetric(with/without, "ratio")
	}
}
