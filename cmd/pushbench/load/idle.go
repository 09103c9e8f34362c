package load

import (
	"math"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// idle opens connections and leaves them alone. What arrives unasked is a
// fault, and so is an end. It keeps a time per connection while opening, and
// records only faulty sessions.
type idle struct {
	base
	dialed []int64 // when, by tag; let go once all are open
	clean  int64
}

// opened is the tag of a connection that has had its handshake.
const opened = math.MaxUint32

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
	if m, ok := l.parse(&s, data); ok {
		s.Receive(m.Stream, m.Seq)
	}
	if s.Corrupt > 0 || len(s.Tracks) > 0 {
		l.fault(s)
	}
}

func (l *idle) Closed(c *client.Conn, err error) {
	s := history.Session{Role: history.Idle}
	if c.Tag == opened {
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
}
