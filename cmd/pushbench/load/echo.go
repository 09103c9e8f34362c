package load

import (
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// echo sends messages and expects the same back: each connection its next as
// soon as the last has returned, or all in turn on a timetable.
type echo struct {
	base
	conns    []*client.Conn
	dialed   []int64
	received []uint32
	turn     int
}

func (l *echo) Open(ready func()) {
	n := l.spec.Connections
	l.conns, l.dialed = make([]*client.Conn, n), make([]int64, n)
	l.sessions, l.received = make([]history.Session, n), make([]uint32, n)
	l.opener.open(n, l.spec.Window, func(i int) {
		l.sessions[i] = history.Session{ID: l.env.newID(), Role: history.Echo}
		l.dialed[i] = client.Now()
		l.conns[i] = l.dial(l, 0, uint32(i))
	}, ready)
}

func (l *echo) Start() {
	l.running = true
	if l.spec.Rate > 0 {
		l.pace(l.spec.Rate, l.inTurn)
		return
	}
	for _, c := range l.conns {
		l.next(c, client.Now())
	}
}

// inTurn sends on the next connection that is open.
func (l *echo) inTurn(due int64) {
	for range l.conns {
		c := l.conns[l.turn%len(l.conns)]
		l.turn++
		if c.Open() {
			l.next(c, due)
			return
		}
	}
}

func (l *echo) next(c *client.Conn, due int64) {
	if c.Open() {
		s := &l.sessions[c.Tag]
		s.Sent++
		l.send(c, s.ID, s.Sent, due)
	}
}

func (l *echo) Stop(drain time.Duration, done func()) {
	l.running = false
	l.await(drain, func() bool { return l.pending() == 0 }, done)
}

// pending is how many answers are awaited on connections that still stand.
func (l *echo) pending() (n int64) {
	for i, c := range l.conns {
		if c.Open() {
			n += max(int64(l.sessions[i].Sent)-int64(l.received[i]), 0)
		}
	}
	return n
}

func (l *echo) Opened(c *client.Conn) {
	l.opened(&l.sessions[c.Tag], l.dialed[c.Tag])
	l.opener.done()
}

func (l *echo) Message(c *client.Conn, _ client.Opcode, data []byte) {
	s := &l.sessions[c.Tag]
	m, ok := l.parse(s, data)
	if !ok {
		return
	}
	now := client.Now()
	s.Receive(m.Stream, m.Seq)
	l.received[c.Tag]++
	l.env.observe("echo", m.Sent, now)
	if l.running && l.spec.Rate <= 0 {
		l.next(c, now)
	}
}

func (l *echo) Closed(c *client.Conn, err error) {
	s := &l.sessions[c.Tag]
	l.closed(s, err)
	if s.Opened == 0 {
		l.opener.done()
	}
}

func (l *echo) Report(r *Report) {
	r.Sessions = append(r.Sessions, l.sessions...)
	r.Pending += l.pending()
}
