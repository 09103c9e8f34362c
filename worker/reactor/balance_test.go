package reactor

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// crowd makes the views that n processes have of one table.
func crowd(n int) (all []*Balance) {
	lines := make([]line, 1024)
	for i := range n {
		b := newBalance(lines, i, uint32(1000+i))
		b.join(0)
		all = append(all, b)
	}
	return all
}

// storm lets clients be accepted by processes of which the kernel likes the first
// by far the best. What one accept takes is a tick.
func storm(all []*Balance, has []int, until []int, clients int) {
	const ticks = 20 // of a millisecond
	rnd := rand.New(rand.NewPCG(1, uint64(len(all))))
	for tick := 1; clients > 0; tick++ {
		i := int(float64(len(all)) * rnd.Float64() * rnd.Float64() * rnd.Float64())
		for n := 0; until[i] > tick && n < len(all); n++ { // the next one that does not sleep
			i = (i + 1) % len(all)
		}
		b, rests := all[i], false
		switch {
		case until[i] > tick: // all of them do
			continue
		case until[i] != 0 && b.rested(has[i]):
			rests = true
		default:
			has[i]++
			clients--
			rests = b.accepted(has[i])
		}
		if until[i] = 0; rests {
			until[i] = tick + int(b.restTime()/time.Millisecond)*ticks
		}
	}
}

// TestBalanceSpreads: nobody gets much more than the others while all accept.
func TestBalanceSpreads(t *testing.T) {
	for _, workers := range []int{2, 24, 53} {
		all, has := crowd(workers), make([]int, workers)
		for _, mean := range []int{50, 1000} {
			storm(all, has, make([]int, workers), workers*mean-sum(has))
			bound := max(mean/10, leastLead)
			if high, low := slices.Max(has), slices.Min(has); high > mean+bound || low < mean-2*bound {
				t.Errorf("%d workers, %d clients each: one has %d, one %d", workers, mean, high, low)
			}
		}
	}
}

func sum(list []int) (n int) {
	for _, i := range list {
		n += i
	}
	return n
}

// TestBalanceWithoutTheStuck: nobody rests for long for one that accepts nobody,
// and again once it does.
func TestBalanceWithoutTheStuck(t *testing.T) {
	all := crowd(3)
	quick, stuck, third := all[0], all[1], all[2]
	third.leave() // does not accept: nobody waits for it
	for n := range leastLead {
		if ahead := quick.accepted(n + 1); ahead != (n+1 == leastLead) {
			t.Errorf("with %d clients ahead: %v", n+1, ahead)
		}
	}
	rests := 0
	for quick.rested(leastLead) {
		rests++
	}
	if rests != restsInVain-1 {
		t.Errorf("rested %d times for one that is stuck", rests)
	}
	for n := range 100 {
		if quick.accepted(leastLead + n + 1) {
			t.Fatal("rests for one that is stuck")
		}
	}
	stuck.accepted(1)
	if !quick.accepted(leastLead + 120) {
		t.Error("does not rest for one that accepts again")
	}
	stuck.leave()
	if quick.rested(leastLead + 120) {
		t.Error("rests for one that has left")
	}
}

// TestBalanceWithTheSlow: one that takes long for each client holds those up no
// longer than it takes by itself: others rest once for each.
func TestBalanceWithTheSlow(t *testing.T) {
	all := crowd(2)
	quick, slow := all[0], all[1]
	n, rests := 1000, 0
	for has := range 50 {
		slow.accepted(has + 1)
		for range 20 { // come meanwhile
			n++
			if !quick.accepted(n) {
				continue
			}
			for rests++; quick.rested(n); {
				rests++
			}
		}
	}
	if rests < 50 || rests > restsInVain+2*50 {
		t.Errorf("rested %d times for 50 clients of a slow one", rests)
	}
}

// TestBalanceSuccessor: who leaves the place to another process does not write into
// its line any more, and gets it back when that one is gone.
func TestBalanceSuccessor(t *testing.T) {
	old := crowd(2)[0]
	old.note(500)
	next := newBalance(old.lines, 0, 77)
	next.join(3)
	old.note(499)
	old.leave()
	l := &old.lines[1]
	if l.owner.Load() != 77 || l.sockets.Load() != 3 {
		t.Errorf("the line is of %d, with %d sockets", l.owner.Load(), l.sockets.Load())
	}
	old.join(400)
	if next.note(4); l.owner.Load() != old.pid || l.sockets.Load() != 400 {
		t.Errorf("the line is of %d, with %d sockets", l.owner.Load(), l.sockets.Load())
	}
	if used := old.lines[0].sockets.Load(); used != 2 {
		t.Errorf("%d lines are in use", used)
	}
	var none *Balance
	none.join(1)
	none.note(1)
	none.leave()
	if none.accepted(1000) || none.rested(1000) {
		t.Error("one without a table rests")
	}
}
