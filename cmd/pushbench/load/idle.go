package load

import (
	"math"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/payload"
)

// idle opens connections and leaves them alone. An end is a fault, and so is
// what arrives unasked; messages of the watched stream must reach each of them
// once and in order. It keeps a time per connection while opening, nothing
// afterwards, and records only faulty sessions.
type idle struct {
	base
	dialed []int64 // when, by tag; let go once all are open
	clean  int64
	round
}

// opened is the tag of a connection that has had its handshake, less the
// messages of the watched stream that it has.
const opened = math.MaxUint32

// isOpen says whether a tag is not yet, or no longer, an index into dialed.
func isOpen(tag uint32) bool { return tag > math.MaxUint32/2 }

func (l *idle) Open(ready func()) {
	l.dialed = make([]int64, l.spec.Connections)
	l.opener.open(l.spec.Connections, l.spec.Window, func(i int) {
		l.dialed[i] = client.Now()
		l.base.dial(l, 0, uint32(i))
	}, func() { l.dialed = nil; ready() })
}

func (l *idle) Start() {}

func (l *idle) Stop(_ time.Duration, done func()) { done() }

func (l *idle) Opened(c *client.Conn) {
	var s history.Session
	l.opened(&s, l.dialed[c.Tag])
	l.clean++
	c.Tag = opened
	l.opener.done()
}

func (l *idle) Message(c *client.Conn, _ client.Opcode, data []byte) {
	s := history.Session{Role: history.Idle, Opened: 1}
	m, ok := l.parse(&s, data)
	if ok && m.Stream == l.spec.Watch && isOpen(c.Tag) {
		l.watched(c, m)
		return
	}
	if ok {
		s.Receive(m.Stream, m.Seq)
	}
	if s.Corrupt > 0 || len(s.Tracks) > 0 {
		l.fault(s)
	}
}

// watched takes a message of the watched stream.
func (l *idle) watched(c *client.Conn, m payload.Message) {
	now := client.Now()
	l.env.observe("delivery", m.Sent, now)
	if got := opened - c.Tag; m.Seq != got+1 {
		s := history.Session{Role: history.Idle, Opened: 1}
		s.Receive(m.Stream, m.Seq)
		l.fault(s)
	}
	c.Tag = opened - m.Seq
	if l.round.arrived(m.Seq, l.clean, now) {
		l.env.Seen(m.Seq)
	}
}

func (l *idle) Closed(c *client.Conn, err error) {
	s := history.Session{Role: history.Idle}
	if isOpen(c.Tag) {
		s.Opened = 1
		l.clean--
	} else {
		l.opener.done()
	}
	l.closed(&s, err)
	l.fault(s)
}

func (l *idle) fault(s history.Session) {
	s.ID = l.env.newID()
	l.sessions = append(l.sessions, s)
}

func (l *idle) Report(r *Report) {
	r.Sessions = append(r.Sessions, l.sessions...)
	r.Clean += l.clean
	r.Last = append(r.Last, l.last...)
	r.Pending += l.round.missing(l.clean)
}
