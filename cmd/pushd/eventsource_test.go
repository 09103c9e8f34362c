package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

var port = regexp.MustCompile(`"port": ?\d+`)

// TestEventSource: EventSource of npm, which nobody tells to come back: cut
// before the first message, turned away by a full process, through a reload, a killed worker and a killed broker
// process it gets all, once and in order.
func TestEventSource(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: `
[history]
store = "disk"
[[channel]]
match = "*"
history = 1000
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
limits = { max_connections = 1 }
[worker.routes]
"/open" = { handler = "notify", options = { anonymous = true, public_history = true, channels = ["all"] } }
`})
	p := talk(t, s, "node", filepath.Join(sdk(t), "eventsource.mjs"), fmt.Sprintf("http://127.0.0.1:%d/open", s.Port))
	got, opened := map[string][]string{}, map[string]int{}
	until := func(want string) {
		t.Helper()
		for {
			line := p.line()
			name, rest, _ := strings.Cut(line, " ")
			if text, ok := strings.CutPrefix(rest, "message "); ok {
				got[name] = append(got[name], text)
			}
			if rest == "open" {
				opened[name]++
			}
			if rest == "error 2" || line == "" {
				t.Fatalf("%q: it is gone for ever", line)
			}
			if line == want {
				return
			}
		}
	}
	var sent []string
	n := 0
	say := func() string {
		t.Helper()
		n++
		text := fmt.Sprint("m", n)
		sent = append(sent, text)
		pushdtest.Eventually(t, "it is sent", func() bool {
			status, _ := s.Post("/v1/publish", map[string]any{"channel": "all", "data": text, "idempotency_key": text})
			return status == 200
		})
		return text
	}
	fmt.Fprintln(p.in, "open one")
	until("one position")
	for _, w := range s.Status().Workers { // it has heard nothing yet
		s.Kill(w.PID)
	}
	until("one message " + say())
	first := port.FindString(s.MustRun("connections", "--json"))
	fmt.Fprintln(p.in, "open two")
	until("two error 0") // full: it will be back
	fmt.Fprintln(p.in, "close one")
	pushdtest.Eventually(t, "two is in", func() bool {
		now := s.MustRun("connections", "--json")
		return strings.Contains(now, `"sse"`) && !strings.Contains(now, first)
	})
	sent = sent[:0:0]
	until("two message " + say())
	before := opened["two"]
	s.MustRun("reload")
	until("two message " + say())
	if opened["two"] != before {
		t.Error("the reload has cut it")
	}
	for _, w := range s.Status().Workers {
		s.Kill(w.PID)
	}
	say()
	until("two message " + say())
	s.Kill(s.Status().Broker.PID)
	until("two message " + say())
	if !slices.Equal(got["two"], sent) {
		t.Errorf("%q, want %q", got["two"], sent)
	}
	t.Logf("opened %d times", opened["two"])
}
