package mercure

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// ends are the streams whose token has an end, by the second at which they are
// ended. They share one timer, which runs while there are any.
type ends struct {
	due  map[int64]map[*worker.Conn]struct{}
	from int64 // what was due before is done
	tick *worker.Timer
}

func (e *ends) watch(w *worker.Worker, c *worker.Conn, at int64) {
	if at == 0 {
		return
	}
	if e.due == nil {
		e.due = map[int64]map[*worker.Conn]struct{}{}
	}
	if e.due[at] == nil {
		e.due[at] = map[*worker.Conn]struct{}{}
	}
	e.due[at][c] = struct{}{}
	if e.tick == nil {
		e.from = w.Now().Unix()
		e.tick = w.Every(time.Second, func() { e.sweep(w.Now().Unix()) })
	}
	e.from = min(e.from, at)
}

func (e *ends) forget(c *worker.Conn, at int64) {
	if delete(e.due[at], c); len(e.due[at]) == 0 {
		delete(e.due, at)
	}
}

// end ends those of one second.
func (e *ends) end(at int64) {
	for c := range e.due[at] {
		_ = c.SendEvent(worker.Event{Type: "pushd:expired", Data: []byte("{}")})
		c.Close(1000, "")
	}
	delete(e.due, at)
}

// sweep ends those whose time has come. They are told, and come back with another
// token.
func (e *ends) sweep(now int64) {
	if now-e.from > int64(len(e.due)) { // the clock was set forwards, perhaps by years
		for at := range e.due {
			if at <= now {
				e.end(at)
			}
		}
		e.from = now + 1
	}
	for ; e.from <= now && len(e.due) > 0; e.from++ {
		e.end(e.from)
	}
	if len(e.due) == 0 && e.tick != nil {
		e.tick.Stop()
		*e = ends{}
	}
}
