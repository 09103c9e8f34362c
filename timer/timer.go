// Package timer is the hierarchical timing wheel of one event loop.
//
// A loop owns one [Wheel] and is the only goroutine that touches it: there are
// no locks, no goroutines and no runtime timer behind an entry, and no clock.
// The loop says what time it is with [Wheel.Advance], which runs what is due,
// asks [Wheel.Next] when to come back, and arms one runtime timer for that:
//
//	wheel.Advance(now())
//	if at, ok := wheel.Next(); ok {
//		alarm.Reset(at - now())
//	}
//
// Times are durations since an origin that the caller chose, on a monotonic
// clock. The resolution is 1 ms: a deadline is rounded up to the next whole
// millisecond, so an entry never runs early, and entries of the same
// millisecond run in the order in which they were added.
package timer

import (
	"math"
	"time"
)

const (
	resolution = time.Millisecond

	// latest is the last deadline that the clock can express, 292 years after
	// its origin. Later ones count as this one.
	latest = math.MaxInt64 / resolution * resolution
)

// A Timer is one entry of a wheel: 48 bytes, plus what its callback captures.
//
// The zero value is ready for [Wheel.Schedule] and may be a field of its owner.
// A Timer belongs to one wheel at a time and must not be copied while pending.
type Timer struct {
	next, prev *Timer
	list       *list         // the list it is in; nil: not pending
	fn         func()        // nil once it can no longer run
	at         time.Duration // deadline as asked for, not rounded, so that a period keeps its phase
	period     time.Duration // 0: runs once
}

// Pending reports whether t is going to run.
func (t *Timer) Pending() bool { return t.list != nil }

// tick is the millisecond in which t runs. Only a deadline that was in the
// future when t was added has one, so it is at least 1.
func (t *Timer) tick() uint64 { return uint64(t.at-1)/uint64(resolution) + 1 }

// A Wheel holds timers and runs them when it is told that their time has come.
// Make one with [New].
//
// Costs, in the number n of pending entries: adding and stopping are O(1);
// running is amortised O(1), since an entry moves at most once per level (8)
// in its life. Next is O(1) while the earliest entry stays the same, and
// otherwise amortised O(1) too: it divides the earliest slot, which one call
// pays with time in proportion to the entries in that slot. Besides its entries
// a wheel takes about 1 KiB per level in use.
type Wheel struct {
	// Panic receives what a callback panicked with, on the panicking stack, so
	// that debug.Stack shows the culprit; the rest of the due entries then run.
	// Nil (the default) lets the panic pass through Advance: the wheel stays
	// usable and the next Advance runs the rest.
	Panic func(recovered any)

	now       time.Duration // the latest that Advance was told
	advancing bool
	pending   int

	root  *block
	first *Timer   // the earliest entry below root; nil: not known
	spare []*block // empty blocks kept for reuse

	due     list // added when their deadline had passed: for the next Advance
	running list // those of the Advance in progress
}

// New returns an empty wheel whose time is now, which must not be negative.
func New(now time.Duration) *Wheel {
	if now < 0 {
		panic("timer: New with a negative time: count from an origin in the past")
	}
	return &Wheel{now: now, root: new(block), spare: make([]*block, 0, maxSpare)}
}

// After runs fn once, d after the time of the last Advance. With d <= 0 it runs
// in the next Advance. A caller whose Advance may be long ago, or whose
// callbacks are slow, says the deadline itself with [Wheel.Schedule].
func (w *Wheel) After(d time.Duration, fn func()) *Timer {
	t := new(Timer)
	w.Schedule(t, later(w.now, d), 0, fn)
	return t
}

// Every runs fn every d, first d after the time of the last Advance. When
// Advance comes late fn runs once, the periods that were missed are skipped,
// and the next run is on the original phase. It panics unless d > 0.
func (w *Wheel) Every(d time.Duration, fn func()) *Timer {
	if d <= 0 {
		panic("timer: Every needs a period above 0")
	}
	t := new(Timer)
	w.Schedule(t, later(w.now, d), d, fn)
	return t
}

// Schedule arms t, which the caller owns, to run fn at the time at and, if
// period is above 0, every period after that, as [Wheel.Every] does. A time
// that has passed means the next Advance, and a period keeps the phase of at
// all the same. A pending t is moved. It does not allocate. It panics if fn is
// nil.
func (w *Wheel) Schedule(t *Timer, at, period time.Duration, fn func()) {
	if fn == nil {
		panic("timer: Schedule with a nil callback")
	}
	if t.Pending() {
		w.remove(t)
	}
	t.at, t.period, t.fn = min(at, latest), max(period, 0), fn
	w.add(t)
}

// Stop takes t out and reports whether it was pending. It may be called inside
// any callback: its own, where it ends an Every, or one that runs before t in
// the same Advance. A nil t is not pending.
func (w *Wheel) Stop(t *Timer) bool {
	if t == nil || !t.Pending() {
		return false
	}
	w.remove(t)
	t.fn = nil
	return true
}

// Advance moves the wheel's time to now and runs each entry that is due, once,
// in order of deadline. What a callback adds waits for a later Advance, even if
// it is due at once. A now before the wheel's time counts as the wheel's time.
// Calling Advance inside a callback panics.
func (w *Wheel) Advance(now time.Duration) {
	if w.advancing {
		panic("timer: Advance called inside a callback")
	}
	w.advancing = true
	defer func() { w.advancing = false }()

	before := w.now
	w.now = max(before, now)
	for t := w.due.head(); t != nil; t = w.due.head() {
		w.due.remove(t)
		w.running.push(t)
	}
	w.runUntil(before) // something only if a panic cut the last Advance short
	for t := w.running.head(); t != nil; t = w.running.head() {
		w.run(t)
	}
	w.runUntil(w.now)
}

// Next returns the time of the earliest pending entry, in whole milliseconds
// (the wheel's own time if that entry is due already); ok is false when nothing
// is pending. It is exact: an Advance at that time runs at least one entry, an
// Advance before it runs none.
func (w *Wheel) Next() (at time.Duration, ok bool) {
	if w.due.head() != nil || w.running.head() != nil {
		return w.now, true
	}
	t := w.earliest()
	if t == nil {
		return 0, false
	}
	return max(time.Duration(t.tick())*resolution, w.now), true
}

// Len returns the number of pending entries.
func (w *Wheel) Len() int { return w.pending }

// runUntil runs the entries of the blocks up to the time until. Callbacks add
// only behind w.now, so it ends.
func (w *Wheel) runUntil(until time.Duration) {
	last := uint64(until / resolution)
	for t := w.earliest(); t != nil && t.tick() <= last; t = w.earliest() {
		w.run(t)
	}
}

// run puts the wheel in order before it calls back, so that the callback may do
// as it likes: add, stop, panic.
func (w *Wheel) run(t *Timer) {
	fn := t.fn
	w.remove(t)
	if t.period > 0 {
		missed := (w.now - t.at) / t.period
		t.at = later(t.at+missed*t.period, t.period)
		w.add(t)
	} else {
		t.fn = nil // the owner may keep t; let go of what fn captured
	}
	w.call(fn)
}

func (w *Wheel) call(fn func()) {
	if w.Panic != nil {
		defer w.contain()
	}
	fn()
}

// contain must be deferred itself, for recover to work.
func (w *Wheel) contain() {
	if r := recover(); r != nil {
		w.Panic(r)
	}
}

func (w *Wheel) add(t *Timer) {
	w.pending++
	if t.at <= w.now {
		w.due.push(t)
		return
	}
	w.insert(t)
}

func (w *Wheel) remove(t *Timer) {
	w.pending--
	l := t.list
	l.remove(t)
	if l == &w.due || l == &w.running {
		return
	}
	if t == w.first {
		w.first = nil
	}
	if l.tail == nil {
		w.prune(t.tick())
	}
}

// later is at + d, at most latest. With at >= 0 a sum that overflows is
// negative; with at < 0 none does.
func later(at, d time.Duration) time.Duration {
	sum := at + d
	if at >= 0 && d > 0 && sum < 0 {
		return latest
	}
	return min(sum, latest)
}
