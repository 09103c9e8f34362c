package compare

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// A comparison in the small: every measure of each server is taken, with every byte
// accounted for and each number that the table shows. Of the servers that are not
// part of this repository those that are here take part, and the others are named.
func TestMeasure(t *testing.T) {
	var log bytes.Buffer
	o := Options{
		Bench: pushdtest.Build(t, "cmd/pushbench"), Pushd: pushdtest.Build(t, "cmd/pushd"), Peers: buildPeers(t), Others: filepath.Join(pushdtest.Root(t), "bin"),
		Rounds: 1, Loops: 2, Duration: 200 * time.Millisecond,
		Idle: 200, Fan: 100, Hold: 200 * time.Millisecond, Timed: 5, Log: &log,
	}
	there, absent, err := choose(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(there)+len(absent) != len(servers) {
		t.Errorf("%v are there, %v are not: of %v", there, absent, servers)
	}
	var take []server
	for _, s := range there {
		if s.name == pushd || s.name == gnet || s.missing != nil {
			take, o.Only = append(take, s), append(o.Only, s.name)
		}
	}
	t.Logf("measured: %v; not there: %v", take, absent)
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if faults := append(r.Faults(), r.Others()...); len(faults) > 0 {
		t.Errorf("faults: %s", strings.Join(faults, "\n"))
	}
	for _, s := range take {
		for _, m := range measures {
			if has := slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Server == s.name && run.Measure == m.name }); has != m.of(s, 0) {
				t.Errorf("%s was measured by %s: %v\n%s", s, m.name, has, log.String())
			}
		}
		for _, l := range lines {
			if _, has := r.spread(s.name, l.measure, l.metric); !has && measured(l.measure).of(s, 0) && (s.name == pushd || l.metric != "server_bytes_worker_per_membership") {
				t.Errorf("%s has no number for %q", s, l.title)
			}
		}
	}
}

func measured(name string) measure {
	return measures[slices.IndexFunc(measures, func(m measure) bool { return m.name == name })]
}

// TestAbsent: who is not there is named with the command that gets it, and refused
// to who asks for it.
func TestAbsent(t *testing.T) {
	o := Options{Others: t.TempDir()}
	_, absent, err := choose(o)
	for _, want := range []Absent{{"Centrifugo", "make bin/centrifugo"}, {"Soketi", "make bin/soketi"}} {
		if !slices.Contains(absent, want) || err != nil {
			t.Errorf("%v is not among %v, %v", want, absent, err)
		}
	}
	r := &Result{Absent: absent}
	if table := r.Markdown(); !strings.Contains(table, "\nCentrifugo was not there: `make bin/centrifugo`.\n") {
		t.Error(table)
	}
	o.Only = []string{"pushd", "soketi"}
	if _, _, err := choose(o); err == nil || !strings.Contains(err.Error(), "soketi is not there: make bin/soketi") {
		t.Errorf("asked for: %v", err)
	}
}

// TestOthersMayFail: a server that does not start costs its column, not the run; and
// the table says what happened.
func TestOthersMayFail(t *testing.T) {
	var log bytes.Buffer
	r, err := Measure(t.Context(), Options{Bench: "/bin/false", Pushd: "/bin/false", Peers: "/bin/false", Only: []string{"gws", "nbio"}, Rounds: 1, Loops: 1, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"gws", "nbio"} {
		if want := "Not as it should be: round 1 " + server + ", ended: [/bin/false " + server; !strings.Contains(r.Markdown(), want) || !strings.Contains(log.String(), server) {
			t.Errorf("no %q in\n%s\n%s", want, r.Markdown(), log.String())
		}
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	_, err := Measure(t.Context(), Options{Bench: "/bin/false", Pushd: "/bin/false", Peers: "/bin/false", Only: []string{pushd}, Rounds: 1, Loops: 1, Log: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("%v", err)
	}
}
