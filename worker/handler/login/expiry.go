package login

import (
	"strconv"
	"time"

	"github.com/pushd/pushd/worker"
)

// closeExpired is the close code of a connection whose token has expired.
const closeExpired = 4001

// expiryKey is the session value with the token's exp, Unix seconds. It moves
// with the connection on reload.
const expiryKey = "exp"

// expiries are the connections whose token has an end, in one process. They
// share one timer, which is looked at once a second while there are any.
type expiries struct {
	at   map[*worker.Conn]int64
	next int64 // the earliest, 0 = not known
	tick *worker.Timer
}

// watch notes when c's token expires, if it has one.
func (e *expiries) watch(c *worker.Conn) {
	at, err := strconv.ParseInt(c.Get(expiryKey), 10, 64)
	if err != nil {
		return
	}
	if e.at == nil {
		e.at = map[*worker.Conn]int64{}
	}
	if e.at[c] = at; e.next == 0 || at < e.next {
		e.next = at
	}
	if e.tick == nil {
		w := c.Worker()
		e.tick = w.Every(time.Second, func() { e.sweep(w.Now().Unix()) })
	}
}

func (e *expiries) forget(c *worker.Conn) { delete(e.at, c) }

// sweep closes those whose time has come. The map is gone through only when the
// earliest is due.
func (e *expiries) sweep(now int64) {
	if len(e.at) == 0 {
		e.tick.Stop()
		*e = expiries{}
		return
	}
	if now < e.next {
		return
	}
	e.next = 0
	for c, at := range e.at {
		switch {
		case at <= now:
			delete(e.at, c)
			if c.Protocol() == "sse" {
				_ = c.SendEvent(expired)
			}
			c.Close(closeExpired, "token has expired")
		case e.next == 0 || at < e.next:
			e.next = at
		}
	}
}
