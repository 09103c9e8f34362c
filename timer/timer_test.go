package timer

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"
)

const (
	ms  = time.Millisecond
	day = 24 * time.Hour
)

func TestTimerSize(t *testing.T) {
	if size := unsafe.Sizeof(Timer{}); size > 48 {
		t.Errorf("a Timer takes %d bytes; 48 is the size class it must stay in", size)
	}
}

func TestNeverEarly(t *testing.T) {
	w := New(300 * time.Microsecond)
	var ran trace
	w.After(time.Nanosecond, ran.add("a"))          // 0.300001 ms
	w.After(700*time.Microsecond, ran.add("b"))     // 1 ms
	w.After(700*time.Microsecond+1, ran.add("c"))   // 1.000001 ms
	w.After(1700*time.Microsecond, ran.add("d"))    // 2 ms
	w.After(math.MaxInt64, ran.add("end of times")) // must not wrap around
	w.Schedule(new(Timer), math.MaxInt64, 0, ran.add("the same"))
	w.Advance(ms - 1)
	ran.expect(t)
	w.Advance(ms)
	ran.expect(t, "a", "b")
	w.Advance(2*ms - 1)
	ran.expect(t)
	w.Advance(2 * ms)
	ran.expect(t, "c", "d")
	expectNext(t, w, latest)
	w.Advance(latest - 1)
	ran.expect(t)
	w.Advance(math.MaxInt64)
	ran.expect(t, "end of times", "the same")
	expectEmpty(t, w)
}

// Each level's slot boundary, from one side, on it, and from the other; added
// in no order, run in order, each at its own millisecond.
func TestLevelBoundaries(t *testing.T) {
	var deadlines []time.Duration
	for shift := 0; shift <= 42; shift += slotBits {
		edge := time.Duration(1) << shift * ms
		for _, n := range []time.Duration{1, 2, 63} {
			if edge < latest/n {
				deadlines = append(deadlines, n*edge-ms/2, n*edge, n*edge+ms)
			}
		}
	}
	for _, start := range []time.Duration{0, 63 * ms, 64 * ms, 4095 * ms, 3 * day, 1000 * day} {
		w := New(start)
		var ran []time.Duration
		for i := range deadlines {
			d := deadlines[(i*17)%len(deadlines)]
			if d > latest-start {
				continue
			}
			for range scanLimit { // enough to open each slot on the way
				w.After(d, func() { ran = append(ran, (d+ms-1)/ms*ms) })
			}
		}
		verify(t, w)
		for w.Len() > 0 {
			at, _ := w.Next()
			w.Advance(at - 1)
			before := len(ran)
			w.Advance(at)
			if len(ran) == before || ran[before] != at-start || ran[len(ran)-1] != at-start {
				t.Fatalf("from %v: at %v ran %v", start, at, ran[before:])
			}
			verify(t, w)
		}
		if !slices.IsSorted(ran) {
			t.Errorf("from %v: ran out of order: %v", start, ran)
		}
	}
}

func TestTiesRunInOrderOfAddingAcrossLevels(t *testing.T) {
	w := New(0)
	var ran trace
	var want []string
	for i := range 3 * scanLimit {
		name := fmt.Sprint(i)
		want = append(want, name)
		w.Schedule(new(Timer), day-time.Duration(i), 0, ran.add(name)) // one millisecond, later ones asked for earlier
		w.Next()                                                       // opens the slot in between
		w.Advance(time.Duration(i) * time.Minute)
	}
	w.Advance(day)
	ran.expect(t, want...)
}

func TestLateAdvanceRunsInOrder(t *testing.T) {
	w := New(0)
	var ran trace
	for _, d := range []time.Duration{day, 5 * ms, 70 * ms, 65 * ms, time.Hour, 6 * ms, 64 * ms} {
		w.After(d, ran.add(d.String()))
	}
	w.Advance(400 * day)
	ran.expect(t, "5ms", "6ms", "64ms", "65ms", "70ms", "1h0m0s", "24h0m0s")
	expectEmpty(t, w)
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := New(time.Hour)
	var ran trace
	w.Advance(0)
	w.After(ms, ran.add("a"))
	expectNext(t, w, time.Hour+ms)
	w.Advance(time.Minute)
	ran.expect(t)
}

func TestEverySkipsWhatItMissed(t *testing.T) {
	w := New(0)
	var ran trace
	tick := w.Every(10*ms, ran.add("tick"))
	w.Advance(10 * ms)
	ran.expect(t, "tick")
	w.Advance(47 * ms) // 20, 30, 40 were missed: once
	ran.expect(t, "tick")
	expectNext(t, w, 50*ms)
	w.Advance(50 * ms)
	ran.expect(t, "tick")
	w.Advance(100 * day)
	ran.expect(t, "tick")
	expectNext(t, w, 100*day+10*ms)
	if !w.Stop(tick) || w.Stop(tick) {
		t.Error("Stop of a periodic entry: want true, then false")
	}
	expectEmpty(t, w)
}

// A period that is no whole number of milliseconds must not drift.
func TestEveryKeepsPhaseBelowResolution(t *testing.T) {
	w := New(0)
	runs := 0
	w.Every(1500*time.Microsecond, func() { runs++ })
	for now := time.Duration(0); now <= 3*time.Second; now += ms {
		w.Advance(now)
	}
	if runs != 2000 {
		t.Errorf("ran %d times in 3 s, want 2000", runs)
	}
}

func TestScheduleInThePastKeepsPhase(t *testing.T) {
	w := New(100 * ms)
	var ran trace
	var e Timer
	w.Schedule(&e, -5*ms, 20*ms, ran.add("tick"))
	expectNext(t, w, 100*ms)
	w.Advance(100 * ms)
	ran.expect(t, "tick")
	expectNext(t, w, 115*ms)
}

func TestScheduleMovesAPendingTimer(t *testing.T) {
	w := New(0)
	var ran trace
	var e Timer
	if e.Pending() || w.Stop(&e) || w.Stop(nil) {
		t.Error("the zero Timer and nil must not be pending")
	}
	w.Schedule(&e, time.Hour, 0, ran.add("old"))
	w.Schedule(&e, 5*ms, 0, ran.add("new"))
	expectNext(t, w, 5*ms)
	w.Advance(2 * time.Hour)
	ran.expect(t, "new")
	if e.Pending() {
		t.Error("pending after it ran")
	}
	w.Schedule(&e, 3*time.Hour, 0, ran.add("again"))
	w.Advance(3 * time.Hour)
	ran.expect(t, "again")
}

func TestStopInsideCallbacks(t *testing.T) {
	w := New(0)
	var ran trace
	var own, tie, later, first *Timer
	first = w.After(ms, func() {
		ran.add("first")()
		if w.Stop(first) {
			t.Error("an entry that is running once must not be pending")
		}
		if !w.Stop(tie) || !w.Stop(later) {
			t.Error("entries due in the same Advance must be pending")
		}
	})
	tie = w.After(ms, ran.add("tie"))
	later = w.After(500*ms, ran.add("later"))
	own = w.Every(2*ms, func() {
		ran.add("own")()
		if !w.Stop(own) {
			t.Error("a periodic entry must be pending inside its callback")
		}
	})
	w.Advance(time.Second)
	ran.expect(t, "first", "own")
	expectEmpty(t, w)
}

func TestStopOfEntriesDueAtOnce(t *testing.T) {
	w := New(0)
	var ran trace
	w.After(-day, ran.add("a"))
	b := w.After(0, ran.add("b"))
	var c *Timer
	w.After(0, func() { w.Stop(c) })
	c = w.After(0, ran.add("c"))
	w.Stop(b)
	w.Advance(0)
	ran.expect(t, "a")
	expectEmpty(t, w)
}

func TestAddInsideCallbackWaitsForNextAdvance(t *testing.T) {
	w := New(0)
	runs := 0
	var again func()
	again = func() { runs++; w.After(0, again) }
	w.After(0, again)
	for want := 1; want <= 3; want++ {
		w.Advance(time.Duration(want/2) * ms) // the same time twice, too
		if runs != want {
			t.Fatalf("after %d Advances it ran %d times", want, runs)
		}
		expectNext(t, w, time.Duration(want/2)*ms)
	}
}

func TestDelayInsideCallbackCountsFromAdvance(t *testing.T) {
	w := New(0)
	var ran trace
	w.After(10*ms, func() { w.After(10*ms, ran.add("inner")) })
	w.Advance(time.Second)
	ran.expect(t)
	expectNext(t, w, 1010*ms)
}

func TestNextIsExactAfterStops(t *testing.T) {
	w := New(0)
	entries := make([]*Timer, 5000)
	for i := range entries {
		entries[i] = w.After(time.Hour+time.Duration(i)*ms, func() {})
	}
	for i, e := range entries {
		expectNextFast(t, w, time.Hour+time.Duration(i)*ms)
		near := w.After(time.Second, func() {}) // comes and goes in front
		expectNextFast(t, w, time.Second)
		w.Stop(near)
		expectNextFast(t, w, time.Hour+time.Duration(i)*ms)
		w.Stop(e)
	}
	expectEmpty(t, w)
}

func TestPanicWithHook(t *testing.T) {
	w := New(0)
	var ran trace
	w.Panic = func(r any) { ran.add(fmt.Sprint("caught ", r))() }
	w.After(ms, func() { panic("a") })
	w.Every(2*ms, func() { panic("b") })
	w.After(3*ms, ran.add("c"))
	w.Advance(3 * ms)
	ran.expect(t, "caught a", "caught b", "c")
	expectNext(t, w, 4*ms)
}

// Without a hook the panic passes; the next Advance continues in order, before
// what was added meanwhile.
func TestPanicWithoutHook(t *testing.T) {
	w := New(0)
	var ran trace
	w.After(0, ran.add("first"))
	w.After(5*ms, func() { w.After(0, ran.add("added")); panic("a") })
	w.After(70*ms, ran.add("left over"))
	w.After(200*ms, ran.add("new"))
	func() {
		defer func() {
			if r := recover(); r != "a" {
				t.Errorf("recovered %v, want the callback's panic", r)
			}
		}()
		w.Advance(100 * ms)
	}()
	ran.expect(t, "first")
	expectNext(t, w, 100*ms)
	w.Advance(200 * ms)
	ran.expect(t, "left over", "added", "new")
	expectEmpty(t, w)
}

func TestMisusePanics(t *testing.T) {
	w := New(0)
	for name, misuse := range map[string]func(){
		"negative time":       func() { New(-1) },
		"no callback":         func() { w.After(ms, nil) },
		"Every 0":             func() { w.Every(0, func() {}) },
		"Advance in callback": func() { w.After(0, func() { w.Advance(ms) }); w.Advance(0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
	expectEmpty(t, w)
}

func TestCallbackIsReleased(t *testing.T) {
	w := New(0)
	ran, stopped := w.After(0, func() {}), w.After(ms, func() {})
	w.Advance(0)
	w.Stop(stopped)
	if ran.fn != nil || stopped.fn != nil {
		t.Error("an entry that cannot run again keeps its callback alive")
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	w := New(0)
	now := time.Duration(0)
	nothing := func() {}
	for i := range 200 {
		w.Every(time.Duration(i+1)*ms, nothing)
	}
	deadlines := make([]Timer, 2000)
	reset := func(i int) { w.Schedule(&deadlines[i], now+10*time.Second, 0, nothing) }
	for i := range deadlines {
		reset(i)
	}
	step := func() {
		now += ms
		w.Advance(now)
		i := int(now/ms) % len(deadlines)
		w.Stop(&deadlines[i])
		w.Next()
		reset(i)
	}
	minute := func() {
		for range time.Minute / ms { // through slots of three levels
			step()
		}
	}
	if n := testing.AllocsPerRun(1, minute); n != 0 { // it calls minute once before it counts
		t.Errorf("%v allocations in a minute of 1 ms steps", n)
	}
	verify(t, w)
}
