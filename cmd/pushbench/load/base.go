package load

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/payload"
)

// base is what all loads have.
type base struct {
	env      *Env
	spec     Spec
	targets  []*client.Target // one per room, or one
	opener   opener
	running  bool
	sessions []history.Session
	buffer   []byte
	dialect  dialect // between the connections and the load, or nil
}

// dialect is a protocol inside WebSocket messages. It stands between connections
// and their load: the load sees a connection as open once it is in its channels,
// and of what comes after only the messages.
type dialect interface {
	// around returns what the connections of a load have for their handler.
	around(load client.Handler) client.Handler
}

func parseTargets(spec Spec, sources []string) ([]*client.Target, error) {
	rooms := spec.Rooms
	if len(rooms) == 0 {
		rooms = []string{""}
	}
	var targets []*client.Target
	for _, room := range rooms {
		t, err := client.ParseTarget(strings.ReplaceAll(spec.URL, "{room}", room), sources)
		if err != nil {
			return nil, err
		}
		t.Origin = spec.Origin
		if t.TLS != nil && spec.Resume {
			t.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(max(spec.Connections, 64))
		}
		if spec.SlowBytes > 0 {
			t.ReceiveBuffer = 4096
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// parse reads a message of this run; ok is false for anything else, which is
// then recorded with the session.
func (b *base) parse(s *history.Session, data []byte) (m payload.Message, ok bool) {
	m, err := payload.Parse(b.env.Run, data)
	if err == nil {
		b.env.Count.Received++
		return m, true
	}
	if errors.Is(err, payload.ErrForeign) {
		b.env.Count.Foreign++
		if b.spec.ForeignOK {
			return m, false
		}
	}
	s.Damaged(data)
	return m, false
}

// send sends the next message of the connection's own stream.
func (b *base) send(c *client.Conn, stream, seq uint32, due int64) {
	b.buffer = payload.Append(b.buffer[:0], b.env.Run, payload.Message{Stream: stream, Seq: seq, Sent: due}, b.spec.Size)
	b.env.Loop.Send(c, client.Text, b.buffer)
	b.env.Count.Sent++
}

func (b *base) dial(h client.Handler, target int, tag uint32) *client.Conn {
	b.env.Count.Dialed++
	if b.dialect != nil {
		h = b.dialect.around(h)
	}
	return b.env.Loop.Dial(b.targets[target%len(b.targets)], h, tag)
}

// opened records a handshake that began at from.
func (b *base) opened(s *history.Session, from int64) {
	s.Opened = client.Now()
	b.env.Count.Opened++
	b.env.observe("connect", from, s.Opened)
}

// closed records an end, whoever wanted it.
func (b *base) closed(s *history.Session, err error) {
	s.Closed = client.Now()
	switch {
	case s.Opened == 0:
		b.env.Count.Failed++
	case s.Asked > 0:
		b.env.Count.Left++
	default:
		b.env.Count.Lost++
	}
	if err != nil && !errors.Is(err, client.ErrUnanswered) {
		s.Cause = err.Error()
	}
}

// opener opens a number of connections, a few at a time.
type opener struct {
	total, next, settled int
	dial                 func(i int)
	ready                func()
}

func (o *opener) open(total, window int, dial func(i int), ready func()) {
	*o = opener{total: total, dial: dial, ready: ready}
	if total == 0 {
		ready()
	}
	for range min(total, max(window, 1)) {
		o.more()
	}
}

func (o *opener) more() {
	if o.next < o.total {
		o.next++
		o.dial(o.next - 1)
	}
}

// done is called for each connection that has opened or failed. Connections
// that are dialed after the opening do not count.
func (o *opener) done() {
	if o.settled == o.total {
		return
	}
	o.settled++
	o.more()
	if o.settled == o.total {
		o.ready()
	}
}

const maxRate = 1e6

// pace calls f on a timetable of rate per second for as long as the load runs,
// with the time at which each call was due. A late loop catches up. More than
// maxRate is not tried: the loop would do nothing else.
func (b *base) pace(rate float64, f func(due int64)) {
	if rate <= 0 {
		return
	}
	interval := 1e9 / min(rate, maxRate)
	start := client.Now()
	n := 0.0
	var tick func()
	tick = func() {
		for b.running {
			due := start + int64(n*interval)
			if due > client.Now() {
				b.env.Loop.At(due, tick)
				return
			}
			n++
			f(due)
		}
	}
	tick()
}

// await calls done as soon as quiet says so, and after drain in any case.
func (b *base) await(drain time.Duration, quiet func() bool, done func()) {
	deadline := client.Now() + int64(drain)
	var look func()
	look = func() {
		if quiet() || client.Now() >= deadline {
			done()
			return
		}
		b.env.Loop.After(20*time.Millisecond, look)
	}
	look()
}
