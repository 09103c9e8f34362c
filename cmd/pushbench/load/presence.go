package load

import (
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// presence lets everyone join one presence channel at once. It is open when
// each member has learned of each, in the answer to its subscription or later.
type presence struct {
	base
	pusher  *pusher
	known   []map[string]bool // by tag
	dialed  []int64
	missing int // members that do not know all yet
	extra   int64
	ready   func()
}

func (l *presence) Open(ready func()) {
	n := l.spec.Connections
	l.known, l.dialed = make([]map[string]bool, n), make([]int64, n)
	l.sessions = make([]history.Session, n)
	l.missing, l.ready = n, ready
	l.pusher.learned = l.learned
	for i := range n {
		l.known[i] = map[string]bool{}
		l.sessions[i] = history.Session{ID: l.env.newID(), Role: history.Idle}
		l.dialed[i] = client.Now()
		l.dial(l, 0, uint32(i))
	}
	if n == 0 {
		ready()
	}
}

func (l *presence) Start()                            {}
func (l *presence) Stop(_ time.Duration, done func()) { done() }
func (l *presence) Opened(c *client.Conn)             { l.opened(&l.sessions[c.Tag], l.dialed[c.Tag]) }
func (l *presence) Message(c *client.Conn, _ client.Opcode, data []byte) {
	l.sessions[c.Tag].Damaged(data) // nobody publishes
}

// learned is called with each user that the server names to a member.
func (l *presence) learned(c *client.Conn, user string) {
	known := l.known[c.Tag]
	if known[user] {
		l.extra++
		return
	}
	known[user] = true
	if len(known) == l.spec.Total {
		l.env.observe("presence", l.dialed[c.Tag], client.Now())
		l.settle()
	}
}

// settle counts a member that knows all, or has gone before it did.
func (l *presence) settle() {
	if l.missing--; l.missing == 0 {
		l.ready()
	}
}

func (l *presence) Closed(c *client.Conn, err error) {
	l.closed(&l.sessions[c.Tag], err)
	if len(l.known[c.Tag]) < l.spec.Total {
		l.settle()
	}
}

func (l *presence) Report(r *Report) {
	r.Sessions = append(r.Sessions, l.sessions...)
	r.Repeated += l.extra
	for _, known := range l.known {
		r.Pending += int64(max(l.spec.Total-len(known), 0))
	}
}
