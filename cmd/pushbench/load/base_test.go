package load

import (
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// A loop that was held up catches up, and each call still carries the time at
// which it was due.
func TestPaceKeepsTheTimetable(t *testing.T) {
	loop, err := client.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	b := &base{env: &Env{Loop: loop}, running: true}
	var dues []int64
	loop.Post(func() {
		b.pace(1000, func(due int64) {
			if dues = append(dues, due); len(dues) == 5 {
				for held := client.Now(); client.Now()-held < int64(30*time.Millisecond); {
				}
			}
			if len(dues) == 100 {
				b.running = false
				loop.Stop()
			}
		})
	})
	if err := loop.Run(); err != nil {
		t.Fatal(err)
	}
	for i := range dues {
		if want := dues[0] + int64(i)*int64(time.Millisecond); dues[i] != want {
			t.Fatalf("call %d was due %v after the first, want %v", i, time.Duration(dues[i]-dues[0]), time.Duration(want-dues[0]))
		}
	}
}

func TestMarkedLatencies(t *testing.T) {
	e := &Env{}
	e.observe("x", 0, 10)
	e.marks = []mark{{from: 100, to: 200}}
	for _, span := range [][2]int64{{10, 99}, {90, 110}, {150, 160}, {190, 300}, {201, 300}} {
		e.observe("x", span[0], span[1])
	}
	if all, marked := e.latency["x"].TotalCount(), e.latency["x"+Marked].TotalCount(); all != 6 || marked != 3 {
		t.Fatalf("%d latencies, %d of them marked", all, marked)
	}
}

func TestIDsDiffer(t *testing.T) {
	seen := map[uint32]bool{PublisherID(0): true, PublisherID(1): true}
	for agent := range uint32(3) {
		e := &Env{Agent: agent}
		for range 3 {
			id := e.newID()
			if seen[id] {
				t.Fatalf("id %d twice", id)
			}
			seen[id] = true
		}
	}
}

func TestOpenerKeepsToItsWindow(t *testing.T) {
	var o opener
	dialed, ready := 0, 0
	o.open(10, 3, func(int) { dialed++ }, func() { ready++ })
	for settled := 1; settled <= 10; settled++ {
		if want := min(settled+2, 10); dialed != want || ready != 0 {
			t.Fatalf("%d dialed, want %d; ready %d", dialed, want, ready)
		}
		o.done()
	}
	o.done() // of a connection that came later
	if dialed != 10 || ready != 1 {
		t.Fatalf("%d dialed, ready %d times", dialed, ready)
	}
}
