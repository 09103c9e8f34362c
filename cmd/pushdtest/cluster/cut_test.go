package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// until reads messages up to and including the last ones, in whatever order they
// come.
func (k *client) until(last ...string) (got []string) {
	last = slices.Clone(last)
	for len(last) > 0 {
		_, payload := k.Read()
		text := string(payload)
		got = append(got, text)
		last = slices.DeleteFunc(last, func(s string) bool { return s == text })
	}
	return got
}

// TestASilentServerIsLeft: NATS takes bytes and answers nothing, as behind a cable
// that is out. A publish is refused rather than said to have reached nobody, the
// node moves to the next server, and nobody is told what is not so.
func TestASilentServerIsLeft(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: patient, Nodes: 2, NATS: 2})
	n1 := c.Nodes[0]
	all := c.crowd(t, 1)
	n1.Link.Silence()
	begin := time.Now()
	refused, sent := 0, 0
	var whole []string
	await(t, "n1 has left the silent server", func() (reply, bool) {
		text := fmt.Sprint(sent)
		sent++
		early := time.Since(begin) < time.Second // it is not left yet
		status, r := n1.post("/v1/publish", object{"channel": "room", "data": text})
		switch {
		case status == 503:
			refused++
		case status != 200, refused == 0 && early, r.Complete && r.Reached != 2: // the first one went into the silence
			t.Errorf("publish %s: %d %+v", text, status, r)
		case r.Complete:
			whole = append(whole, text)
		}
		return r, r.Complete
	})
	t.Logf("whole again after %s, %d of %d publishes were refused", time.Since(begin).Round(time.Millisecond), refused, sent)
	n1.Link.Heal()
	last := fmt.Sprint(sent)
	await(t, "whole afterwards", func() (reply, bool) {
		status, r := n1.post("/v1/publish", object{"channel": "room", "data": last})
		return r, status == 200 && r.Complete && r.Reached == 2
	})
	for i, k := range all { // what was refused may have come late, but in order
		got := slices.DeleteFunc(k.until(last), func(s string) bool { return s == last })
		if !slices.IsSortedFunc(got, byNumber) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("client %d got %v", i, got)
		}
		for _, w := range whole {
			if !slices.Contains(got, w) {
				t.Errorf("client %d has not got %s, which was said to be complete: %v", i, w, got)
			}
		}
	}
}

func byNumber(a, b string) int {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x - y
}

// sender publishes numbers and knows which have to arrive.
type sender struct {
	node  *Node
	last  int
	taken []string // which were said to have reached all
	loose bool     // fewer may be said to be all
}

func (s *sender) publish(t *testing.T, members int) {
	s.last++
	text := fmt.Sprintf("%s %d", s.node.Name, s.last)
	status, r := s.node.post("/v1/publish", object{"channel": "room", "data": text})
	switch {
	case status == 200 && r.Reached == members && r.Complete:
		s.taken = append(s.taken, text)
	case status != 503 && (status != 200 || r.Reached > members || r.Complete && !s.loose):
		t.Errorf("%s: %d %+v", text, status, r)
	}
}

// check looks at what a client has got of a sender: in order, none twice, and all
// that was said to have reached it.
func (s *sender) check(t *testing.T, who int, got []string) {
	last := 0
	for _, text := range got {
		from, number, _ := strings.Cut(text, " ")
		n, _ := strconv.Atoi(number)
		if from != s.node.Name {
			continue
		}
		if n <= last {
			t.Errorf("client %d: %q after %d", who, text, last)
		}
		last = n
	}
	for _, text := range s.taken {
		if !slices.Contains(got, text) {
			t.Errorf("client %d has not got %q", who, text)
		}
	}
}

// whole publishes by all until one of each is known to have reached everybody.
func whole(t *testing.T, all []*sender, members int) (last []string) {
	for _, s := range all {
		await(t, "whole: "+s.node.Name, func() (reply, bool) {
			s.last++
			text := fmt.Sprintf("%s %d", s.node.Name, s.last)
			status, r := s.node.post("/v1/publish", object{"channel": "room", "data": text})
			is := status == 200 && r.Complete && r.Reached == members
			if is {
				s.taken = append(s.taken, text)
			}
			return r, is
		})
		last = append(last, s.taken[len(s.taken)-1])
	}
	return last
}

// TestRollingReloadsAndAStop: node after node is reloaded, its broker process too, while
// both publish: nothing is lost, doubled or closed, and no node is thought to be away. One that
// stops says so, and is never taken for lost.
func TestRollingReloadsAndAStop(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: patient, Nodes: 2})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 2)
	rounds := 1
	if full() {
		rounds = 10
	}
	senders := []*sender{{node: n1}, {node: n2}}
	for round := range rounds {
		for _, n := range c.Nodes {
			n.WriteConfig(strings.Replace(patient, `"100ms"`, fmt.Sprintf(`"1%02dms"`, round+1), 1)) // each process has it
			broker := n.Status().Broker.PID
			over := n.start("reload")
			var reloading atomic.Bool
			reloading.Store(true)
			var publishing sync.WaitGroup
			for _, s := range senders { // neither waits for the other's node
				publishing.Go(func() {
					for reloading.Load() {
						s.publish(t, len(all))
					}
				})
			}
			failed := <-over
			reloading.Store(false)
			if publishing.Wait(); failed != "" {
				t.Fatalf("reload of %s: %s", n.Name, failed)
			}
			if n.Status().Broker.PID == broker {
				t.Errorf("the broker process of %s was not replaced", n.Name)
			}
		}
	}
	last := whole(t, senders, len(all))
	for i, k := range all {
		got := k.until(last...)
		for _, s := range senders {
			s.check(t, i, got)
		}
	}
	t.Logf("%d and %d of %d and %d messages were taken across the reloads", len(senders[0].taken), len(senders[1].taken), senders[0].last, senders[1].last)

	n2.MustRun("stop", "--to-others")
	for _, k := range all[2:] {
		k.WantClose(1012)
	}
	n1.wantNodes("n1 ready 2 2 this")
	if log := n1.Log(); contains(log, "a node is lost") || !contains(log, "a node has left") {
		t.Errorf("n2 was told to stop:\n%s", log)
	}
	whole(t, senders[:1], 2)
}

// TestAPublishDuringAHandOver: a batch of connections is held up between two processes
// of one node while another node publishes.
func TestAPublishDuringAHandOver(t *testing.T) {
	if !full() {
		t.Skip("TestEachConnectionCountsOnce of package worker has it step by step; PUSHD_TEST_FULL=1 runs this")
	}
	t.Parallel()
	c := Start(t, Options{Config: patient, Nodes: 2, Flags: []string{"-tags", "faults"}, Env: []string{"PUSHD_TEST_FAULT=fault"}})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 2)
	order := filepath.Join(n2.Dir, "fault")
	if err := os.WriteFile(order, fmt.Appendf(nil, "export batch\n1\n%d\n0\n", syscall.SIGSTOP), 0o600); err != nil {
		t.Fatal(err)
	}
	over := n2.start("reload")
	pushdtest.Eventually(t, "the old process stands still", func() bool { _, err := os.Stat(order); return err != nil })
	time.AfterFunc(120*time.Millisecond, n2.Thaw) // longer than the new one waits, shorter than the publisher does
	status, r := n1.post("/v1/publish", object{"channel": "room", "data": "x"})
	if status == 200 && r.Complete && r.Reached != len(all) {
		t.Errorf("%+v of %d", r, len(all))
	}
	if failed := <-over; failed != "" {
		t.Fatal(failed)
	}
	for _, k := range all {
		k.WantText("x")
	}
}

// start runs a command in the background; what comes is why it has failed, "" = it
// has not.
func (n *Node) start(command string) <-chan string {
	over := make(chan string, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
		defer cancel()
		out, err := n.Command(ctx, command).CombinedOutput()
		if err == nil {
			out = nil
		} else {
			out = fmt.Appendf(out, "%v", err)
		}
		over <- string(out)
	}()
	return over
}

// TestAllServersAway: no client is closed, publishes are refused, no node takes the
// other for lost, and afterwards all is whole.
func TestAllServersAway(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: config, Nodes: 2})
	all := c.crowd(t, 1)
	senders := []*sender{{node: c.Nodes[0]}, {node: c.Nodes[1]}}
	whole(t, senders, 2)
	c.NATS[0].Kill()
	for _, s := range senders {
		await(t, "publishes are refused", func() (reply, bool) {
			status, r := s.node.post("/v1/publish", object{"channel": "room", "data": "refused"})
			return r, status == 503
		})
	}
	var own reply
	if err := json.Unmarshal([]byte(c.Nodes[0].MustRun("connections", "--json")), &own); err != nil || own.Complete || len(own.Connections) != 1 {
		t.Errorf("without a bus a node lists its own: %+v, %v", own, err)
	}
	begin := time.Now()
	pushdtest.Eventually(t, "longer than lost", func() bool { return time.Since(begin) > 3*time.Second })
	c.NATS[0].Start()
	last := whole(t, senders, 2)
	for i, k := range all {
		got := k.until(last...)
		for _, s := range senders {
			s.check(t, i, got)
		}
	}
}
