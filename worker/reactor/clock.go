package reactor

import (
	"sync"
	"time"
)

// Now implements Engine.
func (r *Reactor[C]) Now() time.Duration { return Monotonic() }

// Wall implements Engine.
func (r *Reactor[C]) Wall() time.Time { return time.Now() }

// alarm is the one runtime timer of a reactor: it wakes the loop.
type alarm struct {
	once sync.Once
	t    *time.Timer
}

// WakeAt implements Engine.
func (r *Reactor[C]) WakeAt(at time.Duration) {
	r.alarm.once.Do(func() {
		r.alarm.t = time.AfterFunc(time.Hour, r.Wake)
	})
	if at == 0 {
		r.alarm.t.Stop()
		return
	}
	r.alarm.t.Reset(max(at-Monotonic(), 0))
}
