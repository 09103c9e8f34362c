package worker

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// maxPosted bounds the functions that wait for the loop.
const maxPosted = 65_536

// door is how other goroutines reach the loop: a queue, and an eventfd that
// wakes it. All of its methods but take may be called by any goroutine.
type door struct {
	mu     sync.Mutex
	queue  []func()
	spare  []func() // the slice that take returned before
	fd     int
	isOpen bool
	shut   bool
	rung   bool // the loop has been woken and has not looked yet
}

// open connects the door to the loop's eventfd.
func (d *door) open(fd int) {
	d.mu.Lock()
	d.fd, d.isOpen = fd, true
	if len(d.queue) > 0 {
		signal(fd)
	}
	d.mu.Unlock()
}

// post queues fn. limit 0 is for the worker's own use: its callers are few and
// wait for what they post.
func (d *door) post(fn func(), limit int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.shut:
		return ErrStopped
	case limit > 0 && len(d.queue) >= limit:
		return ErrBusy
	}
	d.queue = append(d.queue, fn)
	d.wake()
	return nil
}

// ring wakes the loop without a function.
func (d *door) ring() {
	d.mu.Lock()
	d.wake()
	d.mu.Unlock()
}

func (d *door) wake() {
	if d.isOpen && !d.rung {
		d.rung = true
		signal(d.fd)
	}
}

// take empties the queue. Only the loop calls it; the result is valid until
// the next call.
func (d *door) take() []func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rung = false
	q := d.queue
	d.queue = d.spare[:0]
	clear(q[len(q):cap(q)])
	d.spare = q
	return q
}

// waiting returns the length of the queue.
func (d *door) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue)
}

// shutDoor refuses what comes from now on.
func (d *door) shutDoor() {
	d.mu.Lock()
	d.shut, d.isOpen = true, false
	d.mu.Unlock()
}

// suspend keeps posts in the queue while gnet is being restarted.
func (d *door) suspend() {
	d.mu.Lock()
	d.isOpen, d.rung = false, false
	d.mu.Unlock()
}

// wake is the loop's turn for everything that is not a socket: posted
// functions, timers, sockets that became writable, a fan-out to go on with.
func (l *loop) wake() {
	for _, fn := range l.door.take() {
		l.run(fn)
	}
	if !l.moving || l.waiting { // the process that takes over has timers of its own
		l.wheel.Advance(l.now)
	}
	l.writer.flush(l)
	l.fan.step(l)
}

// run calls a posted function; a panic in it is logged and counted.
func (l *loop) run(fn func()) {
	defer l.contain("Post", nil)
	fn()
}

// do runs fn on the loop and waits for it, or for the loop's end for good,
// which is ErrStopped. Not for use on the loop itself.
func (l *loop) do(fn func()) error {
	done := make(chan struct{})
	if err := l.door.post(func() { defer close(done); fn() }, 0); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-l.over:
	}
	select {
	case <-done: // the loop's last deed
		return nil
	default:
		return ErrStopped
	}
}

// contain ends a callback, by being deferred: it recovers from a panic, closes
// the connection that it happened to, and tells of callbacks that take long.
func (l *loop) contain(callback string, c *Conn) {
	if r := recover(); r != nil {
		l.panicked(callback, c, r, debug.Stack())
	}
	now := monotonic()
	if took := now - l.mark; took > slowCallback && l.counts.slowLog.allow(now) {
		l.log.Warn("slow callback holds up every connection of this process", "callback", callback, "took", took.String())
	}
	l.mark = now
}

func (l *loop) panicked(callback string, c *Conn, r any, stack []byte) {
	l.panics.Add(1)
	if log := &l.counts.panicLog; log.allow(l.now) {
		attrs := []any{"callback", callback, "panic", fmt.Sprint(r), "stack", string(stack), "more", log.taken()}
		if c != nil {
			attrs = append(attrs, "connection", c.ID())
		}
		l.log.Error("callback panicked", attrs...)
	}
	if c != nil {
		l.closeConn(c, 1011, "internal error", ErrPanic)
	}
}
