package pusher

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// limiter bounds how often each connection does something. A connection has a
// bucket of tokens that fills up again with time; all that is kept is when it
// will be full, and only of those that have used it in the last seconds. After
// a hand-over it is full.
type limiter struct {
	w    *worker.Worker
	full map[*worker.Conn]time.Time
}

// limiterPause is between two looks for buckets that are full.
const limiterPause = 5 * time.Second

func newLimiter(w *worker.Worker) limiter {
	return limiter{w, map[*worker.Conn]time.Time{}}
}

// take takes a token and reports whether there was one, of burst that the bucket
// holds; rate of them come in a second, 0 = there is no limit.
func (l *limiter) take(c *worker.Conn, rate, burst int) bool {
	if rate == 0 {
		return true
	}
	if len(l.full) == 0 {
		l.w.After(limiterPause, l.drop)
	}
	now, token := time.Now(), time.Second/time.Duration(rate)
	full := l.full[c]
	if full.Before(now) {
		full = now
	}
	full = full.Add(token)
	if full.Sub(now) > time.Duration(burst)*token {
		return false
	}
	l.full[c] = full
	return true
}

// forget drops the bucket of a connection that is gone.
func (l *limiter) forget(c *worker.Conn) { delete(l.full, c) }

// drop forgets the full ones.
func (l *limiter) drop() {
	now := time.Now()
	for c, full := range l.full {
		if full.Before(now) {
			l.forget(c)
		}
	}
	if len(l.full) > 0 {
		l.w.After(limiterPause, l.drop)
	}
}
