package hook

import (
	"context"
	"time"
)

// run is the queue's goroutine. Its turn: take what has come, write it down,
// send what is due, sleep until there is more.
func (q *Queue) run() {
	defer close(q.ended)
	if !q.inherit() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sleep := time.NewTimer(0)
	defer sleep.Stop()
	for {
		q.take()
		if at := q.turn(ctx, time.Now()); at.IsZero() {
			sleep.Stop()
		} else {
			sleep.Reset(time.Until(at))
		}
		q.show()
		select {
		case <-q.wake:
		case <-sleep.C:
		case r := <-q.results:
			q.finish(r)
		case <-q.stop:
			q.settle(cancel)
			return
		}
	}
}

// turn lets every endpoint do what is due, and returns when the next is. Nothing
// that the endpoints have came after now.
func (q *Queue) turn(ctx context.Context, now time.Time) (next time.Time) {
	for _, e := range q.endpoints {
		e.mature(now)
		e.save(now) // before anything is sent
		if body := e.batch(now); body != nil {
			go func() { q.results <- result{e, post(ctx, q.client, e.app, e.hook, body, q.timing.answer)} }()
		}
		e.complain(now, false)
		if at := e.next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// settle waits for the POSTs that are under way, not for long, and writes down
// what has come since.
func (q *Queue) settle(cancel func()) {
	end := time.AfterFunc(grace, cancel)
	defer end.Stop()
	posts := 0
	for _, e := range q.endpoints {
		if e.sending > 0 {
			posts++
		}
	}
	for range posts {
		if r := <-q.results; r.err == nil {
			r.endpoint.finish(nil, time.Now())
		}
	}
	q.take()
	now := time.Now()
	for _, e := range q.endpoints {
		e.save(now)
		e.complain(now, true)
	}
	q.show()
}

// inherit waits until the journals are ours. It reports false when the queue
// is closed before that.
func (q *Queue) inherit() bool {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	var last string
	for q.lock == nil {
		select {
		case <-retry.C:
		case <-q.stop:
			q.mu.Lock()
			defer q.mu.Unlock()
			if n := len(q.inbox); n > 0 {
				q.log.Warn("webhook events dropped", "events", n, "cause", "another process kept the journals to the end")
			}
			return false
		}
		if err := q.acquire(); err != nil && err.Error() != last {
			last = err.Error()
			q.log.Info("webhook events wait in memory", "cause", err)
		}
	}
	return true
}
