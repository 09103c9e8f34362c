package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/load"
)

// TestMain makes the test binary its own agent.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == AgentCommand {
		if os.Getenv("AGENT_DIES") != "" {
			os.Exit(3)
		}
		_ = RunAgent(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

func TestSplitSharesEverything(t *testing.T) {
	loads := []load.Spec{
		{Kind: load.Echo, URL: "ws://127.0.0.1:9/", Connections: 100_001, Rate: 2000, Window: 100},
		{Kind: load.Members, URL: "ws://127.0.0.1:9/?r={room}", Connections: 3, Churn: 6},
		{Kind: load.Dial, URL: "ws://127.0.0.1:9/", Connections: 10, Rate: 50},
	}
	jobs, err := Split(loads, 2)
	if err != nil {
		t.Fatal(err)
	}
	connections, rates, churn := map[string]int{}, map[string]float64{}, 0.0
	addresses := map[string]bool{}
	for i, job := range jobs {
		if job.Agent != uint32(i) || job.Run != jobs[0].Run {
			t.Errorf("job %d: agent %d of run %d", i, job.Agent, job.Run)
		}
		standing := 0
		for _, l := range job.Loads {
			connections[l.Kind] += l.Connections
			rates[l.Kind] += l.Rate
			churn += l.Churn
			standing += l.Connections
		}
		if standing > PerAgent()+len(loads) {
			t.Errorf("job %d has %d connections, more than %d", i, standing, PerAgent())
		}
		for _, a := range job.Sources {
			if addresses[a] || !strings.HasPrefix(a, "127.0.") {
				t.Errorf("source %s twice, or not ours", a)
			}
			addresses[a] = true
		}
	}
	if connections[load.Echo] != 100_001 || connections[load.Members] != 3 || connections[load.Dial] != 10 {
		t.Errorf("%v", connections)
	}
	for kind, want := range map[string]float64{load.Echo: 2000, load.Dial: 50} {
		if got := rates[kind]; got < want-0.01 || got > want+0.01 {
			t.Errorf("%s: rate %v, want %v", kind, got, want)
		}
	}
	if churn < 5.99 || churn > 6.01 {
		t.Errorf("churn %v", churn)
	}
}

func TestSplitRefuses(t *testing.T) {
	for name, l := range map[string]load.Spec{
		"too many":          {Kind: load.Idle, URL: "ws://127.0.0.1:9/", Connections: 1 << 30},
		"too many from one": {Kind: load.Idle, URL: "ws://192.0.2.1:9/", Connections: perAddress + 1},
		"bad url":           {Kind: load.Idle, URL: "nonsense"},
	} {
		if jobs, err := Split([]load.Spec{l}, 1); err == nil {
			t.Errorf("%s: %d jobs", name, len(jobs))
		}
	}
}

func TestAgentWhoseInputEnds(t *testing.T) {
	job, err := json.Marshal(Job{Loads: []load.Spec{{Kind: load.Idle, URL: "ws://127.0.0.1:9/"}}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := RunAgent(bytes.NewReader(job), &out); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{", `{"loads":[{"kind":"nonsense","url":"ws://127.0.0.1/"}]}`, `{"loads":[{"kind":"idle","url":"wss://x/"}]}`} {
		out.Reset()
		if err := RunAgent(strings.NewReader(bad), &out); err == nil || !strings.Contains(out.String(), eventError) {
			t.Errorf("job %q: %v, %s", bad, err, out.String())
		}
	}
}

func TestDeadAgentIsNoticed(t *testing.T) {
	t.Setenv("AGENT_DIES", "1")
	jobs, err := Split([]load.Spec{{Kind: load.Idle, URL: "ws://127.0.0.1:9/", Connections: 1}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Launch(jobs)
	if err != nil {
		return // it died before it could read its job, which is told as well
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Ready(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("%v, %v", err, ctx.Err())
	}
}

func TestSeenWaitsForAll(t *testing.T) {
	var all []uint32
	f := &Fleet{watchers: 3, seen: map[uint32]int{}, OnSeen: func(seq uint32) { all = append(all, seq) }}
	for _, seq := range []uint32{1, 1, 2, 2, 2, 1, 3} {
		f.saw(seq)
	}
	if len(all) != 2 || all[0] != 2 || all[1] != 1 {
		t.Fatalf("%v", all)
	}
}

// What an agent reads comes from a pipe; nothing in it may bring it down.
func FuzzAgent(f *testing.F) {
	f.Add([]byte(`{"loads":[{"kind":"idle","url":"ws://127.0.0.1:9/","connections":0}]}{"do":"start"}{"do":"mark","on":true}{"do":"stop"}{"do":"report"}`))
	f.Add([]byte(`{"loads":[{"kind":"members","url":"ws://127.0.0.1:9/"}]}{"do":"report"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var job Job
		if json.NewDecoder(bytes.NewReader(in)).Decode(&job) == nil {
			for _, l := range job.Loads {
				if l.Connections != 0 || !strings.HasPrefix(l.URL, "ws://127.0.0.1:9/") {
					return // this is no test of sockets, nor of name servers
				}
			}
		}
		_ = RunAgent(bytes.NewReader(in), io.Discard)
	})
}
