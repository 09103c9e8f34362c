package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// crowdSize is how many connections two workers hold: few in the ordinary
// test, and with PUSHD_TEST_FULL=1 as many as fit under this process's
// descriptor limit.
func crowdSize() int {
	if os.Getenv("PUSHD_TEST_FULL") == "1" {
		return 15_000
	}
	return 2_000
}

// TestBroadcastToAll: every one of many connections, in both processes, gets it
// once.
func TestBroadcastToAll(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	clients := slices.Concat(s.DialEach("/chat", 1)...)
	for len(clients) < crowdSize() {
		clients = append(clients, s.Dial("/chat"))
	}
	st := s.Status()
	for _, w := range st.Workers {
		if w.Connections == 0 || st.Connections() != len(clients) {
			t.Fatalf("%d connections, want %d in two processes: %+v", st.Connections(), len(clients), st.Workers)
		}
	}
	for _, text := range []string{"first", "second"} { // the second would come after a repeated first
		want(t, s, "/v1/broadcast", fields{"data": text}, fields{"reached": len(clients), "complete": true})
		for _, c := range clients {
			c.WantText(text)
		}
	}
	want(t, s, "/v1/publish", fields{"channel": lobby, "data": "channel"}, fields{"reached": len(clients), "complete": true})
	for _, c := range clients {
		c.WantText("channel")
	}
	var closed sync.WaitGroup // at once: the server need not hear of them one by one
	for _, c := range clients {
		closed.Go(func() { c.Conn.Close() })
	}
	closed.Wait()
	pushdtest.Eventually(t, "the workers know that all have left", func() bool { return s.Status().Connections() == 0 })
}

// TestBenchmarksFindNoFault: pushbench checks every byte of many idle
// connections and of a channel with as many members, and ends with 0.
func TestBenchmarksFindNoFault(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	bench := pushdtest.Build(t, "cmd/pushbench")
	size := fmt.Sprint(crowdSize())
	for _, args := range [][]string{
		{"idle", "--connections", size, "--settle", "2s", "--hold", "1s"},
		{"fanout", "--connections", size, "--messages", "20", "--api", "http://" + s.API, "--key", s.Key},
	} {
		t.Run(args[0], func(t *testing.T) {
			url := fmt.Sprintf("ws://127.0.0.1:%d/chat", s.Port)
			if args[0] == "fanout" {
				url += "?room={room}"
			}
			out, err := exec.Command(bench, append(args, "--url", url, "--json")...).Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
			}
			var report struct{ Numbers map[string]float64 }
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := report.Numbers["connections"]; fmt.Sprint(int(n)) != size {
				t.Errorf("it held %v connections, want %s", n, size)
			}
			t.Logf("%s", out)
		})
	}
}
