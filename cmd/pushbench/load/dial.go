package load

import (
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// dial makes connections that live for a handshake, one echo if the spec gives
// a size, and a close handshake. It records only faulty sessions.
type dial struct {
	base
	slots []slot
	free  []uint32
	clean int64
}

// slot is one connection on its way.
type slot struct {
	history.Session
	due int64
}

func (l *dial) Open(ready func()) {
	l.slots = make([]slot, l.spec.Connections)
	for i := range l.slots {
		l.free = append(l.free, uint32(i))
	}
	ready()
}

func (l *dial) Start() {
	l.running = true
	if l.spec.Rate > 0 {
		l.pace(l.spec.Rate, l.next)
		return
	}
	for range l.slots {
		l.next(client.Now())
	}
}

func (l *dial) next(due int64) {
	if len(l.free) == 0 {
		l.env.Count.Late++
		return
	}
	tag := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.slots[tag] = slot{history.Session{ID: l.env.newID(), Role: history.Echo}, due}
	l.dial(l, 0, tag)
}

func (l *dial) Stop(drain time.Duration, done func()) {
	l.running = false
	l.await(drain, func() bool { return len(l.free) == len(l.slots) }, done)
}

func (l *dial) Opened(c *client.Conn) {
	s := &l.slots[c.Tag]
	l.opened(&s.Session, s.due)
	if c.Resumed() {
		l.env.Count.Resumed++
	}
	if l.spec.Size == 0 {
		l.leave(c, s)
		return
	}
	s.Sent = 1
	l.send(c, s.ID, 1, s.Opened)
}

func (l *dial) Message(c *client.Conn, _ client.Opcode, data []byte) {
	s := &l.slots[c.Tag]
	if m, ok := l.parse(&s.Session, data); ok {
		s.Receive(m.Stream, m.Seq)
		l.leave(c, s)
	}
}

func (l *dial) leave(c *client.Conn, s *slot) {
	if s.Asked == 0 {
		s.Asked = client.Now()
		l.env.Loop.Close(c)
	}
}

func (l *dial) Closed(c *client.Conn, err error) {
	s := &l.slots[c.Tag]
	l.closed(&s.Session, err)
	if len(history.Check(&history.History{Sessions: []history.Session{s.Session}})) > 0 {
		l.sessions = append(l.sessions, s.Session)
	} else {
		l.clean++
	}
	l.free = append(l.free, c.Tag)
	if l.running && l.spec.Rate <= 0 {
		// From a fresh turn of the loop: a target that refuses at once must not recurse.
		l.env.Loop.Post(func() {
			if l.running {
				l.next(client.Now())
			}
		})
	}
}

func (l *dial) Report(r *Report) {
	r.Sessions = append(r.Sessions, l.sessions...)
	r.Clean += l.clean
	r.Pending += int64(len(l.slots) - len(l.free))
}
