package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// load is pushbench at work on a server while a test does something to it:
// echoes, members that talk, a back end that publishes, joins and leaves, new
// connections, slow readers. It records every byte, and judges at the end.
type load struct {
	t         *testing.T
	bench     *exec.Cmd
	enough    io.Closer // its standard input
	out, errs bytes.Buffer
	ended     bool
}

// The first sessions of the load stay: echoes, the members of two channels, slow
// readers. Those with higher numbers belong to connections that come while it
// runs, to echo once and go, or to join in the place of another.
const (
	standingEchoes, standingMembers, standingSlow = 30, 10, 2
	standingSessions                              = standingEchoes + 2*standingMembers + standingSlow
)

// stand starts the load and returns once its connections stand and talk. Flags
// are further ones of `pushbench verify`; the later one of two counts.
func stand(t *testing.T, s *pushdtest.Server, flags ...string) *load {
	t.Helper()
	args := append([]string{"verify", "--json", "-d", "0", "--settle", "2s",
		"--url", fmt.Sprintf("ws://127.0.0.1:%d", s.Port), "--api", "http://" + s.API, "--key", s.Key,
		"--idle", "10", "--echoes", fmt.Sprint(standingEchoes), "--echo-rate", "200", "--channels", "2", "--members", fmt.Sprint(standingMembers),
		"--talk-rate", "10", "--publish-rate", "20", "--churn", "2", "--connect-rate", "10", "--slow", fmt.Sprint(standingSlow)}, flags...)
	l := &load{t: t, bench: exec.Command(pushdtest.Build(t, "cmd/pushbench"), args...)}
	l.bench.Stdout, l.bench.Stderr = &l.out, &l.errs
	enough, err := l.bench.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.enough = enough
	before := s.Status()
	if err := l.bench.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kill)
	pushdtest.Eventually(t, "the standing load is at work", func() bool {
		now := s.Status()
		return now.Messages() > before.Messages()+100
	})
	return l
}

// kill ends a load whose test has failed.
func (l *load) kill() {
	if !l.ended {
		_ = l.bench.Process.Kill()
		_ = l.bench.Wait()
		l.t.Logf("pushbench: %s%s", l.errs.String(), l.out.String())
	}
}

// end ends the load and returns what it found. Of the kinds of faults, only
// those that the test expects are allowed; "late" means dials that were skipped
// because too many were unanswered.
func (l *load) end(allowed ...string) *verdict {
	l.t.Helper()
	_ = l.enough.Close()
	timer := time.AfterFunc(2*pushdtest.Timeout, func() { _ = l.bench.Process.Kill() })
	defer timer.Stop()
	err := l.bench.Wait()
	l.ended = true
	v := &verdict{}
	if jsonErr := json.Unmarshal(l.out.Bytes(), v); jsonErr != nil {
		l.t.Fatalf("pushbench: %v\n%s%s", err, l.errs.String(), l.out.String())
	}
	if v.Numbers["messages_received"] == 0 || v.Numbers["connections_opened"] < v.Numbers["connections"] {
		l.t.Errorf("the load did nothing: %v", v.Numbers)
	}
	if bad := v.without(allowed); len(bad) > 0 {
		l.t.Errorf("the checker found, and only %q may be:\n%s", allowed, strings.Join(bad, "\n"))
	}
	return v
}

// verdict is the part of pushbench's report that tests need.
type verdict struct {
	Numbers    map[string]float64
	Problems   []string
	Violations []struct {
		Kind, Role, Detail string
		Session, Stream    uint32
		Seq, Count         int
	}
}

// faults are the kinds of faults found, with how many messages or connections
// each has hit.
func (v *verdict) faults() map[string]int {
	found := map[string]int{}
	for name, n := range v.Numbers {
		if kind, ok := strings.CutPrefix(name, "faults_"); ok && n > 0 {
			found[kind] = int(n)
		}
	}
	return found
}

// without names the faults of other kinds than those allowed.
func (v *verdict) without(allowed []string) (bad []string) {
	for _, kind := range slices.Sorted(maps.Keys(v.faults())) {
		if !slices.Contains(allowed, kind) {
			bad = append(bad, fmt.Sprintf("%d of kind %s", v.faults()[kind], kind))
		}
	}
	for _, f := range v.Violations {
		if !slices.Contains(allowed, f.Kind) && len(bad) < 20 {
			bad = append(bad, fmt.Sprintf("%+v", f))
		}
	}
	for _, p := range v.Problems {
		late := strings.Contains(p, "dials were skipped") && slices.Contains(allowed, "late")
		lost := strings.Contains(p, "answers never came") && slices.Contains(allowed, "loss")
		if !late && !lost {
			bad = append(bad, p)
		}
	}
	return bad
}
