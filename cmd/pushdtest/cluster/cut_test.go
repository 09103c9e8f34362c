package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// until reads messages up to and including the last ones, in whatever order they
// come.
func (k *client) until(last ...string) (got []string) {
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
	c := Start(t, Options{Config: strings.Replace(config, `"2s"`, `"5s"`, 1), Nodes: 2, NATS: 2})
	n1 := c.Nodes[0]
	all := c.crowd(t, 1)
	n1.Link.Silence()
	begin := time.Now()
	refused, sent := 0, 0
	var whole []string
	await(t, "n1 has left the silent server", func() (reply, bool) {
		text := fmt.Sprint(sent)
		sent++
		status, r := n1.post("/v1/publish", object{"channel": "room", "data": text})
		switch {
		case status == 503:
			refused++
		case status != 200, r.Reached == 0, r.Complete && r.Reached != 2:
			t.Errorf("publish %s: %d %+v", text, status, r)
		case r.Complete:
			whole = append(whole, text)
		}
		return r, r.Complete
	})
	t.Logf("whole again after %s, %d of %d publishes were refused", time.Since(begin).Round(time.Millisecond), refused, sent)
	if refused == 0 {
		t.Error("no publish was refused")
	}
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

// TestRollingReloadsAndAStop: node after node is reloaded while both publish:
// nothing is lost, doubled or closed, and no node is thought to be away. One that
// stops says so, and is never taken for lost.
func TestRollingReloadsAndAStop(t *testing.T) {
	c := Start(t, Options{Config: config, Nodes: 2})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 2)
	rounds := 1
	if full() {
		rounds = 10
	}
	sent := map[*Node]int{}
	publish := func() {
		for _, n := range c.Nodes {
			text := fmt.Sprintf("%s %d", n.Name, sent[n])
			sent[n]++
			status, r := n.post("/v1/publish", object{"channel": "room", "data": text})
			if status != 200 || r.Complete && r.Reached != len(all) || r.Reached > len(all) {
				t.Errorf("%s: %d %+v", text, status, r)
			}
		}
	}
	for range rounds {
		for _, n := range c.Nodes {
			over := make(chan string)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
				defer cancel()
				out, err := n.Command(ctx, "reload").CombinedOutput()
				if err != nil {
					out = fmt.Appendf(out, "%v", err)
				} else {
					out = nil
				}
				over <- string(out)
			}()
			for wait := true; wait; {
				select {
				case out := <-over:
					if wait = false; out != "" {
						t.Fatalf("reload of %s: %s", n.Name, out)
					}
				default:
					publish()
				}
			}
		}
	}
	publish()
	for i, k := range all {
		got := k.until(fmt.Sprintf("n1 %d", sent[n1]-1), fmt.Sprintf("n2 %d", sent[n2]-1))
		next := map[string]int{}
		for _, text := range got {
			from, number, _ := strings.Cut(text, " ")
			if number != fmt.Sprint(next[from]) {
				t.Errorf("client %d: %q in the place of %d", i, text, next[from])
			}
			next[from]++
		}
	}
	t.Logf("%d and %d messages across the reloads", sent[n1], sent[n2])
	for _, n := range c.Nodes {
		if log := n.Log(); contains(log, "a node is lost") {
			t.Errorf("%s:\n%s", n.Name, log)
		}
	}

	n2.Stop()
	n1.wantNodes("n1 ready 2 2 this")
	if log := n1.Log(); contains(log, "a node is lost") || !contains(log, "a node has left") {
		t.Errorf("n2 was told to stop:\n%s", log)
	}
	await(t, "nobody waits for it", func() (reply, bool) { r := n1.publish(0); return r, r.Complete && r.Reached == 2 })
}
