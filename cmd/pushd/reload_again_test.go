package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// footprint is what the processes of a server hold.
type footprint struct {
	Files, Goroutines map[string]int // by process
	RSS               int64          // of the workers together
}

// holds reads it. Goroutines of the broker process are not told.
func holds(t *testing.T, s *pushdtest.Server) footprint {
	t.Helper()
	var st struct {
		Master  struct{ PID, Goroutines int }
		Broker  struct{ PID int }
		Workers []struct {
			PID, Slot, Goroutines int
			RSS                   int64 `json:"rss_bytes"`
		}
	}
	if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
		t.Fatal(err)
	}
	f := footprint{Files: map[string]int{"master": files(t, st.Master.PID), "broker": files(t, st.Broker.PID)},
		Goroutines: map[string]int{"master": st.Master.Goroutines}}
	for _, w := range st.Workers {
		name := fmt.Sprint("worker ", w.Slot)
		f.Files[name], f.Goroutines[name] = files(t, w.PID), w.Goroutines
		f.RSS += w.RSS
	}
	return f
}

func files(t *testing.T, pid int) int {
	t.Helper()
	open, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestReloadAgainAndAgain: nothing is left behind by a reload, however many
// there are.
func TestReloadAgainAndAgain(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig + `ping_interval = "0s"`}) // nobody answers
	var all []*pushdtest.Client
	for range 200 {
		all = append(all, s.Dial("/chat"))
	}
	times := 12
	if os.Getenv("PUSHD_TEST_FULL") == "1" {
		times = 100
	}
	again := func() {
		if r := reload(t, s); !r.OK || r.Moved != len(all) || r.Drained != 0 {
			t.Fatalf("%+v", r)
		}
	}
	again()
	second := holds(t, s)
	sizes := []int64{second.RSS}
	for range times - 1 {
		again()
		sizes = append(sizes, holds(t, s).RSS)
	}
	// What a process holds for the moment of a question is gone a little later.
	var last footprint
	pushdtest.Eventually(t, "no process holds more than in the second generation", func() bool {
		last = holds(t, s)
		return atMost(last.Files, second.Files) && atMost(last.Goroutines, second.Goroutines)
	})
	t.Logf("after %d reloads: %v, was %v; RSS of the workers in KiB %v", times, last, second, inKiB(sizes))
	for _, c := range all {
		c.Close()
	}
	// What each generation leaves behind would be in all of the last ones; when
	// the collector runs is chance.
	first, end := slices.Max(sizes[:3]), slices.Min(sizes[len(sizes)-3:])
	if end > first+first/10 {
		t.Errorf("workers of the last generations have %d KiB, those of the first ones %d", end>>10, first>>10)
	}
}

// atMost reports whether no process has more than limit says.
func atMost(have, limit map[string]int) bool {
	for process, n := range have {
		if n > limit[process] {
			return false
		}
	}
	return true
}

func inKiB(bytes []int64) (list []int64) {
	for _, n := range bytes {
		list = append(list, n>>10)
	}
	return list
}

// TestReloadPromises is `make bench-reload` in small: every line of the table
// is measured. Those of time are only bounded here; the machine has other work.
func TestReloadPromises(t *testing.T) {
	bench := exec.Command(pushdtest.Build(t, "cmd/pushbench"), "reloads", "--json",
		"--pushd", pushdtest.Build(t, "cmd/pushd"), "-n", "4000", "--times", "2", "--row", "2")
	var said bytes.Buffer
	bench.Stderr = &said
	out, _ := bench.Output() // a missed reach is an error
	var table struct {
		Promises []struct {
			Name, Unit string
			Value      float64
			OK         bool
		}
	}
	if err := json.Unmarshal(out, &table); err != nil || len(table.Promises) != 15 {
		t.Fatalf("%v\n%s%s", err, said.String(), out)
	}
	for _, p := range table.Promises {
		switch {
		case p.Unit == "ms" && p.Value < 10_000, p.Unit == "/s" && p.Value > 100, p.Unit == "%" && p.Value < 25, p.OK:
		default:
			t.Errorf("%+v", p)
		}
	}
	t.Logf("%s%s", said.String(), out)
}
