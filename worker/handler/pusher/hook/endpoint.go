package hook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/pushd/pushd/protocol/pusher"
)

// endpoint is one URL of one app with all that waits for it. It belongs to the
// queue's goroutine.
type endpoint struct {
	app    *pusher.App
	hook   *pusher.Webhook
	log    *slog.Logger
	timing *timing

	journal *journal
	mendAt  time.Time // when a broken journal is rewritten; zero = it is whole

	queue []item // goes out from the front
	held  map[subject]item
	order []mark // of held, the earliest first; may name what is held no more
	marks int64
	bytes int // estimate, of queue and held

	sending int       // items at the front of queue that a POST is under way with
	failed  int       // attempts in a row that failed
	since   time.Time // when the first of them did
	nextTry time.Time // after a failure

	stats     Stats
	complaint complaint
}

// item is a waiting event.
type item struct {
	event Event
	at    time.Time // when it came, or when its hold ended; of a journal: by the wall clock
	mark  int64     // of a held one: tells it from an earlier one of the same subject
}

func newEndpoint(dir string, app *pusher.App, hook *pusher.Webhook, tm *timing, log *slog.Logger) *endpoint {
	sum := sha256.Sum256([]byte(app.ID + "\x00" + hook.URL))
	name := safeName(hook.URL)
	return &endpoint{
		app: app, hook: hook, timing: tm, log: log.With("app", app.ID, "endpoint", name),
		journal: &journal{path: filepath.Join(dir, hex.EncodeToString(sum[:12])+".journal")},
		held:    map[subject]item{},
		stats:   Stats{App: app.ID, Endpoint: name},
	}
}

// safeName is the part of a URL that may be shown: credentials, path and query
// may be secrets.
func safeName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable)"
	}
	return u.Scheme + "://" + u.Host
}

// replay does again what a line of the journal says.
func (e *endpoint) replay(l *entry) {
	switch {
	case l.Event != nil:
		e.push(item{event: *l.Event, at: time.UnixMilli(l.At)})
	case l.Hold != nil:
		if s, ok := l.Hold.held(); ok {
			e.hold(s, item{event: *l.Hold, at: time.UnixMilli(l.At)})
		}
	case l.Ready != nil:
		if s, ok := l.Ready.held(); ok {
			e.ready(s, time.UnixMilli(l.At))
		}
	case l.Back != nil:
		if s, ok := l.Back.held(); ok {
			e.release(s)
		}
	case l.Done > 0:
		e.pop(min(l.Done, len(e.queue)))
	}
}

// add takes a new event.
func (e *endpoint) add(ev Event, now time.Time) {
	if s, ok := ev.answers(); ok {
		if was, ok := e.release(s); ok {
			e.journal.add(entry{Back: &was.event})
			return
		}
	}
	if !e.hook.Concerns(ev.Channel) {
		return
	}
	s, holds := ev.held()
	if !e.hook.Wants(ev.Name) && (!holds || !e.hook.Wants(undoneBy(ev.Name))) {
		return
	}
	if e.bytes+ev.size() > e.timing.maxBytes {
		e.stats.DroppedFull++
		e.drop(1, "the queue is full")
		return
	}
	if !holds {
		e.push(item{event: ev, at: now})
		e.journal.add(entry{Event: &ev, At: milli(now)})
	} else if e.hold(s, item{event: ev, at: now}) {
		e.journal.add(entry{Hold: &ev, At: milli(now)})
	}
}

func (e *endpoint) push(it item) {
	e.queue = append(e.queue, it)
	e.bytes += it.event.size()
}

// pop forgets the first n of the queue.
func (e *endpoint) pop(n int) {
	for i := range e.queue[:n] {
		e.bytes -= e.queue[i].event.size()
	}
	clear(e.queue[:n])
	e.queue = e.queue[n:]
}

// next returns when the endpoint has something to do by itself; zero = never.
func (e *endpoint) next() (at time.Time) {
	earliest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if len(e.order) > 0 { // mature has seen to it that the first is still held
		earliest(e.held[e.order[0].subject].at.Add(e.timing.hold))
	}
	if len(e.queue) > 0 && e.sending == 0 {
		earliest(e.nextTry)
	}
	if !e.mendAt.IsZero() {
		earliest(e.mendAt)
	}
	if e.complaint.lost > 0 {
		earliest(e.complaint.last.Add(complainEvery))
	}
	return at
}

// batch returns the body of the next POST, nil if nothing is to be sent now.
func (e *endpoint) batch(now time.Time) []byte {
	if e.sending > 0 || len(e.queue) == 0 || now.Before(e.nextTry) {
		return nil
	}
	var events bytes.Buffer
	n := 0
	for ; n < len(e.queue) && n < maxBatch && events.Len() < maxBody; n++ {
		if n > 0 {
			events.WriteByte(',')
		}
		events.Write(encode(e.queue[n].event.told()))
	}
	e.sending = n
	return fmt.Appendf(nil, `{"time_ms":%d,"events":[%s]}`, milli(e.queue[n-1].at), events.Bytes())
}

// finish takes the outcome of the POST that was under way.
func (e *endpoint) finish(err error, now time.Time) {
	n := e.sending
	e.sending = 0
	if err == nil {
		e.done(n)
		e.stats.Delivered += uint64(n)
		if e.failed > 0 {
			e.log.Info("webhook endpoint answers again", "failed_attempts", e.failed)
		}
		e.failed, e.nextTry = 0, time.Time{}
		return
	}
	e.failed++
	e.stats.Failures++
	e.nextTry = now.Add(e.timing.backoff(e.failed))
	if e.failed == 1 {
		e.since = now
		e.log.Warn("webhook endpoint fails, events are kept and tried again for 5 minutes", "cause", err)
	}
	if now.Sub(e.since) >= e.timing.giveUp {
		n = len(e.queue) // one POST's worth a minute is less than may come
	}
	old := 0
	for old < n && now.Sub(e.queue[old].at) >= e.timing.giveUp {
		old++
	}
	if old > 0 {
		e.done(old)
		e.stats.DroppedOld += uint64(old)
		e.drop(old, "no attempt in 5 minutes succeeded, the last one: "+err.Error())
	}
}

// done takes the first n off the queue for good.
func (e *endpoint) done(n int) {
	e.pop(n)
	e.journal.add(entry{Done: n})
}
