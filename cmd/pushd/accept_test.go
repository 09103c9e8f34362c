package main_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const evenConfig = `
watchdog = "10m"
[[worker]]
listen = "text://127.0.0.1:{{port}}"
count = 6
handler = "echo"
`

// comers open connections all at once, and wait until each has had an answer: then
// some process has accepted it, however many stand still.
func comers(t *testing.T, s *pushdtest.Server, n int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(pushdtest.Timeout))
		if _, err := c.Write([]byte("hi\n")); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 3)
	for _, c := range conns {
		if _, err := c.Read(answer); err != nil || string(answer) != "hi\n" {
			t.Fatalf("answer %q, %v", answer, err)
		}
	}
	return conns
}

// spread waits until the workers count n clients, and returns how many each has.
func spread(t *testing.T, s *pushdtest.Server, n int) (has []int) {
	t.Helper()
	pushdtest.Eventually(t, fmt.Sprintf("%d clients are counted", n), func() bool {
		has = has[:0]
		total := 0
		for _, w := range s.Status().Workers {
			has = append(has, w.Connections)
			total += w.Connections
		}
		return total == n
	})
	return has
}

// TestAcceptingIsEven: clients are spread over the workers by what these have
// already, whoever the kernel wakes; also after a worker was killed, and after a
// reload has made others, more of them.
func TestAcceptingIsEven(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: evenConfig})
	total := 900
	comers(t, s, total)
	has := spread(t, s, total)
	if slices.Max(has) > 165 || slices.Min(has) < 120 { // of 150
		t.Errorf("each has %v", has)
	}

	victim := s.Status().Workers[2]
	s.Kill(victim.PID)
	pushdtest.Eventually(t, "another one is there", func() bool {
		w := s.Status().Workers[2]
		return w.PID != victim.PID && w.State == "ready"
	})
	total += 120 - has[2]
	comers(t, s, 120)
	if has = spread(t, s, total); has[2] < 60 { // the others had 150
		t.Errorf("each has %v, number 2 had none", has)
	}

	s.WriteConfig(strings.Replace(evenConfig, "count = 6", "count = 9", 1))
	s.MustRun("reload")
	total += 240
	comers(t, s, 240)
	has = spread(t, s, total)
	if len(has) != 9 || min(has[6], has[7], has[8]) < 40 { // the others had about 150
		t.Errorf("each has %v, three had none", has)
	}
}

// TestAcceptingWithoutTheStuck: workers that stand still keep nobody from being
// accepted, and get their share again when they go on.
func TestAcceptingWithoutTheStuck(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: evenConfig})
	stuck := s.Status().Workers[:3]
	for _, w := range stuck {
		pushdtest.Freeze(t, w.PID)
	}
	comers(t, s, 300) // which the others accept, though they are far ahead
	for _, w := range stuck {
		if err := syscall.Kill(w.PID, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	has := spread(t, s, 300)
	if rest := has[3:]; slices.Max(rest) > 130 || slices.Min(rest) < 70 {
		t.Errorf("each has %v", has)
	}
	comers(t, s, 200)
	if has = spread(t, s, 500); slices.Min(has[:3]) < 40 {
		t.Errorf("each has %v after the first three went on", has)
	}
}
