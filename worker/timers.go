package worker

import (
	"time"

	"github.com/pushd/pushd/timer"
)

// alarm is the one runtime timer of a process. It wakes the loop when the
// wheel's earliest entry is due and is silent when there is none.
type alarm struct {
	t  *time.Timer
	at time.Duration // what it is set to, 0 = not set
}

// newWheel makes the wheel and the alarm, not set.
func (l *loop) newWheel() {
	l.wheel = timer.New(monotonic())
	l.alarm.t = time.AfterFunc(time.Hour, l.reactor.Wake)
	l.alarm.t.Stop()
}

// arm sets the alarm to the earliest entry. It runs at the end of each turn.
func (l *loop) arm() {
	at, ok := l.wheel.Next()
	ok = ok && l.phase != phaseHanding
	switch {
	case !ok:
		if l.alarm.at != 0 {
			l.alarm.t.Stop()
			l.alarm.at = 0
		}
	case at != l.alarm.at || at <= l.now:
		l.alarm.at = at
		l.alarm.t.Reset(max(at-monotonic(), 0))
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
	l.wheel.Schedule(&t.t, monotonic()+d, period, func() {
		defer l.contain("timer", nil)
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
