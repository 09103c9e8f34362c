package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestRecoverBench: clients come back by the hundred while messages are sent, and
// pushbench finds that all that they were told is true. What it has saved is judged
// again, whole and with a planted lie.
func TestRecoverBench(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: `
[[app]]
id = "1"
key = "bench"
secret = "a-secret-of-the-bench"
[[channel]]
match = "bench-*"
app = "1"
history = 200
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/app/{key}" = "pusher", "/apps/*" = "pusher" }
`})
	bench, saved := pushdtest.Build(t, "cmd/pushbench"), filepath.Join(t.TempDir(), "history.json")
	out, err := exec.Command(bench, "recover", "--url", fmt.Sprintf("ws://%s/app/bench", s.Address()), "--api", "http://"+s.Address(),
		"--app-id", "1", "--app-key", "bench", "--app-secret", "a-secret-of-the-bench", "-n", "200", "--rooms", "20", "--missed", "8", "--rounds", "2",
		"--within", "500ms", "--rate", "100", "--stall", "120s", "--drain", "120s", "--history", saved, "--json").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct{ Numbers map[string]float64 }
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := report.Numbers; n["readers"] != 600 || n["recovery_messages"] < 600*8 {
		t.Errorf("%s", out)
	}
	if out, err := exec.Command(bench, "verify", "--check", saved).CombinedOutput(); err != nil {
		t.Errorf("judged again: %v\n%s", err, out)
	}
	plant(t, saved)
	if out, err := exec.Command(bench, "verify", "--check", saved).CombinedOutput(); err == nil {
		t.Errorf("a planted lie is not found\n%s", out)
	}
}

// plant takes a message out of what a reader was told that it had.
func plant(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	must(t, err)
	var h map[string]any
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	for _, r := range h["readers"].([]any) {
		reader := r.(map[string]any)
		events := reader["events"].([]any)
		for i, e := range events {
			if e.(map[string]any)["kind"] == "recovered" {
				reader["events"] = append(events[:i-2:i-2], events[i-1:]...)
				raw, err := json.Marshal(h)
				must(t, err)
				must(t, os.WriteFile(file, raw, 0o600))
				return
			}
		}
	}
	t.Fatal("nobody has recovered")
}
