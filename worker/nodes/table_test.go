package nodes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is so many milliseconds after the start.
func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func table(name string, epoch, token uint64) *Table {
	return New(Self{Name: name, Epoch: epoch, Token: token, Held: true, Speaks: []string{"a"}}, Times{}, start)
}

// states lists the other nodes of a table.
func states(t *Table, now time.Time) (s string) {
	for _, n := range t.Nodes(now) {
		if !n.Self {
			s += n.Name + "=" + string(n.State) + " "
		}
	}
	return s
}

func sign(t *Table, now time.Time) *Sign { s := t.Sign(false, now); return &s }

// sweepTo sweeps each Beat, from one time to another.
func sweepTo(t *Table, from, to int) {
	for ms := from; ms <= to; ms += int(Beat.Milliseconds()) {
		t.Sweep(at(ms))
	}
}

// TestAgrees: a node with other apps or channels is known by what it says, also after the
// broker process was replaced; one of a version that says less of itself is not taken for one.
func TestAgrees(t *testing.T) {
	of := func(apps, rules string) *Table {
		return New(Self{Name: "b", Epoch: 2, Token: 2, Held: true, Apps: apps, Rules: rules}, Times{}, start)
	}
	for _, c := range []struct {
		apps, rules string
		want        bool
	}{{"x", "y", true}, {"z", "y", false}, {"x", "z", false}, {"x", "", true}, {"z", "", false}, {"", "", true}} {
		a := New(Self{Name: "a", Epoch: 1, Token: 1, Held: true, Apps: "x", Rules: "y"}, Times{}, start)
		a.Hear(sign(of("x", "y"), at(0)), at(0))
		b := sign(of(c.apps, c.rules), at(500))
		b.N = 2
		if v := a.Hear(b, at(500)); (v == Old) != (c.apps == "x" && c.rules == "y") {
			t.Errorf("%+v: told of as %v", c, v)
		}
		next := New(Self{Name: "a", Epoch: 3, Token: 1, Held: true, Apps: "x", Rules: "y"}, Times{}, at(600))
		next.Restore(a.Known(), at(600))
		for _, of := range []*Table{a, next} {
			all := of.Nodes(at(600))
			if len(all) != 2 || all[1].Agrees(&all[0]) != c.want {
				t.Errorf("%+v: %+v", c, all)
			}
		}
	}
}

func TestSilenceMakesQuietLostForgotten(t *testing.T) {
	a, b := table("a", 1, 1), table("b", 2, 2)
	b.SetWorkers([]string{"b/push/0/1"})
	if v := a.Hear(sign(b, at(0)), at(0)); v != Met {
		t.Fatal(v)
	}
	if v := a.Hear(sign(b, at(500)), at(500)); v != Old {
		t.Fatal("nothing has changed:", v)
	}
	for _, c := range []struct {
		ms      int
		want    string
		workers int
	}{
		{2000, "b=ready ", 1}, {2500, "b=quiet ", 1}, {5500, "b=quiet ", 1}, {6000, "b=lost ", 0}, {600_500, "b=lost ", 0}, {601_000, "", 0},
	} {
		if early := states(a, at(c.ms)); c.ms == 2500 && early != c.want {
			t.Errorf("not swept, after %d ms: %q", c.ms, early)
		}
		sweepTo(a, int(a.swept.Sub(start).Milliseconds()), c.ms)
		if got := states(a, at(c.ms)); got != c.want || len(a.Workers()) != c.workers {
			t.Errorf("after %d ms: %q and %v, want %q", c.ms, got, a.Workers(), c.want)
		}
	}
}

func TestOneThatWasStoppedTakesNobodyForLost(t *testing.T) {
	a, b := table("a", 1, 1), table("b", 2, 2)
	a.Hear(sign(b, at(0)), at(0))
	a.Sweep(at(500))
	if changes := a.Sweep(at(60_000)); len(changes) != 0 {
		t.Errorf("after a minute of standing still: %v", changes)
	}
	sweepTo(a, 60_500, 66_500)
	if got := states(a, at(66_500)); got != "b=lost " {
		t.Errorf("silence after it counts: %q", got)
	}
}

func TestLeavingIsForgottenSoon(t *testing.T) {
	a, b := table("a", 1, 1), table("b", 2, 2)
	b.SetWorkers([]string{"b/push/0/1"})
	a.Hear(sign(b, at(0)), at(0))
	b.Leave()
	if a.Hear(sign(b, at(100)), at(100)) != News || states(a, at(100)) != "b=leaving " || len(a.Workers()) != 1 {
		t.Errorf("%q, its workers still answer: %v", states(a, at(100)), a.Workers())
	}
	b.SetWorkers(nil)
	last := sign(b, at(200))
	a.Hear(last, at(200))
	sweepTo(a, 500, 2000)
	if got := states(a, at(2000)); got != "" {
		t.Errorf("still known: %q", got)
	}
	if a.Hear(last, at(2100)); states(a, at(2100)) != "" {
		t.Error("a late copy of its last word brings it back")
	}
}

func TestASuccessorIsTheSameNode(t *testing.T) {
	a, old, next, stranger := table("a", 1, 1), table("b", 2, 7), table("b", 3, 7), table("b", 4, 8)
	a.Hear(sign(old, at(0)), at(0))
	late := sign(old, at(1))
	if v := a.Hear(sign(next, at(100)), at(100)); v != News || a.Nodes(at(0))[1].Epoch != 3 {
		t.Fatal("the successor is not heard at once:", v)
	}
	if a.Hear(late, at(110)); a.Nodes(at(0))[1].Epoch != 3 {
		t.Error("a late sign of the one before counts")
	}
	if old.Hear(sign(next, at(100)), at(100)) != Old || next.Hear(late, at(100)) != Old {
		t.Error("processes of one token quarrel")
	}
	if a.Hear(sign(stranger, at(1500)), at(1500)); a.Nodes(at(0))[1].Epoch != 3 {
		t.Error("a stranger has the name of a node that is there")
	}
	if a.Hear(sign(stranger, at(1700)), at(1700)); a.Nodes(at(0))[1].Epoch != 4 {
		t.Error("the name is not free after 1.5 s of silence")
	}
}

func TestOvertakenSignsDoNotCount(t *testing.T) {
	a, b := table("a", 1, 1), table("b", 2, 2)
	first := sign(b, at(0))
	b.SetWorkers([]string{"b/push/0/2"})
	a.Hear(sign(b, at(10)), at(10))
	if a.Hear(first, at(20)) != Old || len(a.Workers()) != 1 {
		t.Errorf("%v", a.Workers())
	}
}

// TestTwoOfOneName: whoever has the name keeps it, whatever the clocks say, and of
// two that want it, or have it after a cut, both agree who gives up.
func TestTwoOfOneName(t *testing.T) {
	age := func(epoch uint64, age time.Duration, held bool) *Table {
		return New(Self{Name: "x", Epoch: epoch, Token: epoch, Age: age, Held: held}, Times{}, start)
	}
	for _, c := range []struct {
		a, b   *Table
		loser  string
		reason string
	}{
		{age(1, time.Hour, false), age(2, 0, true), "a", "it does not have the name"},
		{age(1, 0, false), age(2, time.Hour, false), "a", "younger"},
		{age(1, 0, true), age(2, time.Hour, true), "a", "younger, after a cut"},
		{age(1, 100*time.Millisecond, true), age(2, 0, true), "b", "of the same age, and of the higher epoch"},
	} {
		a, b := c.a.Hear(sign(c.b, at(5)), at(15)), c.b.Hear(sign(c.a, at(5)), at(15))
		want := [2]Verdict{Taken, Rival}
		if c.loser == "b" {
			want = [2]Verdict{Rival, Taken}
		}
		if got := [2]Verdict{a, b}; got != want {
			t.Errorf("%s gives up, since it is %s: verdicts %v, want %v", c.loser, c.reason, got, want)
		}
	}
	newcomer, leaving := age(3, 0, false), age(4, time.Hour, true)
	leaving.Leave()
	if v := newcomer.Hear(sign(leaving, at(1000)), at(1000)); v != Old {
		t.Error("one that leaves is waited for:", v)
	}
	if left := newcomer.FreeIn(start, at(1200)); left != 1300*time.Millisecond {
		t.Error("until it is silent for 1.5 s:", left)
	}
}

func TestWhatStrangersSayIsRefused(t *testing.T) {
	a := table("a", 1, 1)
	long := make([]byte, MaxWord+1)
	for name, s := range map[string]*Sign{
		"no name":                   {Epoch: 2},
		"a name that is no name":    {Node: "b c", Epoch: 2},
		"a name that is too long":   {Node: strings.Repeat("b", longestName+1), Epoch: 2},
		"no epoch":                  {Node: "b"},
		"workers of others":         {Node: "b", Epoch: 2, Workers: []string{"c/push/0/1"}},
		"workers without a node":    {Node: "b", Epoch: 2, Workers: []string{"push/0/1"}},
		"too many workers":          {Node: "b", Epoch: 2, Workers: slices.Repeat([]string{"b/push/0/1"}, maxWorkers+1)},
		"a word that is too long":   {Node: "b", Epoch: 2, Words: map[string][]byte{"x": long}},
		"a version that is a novel": {Node: "b", Epoch: 2, Version: string(long)},
	} {
		if v := a.Hear(s, at(0)); v != Refused {
			t.Errorf("%s: %v", name, v)
		}
	}
	if a.Refused() != 9 || len(a.Nodes(at(0))) != 1 {
		t.Errorf("%d refused, table %v", a.Refused(), a.Nodes(at(0)))
	}
	for i := range MaxNodes + 10 {
		a.Hear(&Sign{Node: fmt.Sprintf("pod-%d", i), Epoch: 2, N: 1}, at(0))
	}
	if n := len(a.Nodes(at(0))); n != MaxNodes+1 {
		t.Errorf("%d nodes", n)
	}
	sweepTo(a, 500, 6000)
	if a.Hear(&Sign{Node: "new", Epoch: 2, N: 1}, at(6000)) != Met || len(a.Nodes(at(0))) != MaxNodes+1 {
		t.Error("a full table of lost nodes takes no living one")
	}
	if v := a.Hear(&Sign{Node: "new", Epoch: 2, N: 2, State: "dreaming"}, at(6000)); v != Old {
		t.Error("a state of a later version is that of one that is there:", v)
	}
}

func TestWordsAndWhatAllSpeak(t *testing.T) {
	a, b := table("a", 1, 1), table("b", 2, 2)
	b.SetWord("presence", []byte("3"))
	s := sign(b, at(0))
	b.SetWord("presence", []byte("4"))
	if a.Hear(s, at(0)); string(a.Nodes(at(0))[1].Words["presence"]) != "3" {
		t.Errorf("%v", a.Nodes(at(0)))
	}
	if a.Hear(sign(b, at(0)), at(1)) != News || string(a.Nodes(at(0))[1].Words["presence"]) != "4" {
		t.Error("a word that has changed is no news")
	}
	if !a.AllSpeak("a") || a.AllSpeak("b") {
		t.Error("both speak a, nobody b")
	}
	a.Hear(&Sign{Node: "old", Epoch: 3, N: 1}, at(2))
	if a.AllSpeak("a") {
		t.Error("the old one does not speak a")
	}
	sweepTo(a, 500, 6000)
	if !a.AllSpeak("a") {
		t.Error("one that is lost need not understand")
	}
}

func TestRTTIsThereAndBack(t *testing.T) {
	a, b, c := table("a", 1, 1), table("b", 2, 2), table("c", 3, 3)
	for ms := 0; ms < 5000; ms += 500 { // 4 ms to b, 7 back; c is 1 away
		s := sign(a, at(ms))
		b.Hear(s, at(ms+4))
		c.Hear(s, at(ms+1))
		of := sign(c, at(ms+100))
		a.Hear(of, at(ms+101))
		b.Hear(of, at(ms+101))
		a.Hear(sign(b, at(ms+250)), at(ms+257))
	}
	got := a.Nodes(at(5000))
	if got[1].RTT != 11*time.Millisecond || got[2].RTT != 2*time.Millisecond {
		t.Errorf("b %s, c %s", got[1].RTT, got[2].RTT)
	}
	a.Hear(&Sign{Node: "b", Epoch: 2, N: 99, Echo: &Echo{Node: "a", Epoch: 1, N: 1 << 60, HeldUS: 1}}, at(5100))
	if got := a.Nodes(at(5100)); got[1].RTT != 11*time.Millisecond {
		t.Errorf("an echo of what was never said: %s", got[1].RTT)
	}
	if got := a.Nodes(at(7000)); got[1].RTT != 0 || got[1].State != Quiet {
		t.Errorf("of one that is silent: %s, %s", got[1].RTT, got[1].State)
	}
}

// TestASuccessorKnowsWhoWasThere: their workers have to answer before they are
// heard, and they are lost like others if they are not.
func TestASuccessorKnowsWhoWasThere(t *testing.T) {
	a, b, c := table("a", 1, 1), table("b", 2, 2), table("c", 3, 3)
	b.SetWorkers([]string{"b/push/0/1"})
	b.SetWord("presence", []byte("7"))
	a.Hear(sign(b, at(0)), at(0))
	a.Hear(sign(c, at(0)), at(0))
	c.Leave()
	a.Hear(sign(c, at(1)), at(1))
	next := table("a", 9, 1)
	next.Restore(append(a.Known(), Sign{Node: "a", Epoch: 5}, Sign{Node: "b", Epoch: 5}, Sign{Node: "x y", Epoch: 5}), at(10))
	if got := states(next, at(10)); got != "b=quiet " || len(next.Workers()) != 1 {
		t.Errorf("%q, %v", got, next.Workers())
	}
	sweepTo(next, 500, 1500)
	if v := next.Hear(sign(b, at(1600)), at(1600)); v != News || states(next, at(1600)) != "b=ready " {
		t.Errorf("%v, %q", v, states(next, at(1600)))
	}
	silent := table("a", 10, 1)
	silent.Restore(a.Known(), at(0))
	sweepTo(silent, 500, 5500)
	if got := states(silent, at(5500)); got != "b=lost " || len(silent.Workers()) != 0 {
		t.Errorf("%q, %v", got, silent.Workers())
	}
}
