package reactor

import (
	"errors"
	"sync"
)

// Errors of Post and Do.
var (
	ErrStopped = errors.New("worker has stopped")
	ErrBusy    = errors.New("worker is too busy: as many functions as it takes have been posted (65,536), or are under way in Go (1,024)")
)

// tasks are how other goroutines reach the loop: a queue, and an eventfd in
// gnet's epoll that wakes it. gnet's own queue of tasks runs until it is empty,
// so a task that posts its successor would keep sockets waiting; an eventfd takes
// its turn among them. All methods but take may be called by any goroutine.
type tasks struct {
	mu     sync.Mutex
	queue  []func()
	spare  []func() // the slice that take returned before
	fd     int
	isOpen bool
	shut   bool
	rung   bool // the loop has been woken and has not looked yet
}

// open connects the queue to the loop's eventfd.
func (t *tasks) open(fd int) {
	t.mu.Lock()
	t.fd, t.isOpen = fd, true
	if len(t.queue) > 0 {
		signal(fd)
	}
	t.mu.Unlock()
}

func (t *tasks) post(fn func(), limit int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.shut:
		return ErrStopped
	case limit > 0 && len(t.queue) >= limit:
		return ErrBusy
	}
	t.queue = append(t.queue, fn)
	t.wake()
	return nil
}

// ring wakes the loop without a function.
func (t *tasks) ring() {
	t.mu.Lock()
	t.wake()
	t.mu.Unlock()
}

func (t *tasks) wake() {
	if t.isOpen && !t.rung {
		t.rung = true
		signal(t.fd)
	}
}

// take empties the queue. Only the loop calls it; the result is valid until
// the next call.
func (t *tasks) take() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rung = false
	q := t.queue
	t.queue = t.spare[:0]
	clear(q[len(q):cap(q)])
	t.spare = q
	return q
}

// close refuses what comes from now on.
func (t *tasks) close() {
	t.mu.Lock()
	t.shut, t.isOpen = true, false
	t.mu.Unlock()
}

// suspend keeps what is posted in the queue while gnet is being restarted.
func (t *tasks) suspend() {
	t.mu.Lock()
	t.isOpen, t.rung = false, false
	t.mu.Unlock()
}

// Post hands fn to Woken, in the order of the calls. limit is how many may be
// waiting, 0 any number: that is for callers that are few and wait for what they
// post. Errors: ErrBusy, ErrStopped. Any goroutine.
func (r *Reactor[C]) Post(fn func(), limit int) error { return r.tasks.post(fn, limit) }

// Wake asks for a call of Woken in a later turn, so that sockets have theirs
// before it. Any goroutine.
func (r *Reactor[C]) Wake() { r.tasks.ring() }

// Posted returns how many functions are waiting. Any goroutine.
func (r *Reactor[C]) Posted() int {
	r.tasks.mu.Lock()
	defer r.tasks.mu.Unlock()
	return len(r.tasks.queue)
}

// Do runs the functions on the loop, each in a turn of its own, and waits for
// the last, or for the loop's end for good, which is ErrStopped. Any goroutine
// but the loop.
func (r *Reactor[C]) Do(fns ...func()) error {
	done := make(chan struct{})
	if err := r.tasks.post(func() { r.inTurn(fns, done) }, 0); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-r.over:
	}
	select {
	case <-done: // the loop's last deed
		return nil
	default:
		return ErrStopped
	}
}

// inTurn runs the first function now, the others in turns to come.
func (r *Reactor[C]) inTurn(fns []func(), done chan struct{}) {
	defer func() {
		if fns = fns[1:]; len(fns) == 0 {
			close(done)
			return
		}
		_ = r.tasks.post(func() { r.inTurn(fns, done) }, 0) // fails when there is no loop any more
	}()
	fns[0]()
}
