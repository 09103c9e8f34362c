package client

import (
	"container/heap"
	"time"

	"golang.org/x/sys/unix"
)

// At runs f on the loop when the clock (Now) has reached due, nanoseconds. A
// timer costs a heap entry: meant for tens of them, not one per connection.
func (l *Loop) At(due int64, f func()) {
	heap.Push(&l.timers, timer{due, f})
	if l.timers[0].due == due {
		l.armTimer()
	}
}

// After is At, counted from now.
func (l *Loop) After(d time.Duration, f func()) { l.At(Now()+int64(d), f) }

func (l *Loop) runTimers() {
	if len(l.timers) == 0 || l.timers[0].due > Now() {
		return
	}
	for len(l.timers) > 0 && l.timers[0].due <= Now() {
		heap.Pop(&l.timers).(timer).f()
	}
	l.armTimer()
}

// armTimer sets the one kernel timer to the earliest entry.
func (l *Loop) armTimer() {
	var at unix.ItimerSpec
	if len(l.timers) > 0 {
		at.Value = unix.NsecToTimespec(max(l.timers[0].due, 1))
	}
	_ = unix.TimerfdSettime(l.timer, unix.TFD_TIMER_ABSTIME, &at, nil)
}

type timer struct {
	due int64
	f   func()
}

// timers is a heap by due time, for container/heap.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return x
}

// deadlines ends connections that stay too long in one state. All entries of
// one queue wait equally long, so it is in order by itself.
type deadlines struct{ queue []deadline }

type deadline struct {
	conn  *Conn
	state state
	due   int64
}

func (d *deadlines) add(c *Conn, timeout time.Duration) {
	d.queue = append(d.queue, deadline{c, c.state, Now() + int64(timeout)})
}

// expire drops what is due and forgets what has moved on.
func (d *deadlines) expire(l *Loop, err error) {
	now := Now()
	for len(d.queue) > 0 {
		head := d.queue[0]
		waiting := head.conn.state == head.state || head.state == dialing && head.conn.state == handshaking
		if waiting && head.due > now {
			return
		}
		d.queue[0] = deadline{}
		d.queue = d.queue[1:]
		if waiting {
			l.drop(head.conn, err)
		}
	}
}

// sweep looks at the deadlines now and every half second from now on.
func (l *Loop) sweep() {
	l.dials.expire(l, ErrTimeout)
	l.closings.expire(l, ErrUnanswered)
	l.After(500*time.Millisecond, l.sweep)
}
