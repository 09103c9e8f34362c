package hook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/pusher"
)

// Queue keeps the events of all apps until their endpoints have them. All
// methods may be called by any goroutine.
type Queue struct {
	dir       string
	log       *slog.Logger
	timing    *timing
	client    *http.Client
	late      Late                   // nil: nobody else tells these endpoints
	endpoints []*endpoint            // of the queue's goroutine, but for their number
	byApp     map[string][]*endpoint // the same

	lock    *os.File // nil = another process still has the journals
	wake    chan struct{}
	results chan result
	stop    chan struct{}
	ended   chan struct{}
	once    sync.Once // Close
	err     error     // of Close

	mu    sync.Mutex
	inbox []arrival
	bytes int            // estimate, of inbox
	lost  map[string]int // by app: what found the inbox full
	stats []Stats
}

// arrival is an event that has come and is not in a journal yet.
type arrival struct {
	app   string
	event Event
	at    time.Time
}

// result is what became of a POST.
type result struct {
	endpoint *endpoint
	err      error
}

// Stats are the counters of one endpoint since the process started.
type Stats struct {
	App      string
	Endpoint string // scheme and host

	Waiting     int    // events now
	Bytes       int    // estimate of what they take
	Delivered   uint64 // events
	Failures    uint64 // attempts without a 2xx
	DroppedFull uint64 // events that found the queue full
	DroppedOld  uint64 // events given up after 5 minutes
}

// Open starts the delivery of events to the endpoints of the apps. Journals are
// in the folder "webhooks" of dir; what waits in them is sent first. Those of
// endpoints that no app has any more are removed.
//
// If another process still has the journals, as when one broker process
// replaces another, events wait in memory until it is gone.
//
// late is nil where nobody else tells these endpoints.
func Open(dir string, apps []pusher.App, log *slog.Logger, late Late) (*Queue, error) {
	return open(dir, apps, log, &defaults, newClient(), late)
}

func open(dir string, apps []pusher.App, log *slog.Logger, tm *timing, client *http.Client, late Late) (*Queue, error) {
	q := &Queue{
		dir: filepath.Join(dir, "webhooks"), log: log, timing: tm, client: client, late: late,
		byApp: map[string][]*endpoint{}, lost: map[string]int{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	for i := range apps {
		app := &apps[i]
		for k := range app.Webhooks {
			e := newEndpoint(q.dir, app, &app.Webhooks[k], tm, log)
			q.endpoints = append(q.endpoints, e)
			q.byApp[app.ID] = append(q.byApp[app.ID], e)
		}
	}
	if len(q.endpoints) == 0 {
		close(q.ended)
		return q, nil
	}
	q.results = make(chan result, len(q.endpoints))
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return nil, fmt.Errorf("webhook queue: %w", err)
	}
	if err := q.acquire(); err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, err
	}
	q.show()
	go q.run()
	return q, nil
}

// acquire takes the lock and reads the journals. EWOULDBLOCK: not yet.
func (q *Queue) acquire() error {
	f, err := os.OpenFile(filepath.Join(q.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("webhook queue: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("lock the webhook queue: %w", err)
	}
	used := map[string]bool{}
	for _, e := range q.endpoints {
		used[e.journal.path] = true
	}
	for _, name := range sweep(q.dir, used) {
		q.log.Warn("webhook journal of an endpoint that is not configured any more was removed", "path", name)
	}
	for _, e := range q.endpoints {
		e.open()
	}
	q.lock = f
	return nil
}

// Add queues events of an app for those of its endpoints that want them. It
// never blocks; what finds no room is counted and logged.
func (q *Queue) Add(app string, events ...Event) {
	if len(q.byApp[app]) == 0 {
		return
	}
	now := time.Now()
	q.mu.Lock()
	for i := range events {
		if n := events[i].size(); q.bytes+n <= q.timing.maxBytes {
			q.inbox = append(q.inbox, arrival{app, events[i], now})
			q.bytes += n
		} else {
			q.lost[app]++
		}
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counters of every endpoint, as they were at most a moment
// ago.
func (q *Queue) Stats() []Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]Stats(nil), q.stats...)
}

// Close ends the delivery. What waits stays in the journals for the next Open.
// POSTs that are under way get half a second.
func (q *Queue) Close() error {
	q.once.Do(func() {
		close(q.stop)
		<-q.ended
		if q.lock != nil {
			for _, e := range q.endpoints {
				q.err = errors.Join(q.err, e.journal.close())
			}
			q.err = errors.Join(q.err, q.lock.Close())
		}
		q.client.CloseIdleConnections()
	})
	return q.err
}

// take empties the inbox into the endpoints. What a turn calls now is read behind it:
// an event from after now would look like one from before the clock was set back.
func (q *Queue) take() {
	q.mu.Lock()
	inbox, lost := q.inbox, q.lost
	q.inbox, q.bytes, q.lost = nil, 0, map[string]int{}
	q.mu.Unlock()
	for i := range inbox {
		for _, e := range q.byApp[inbox[i].app] {
			e.add(inbox[i].event, inbox[i].at)
		}
	}
	for app, n := range lost {
		for _, e := range q.byApp[app] {
			e.stats.DroppedFull += uint64(n)
			e.drop(n, "the queue is full")
		}
	}
}

// show copies the counters to where Stats finds them.
func (q *Queue) show() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats = q.stats[:0]
	for _, e := range q.endpoints {
		s := e.stats
		s.Waiting, s.Bytes = len(e.queue)+len(e.held), e.bytes
		q.stats = append(q.stats, s)
	}
}
