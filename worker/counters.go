package worker

import (
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// slowCallback is how long a callback may take before the log names it.
const slowCallback = 100 * time.Millisecond

// counters belong to the loop.
type counters struct {
	opened       uint64
	messagesIn   uint64
	messagesOut  uint64
	sendFailures uint64
	published    uint64
	gaps         uint64
	queueBytes   int64
	woken        uint64 // turns that had posted functions to run
	failuresBy   tally
	refusedBy    tally
	closedBy     tally // by key of the config
	turns        turns

	acceptLog, slowLog, gapLog, rateLog, codeLog rateLimit
	rates                                        rates
	refusedLog                                   map[string]*rateLimit // by cause
	culprits                                     map[culprit]*repeats  // of panics

	dateAt uint32 // second in which dateText was made
	dateIs string
}

// tally counts by cause.
type tally map[string]uint64

func (t *tally) add(cause string) {
	if *t == nil {
		*t = tally{}
	}
	(*t)[cause]++
}

func (t tally) copy() map[string]uint64 {
	if len(t) == 0 {
		return nil
	}
	c := make(map[string]uint64, len(t))
	for k, v := range t {
		c[k] = v
	}
	return c
}

// rateLimit lets one line a second through.
type rateLimit struct {
	next   time.Duration
	hidden int // lines held back since the last one
}

func (r *rateLimit) allow(now time.Duration) bool {
	if now < r.next {
		r.hidden++
		return false
	}
	r.next = now + time.Second
	return true
}

// taken returns how many lines were held back, and forgets them.
func (r *rateLimit) taken() int {
	n := r.hidden
	r.hidden = 0
	return n
}

// refused counts a client that was not let in, and logs it with what in the
// config would have let it in.
func (l *loop) refused(cause string, client netip.AddrPort, hint string) {
	l.counts.refusedBy.add(cause)
	r := l.counts.refusedLog[cause]
	if r == nil {
		r = &rateLimit{}
		l.counts.refusedLog[cause] = r
	}
	if r.allow(l.now) {
		who := "at a unix socket"
		if client.IsValid() {
			who = client.String()
		}
		l.log.Warn("refused a client", "cause", cause, "client", who, "hint", hint, "more", r.taken())
	}
}

func (l *loop) refusedOrigin(c *Conn, origin, host string) {
	route := c.Path() // of a handler without routes
	if c.route != nil && c.route.pattern != "" {
		route = c.route.pattern
	}
	l.refused("origin", c.peer(), "origin "+quoted(origin)+" is not "+quoted(host)+
		`: add it to the route, as in `+quoted(route)+` = { handler = "…", origins = [`+quoted(origin)+`] }`)
}

// turns remembers the longest turn of the last 5 to 10 seconds, whoever asks.
type turns struct {
	now, before time.Duration // longest of this window and of the one before
	since       time.Duration // when this window began
}

const turnWindow = 5 * time.Second

func (t *turns) note(at, took time.Duration) {
	if age := at - t.since; age > turnWindow {
		t.before = t.now
		if age > 2*turnWindow {
			t.before = 0
		}
		t.now, t.since = 0, at
	}
	t.now = max(t.now, took)
}

// measure notes how long the turn took.
func (l *loop) measure() {
	took := l.mark - l.now
	l.counts.turns.note(l.now, took)
	l.rest.note(l, took)
}

// snapshot returns the counters as status shows them.
func (l *loop) snapshot() Stats {
	n := &l.counts
	n.turns.note(l.now, 0)
	b := l.broker.Stats()
	s := Stats{
		Connections: l.conns.len(), Limit: l.limit(), AcceptPaused: l.accept.paused,
		QueueBytes: n.queueBytes, Timers: l.wheel.Len(), Goroutines: runtime.NumGoroutine(),
		LoopLagMS: float64(max(n.turns.now, n.turns.before).Microseconds()) / 1000, Listen: l.w.listen,
		Counters: control.Counters{
			MessagesIn: n.messagesIn, MessagesOut: n.messagesOut, SendFailures: n.sendFailures + b.Refused + b.Expired,
			Opened: n.opened, Panics: uint64(l.panics.Load()),
			HandshakesRefused: n.refusedBy.copy(), SendFailuresBy: n.failuresBy.copy(),
			PublishedBy: map[string]uint64{"worker": n.published}, BrokerGaps: n.gaps, ClosedBy: n.closedBy.copy(),
		},
	}
	_ = l.each(func(r *route) error {
		if r.script != nil {
			one := r.script()
			one.Route = r.pattern
			s.Scripts = append(s.Scripts, one)
		}
		return nil
	})
	return s
}

// snapshotOfClients is for control.QueryClients: it looks at each connection.
func (l *loop) snapshotOfClients() Stats {
	s := l.snapshot()
	for _, c := range l.conns.all {
		if c.stage != stageOpen || c.has(flagDead|flagEnd) {
			s.Ending++
		}
	}
	return s
}

// date returns the Date header of this second.
func (l *loop) date() string {
	if s := seconds(l.now) + 1; l.counts.dateAt != s {
		l.counts.dateAt = s
		l.counts.dateIs = time.Now().UTC().Format(http.TimeFormat)
	}
	return l.counts.dateIs
}

func stack() []byte { return debug.Stack() }
