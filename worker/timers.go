package worker

import (
	"time"
)

// arm has the reactor wake the loop when the wheel's earliest entry is due. It
// runs at the end of each turn. Nothing due, no wake-up.
func (l *loop) arm() {
	at, ok := l.wheel.Next()
	if !ok || l.phase == phaseHanding {
		at = 0
	}
	if at != l.alarm || at != 0 && at <= l.now {
		l.alarm = at
		l.reactor.WakeAt(at)
	}
}

// after is for pushd's own use; it runs whatever becomes of the process.
func (l *loop) after(d time.Duration, fn func()) *Timer { return l.schedule(d, 0, fn) }

// every panics unless d is above 0.
func (l *loop) every(d time.Duration, fn func()) *Timer {
	if d <= 0 {
		panic("worker: Every needs a period above 0")
	}
	return l.schedule(d, d, fn)
}

func (l *loop) schedule(d, period time.Duration, fn func()) *Timer {
	t := &Timer{l: l}
	l.wheel.Schedule(&t.t, l.reactor.Now()+d, period, func() {
		defer l.contain("timer", t.c)
		l.progress.Add(1)
		fn()
	})
	return t
}

// users wraps a function of the program. Once the connections of this process
// have moved to another one, its timers are silent: those of the other one run.
func (l *loop) users(fn func()) func() {
	return func() {
		if l.phase != phaseRetired {
			fn()
		}
	}
}
