package compare

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

// buildPeers builds the module of the other servers.
func buildPeers(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "peers")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../peers", "-o", out, ".")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build peers: %v\n%s", err, text)
	}
	return out
}

// A comparison in the small: every measure of both servers is taken, with
// every byte accounted for and each number that the table shows.
func TestMeasure(t *testing.T) {
	var log bytes.Buffer
	r, err := Measure(t.Context(), Options{
		Bench: pushdtest.Build(t, "cmd/pushbench"), Pushd: pushdtest.Build(t, "cmd/pushd"), Peers: buildPeers(t),
		Only: []string{pushd, gnet}, Rounds: 1, Loops: 2, Duration: 200 * time.Millisecond,
		Idle: 200, Fan: 100, Hold: 200 * time.Millisecond, Timed: 5, Log: &log,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("faults: %s", strings.Join(faults, "\n"))
	}
	if want := len(measures) + 5; len(r.Runs) != want {
		t.Errorf("%d runs, want %d:\n%s", len(r.Runs), want, log.String())
	}
	for _, l := range lines {
		if _, ok := r.compare(l); !ok {
			t.Errorf("no number for %q", l.title)
		}
		if _, ok := r.spread(gnet, l.measure, l.metric); ok == pushdMeasure(l.measure) {
			t.Errorf("%q: gnet has a number: %v", l.title, ok)
		}
	}
}

func pushdMeasure(name string) bool {
	for _, m := range measures {
		if m.name == name {
			return m.pushdOnly
		}
	}
	return false
}

func TestServerThatDoesNotStart(t *testing.T) {
	_, err := Measure(t.Context(), Options{Bench: "/bin/false", Pushd: "/bin/false", Peers: "/bin/false", Rounds: 1, Loops: 1, Log: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("%v", err)
	}
}
