package load

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// quietTime is how long nothing must have arrived before members are taken to
// have all. Of slow ones the server still holds what it could not write, and may
// be busy with a reload: what it sends late is not lost.
const (
	quietTime     = 500 * time.Millisecond
	slowQuietTime = 3 * time.Second
)

// members belong to channels and note what they receive there. Some of them
// may leave and be replaced, talk to their channel, or read slowly.
type members struct {
	base
	conns   []*client.Conn // by tag, which is the index of the session
	dialed  []int64
	seats   []uint32 // tags of those that stand
	talk    map[uint32]*history.Stream
	watched round // the watched stream
	arrived int64 // when the latest message came

	stopping bool
}

func (l *members) Open(ready func()) {
	l.talk = map[uint32]*history.Stream{}
	n := l.spec.Connections
	l.seats = make([]uint32, n)
	l.opener.open(n, l.spec.Window, l.join, func() {
		if l.spec.SlowBytes > 0 {
			l.readSlowly()
		}
		ready()
	})
}

// join fills a seat with a new connection.
func (l *members) join(seat int) {
	role := history.Member
	if l.spec.SlowBytes > 0 {
		role = history.Slow
	}
	room := seat % len(l.spec.Rooms)
	tag := uint32(len(l.sessions))
	l.sessions = append(l.sessions, history.Session{ID: l.env.newID(), Role: role, Channel: l.spec.Prefix + l.spec.Rooms[room]})
	l.dialed = append(l.dialed, client.Now())
	l.seats[seat] = tag
	l.conns = append(l.conns, l.dial(l, room, tag))
}

func (l *members) Start() {
	if len(l.seats) == 0 {
		return
	}
	l.running = true
	l.pace(l.spec.Churn, func(int64) { l.replace() })
	if l.spec.Size > 0 {
		l.pace(l.spec.Rate, l.say)
	}
}

// replace lets one member leave and another join in its seat.
func (l *members) replace() {
	seat := rand.IntN(len(l.seats))
	tag := l.seats[seat]
	c := l.conns[tag]
	if !c.Open() {
		return
	}
	l.sessions[tag].Asked = client.Now()
	l.env.Loop.Close(c)
	l.join(seat)
}

// say lets one member talk to its channel.
func (l *members) say(due int64) {
	tag := l.seats[rand.IntN(len(l.seats))]
	c, s := l.conns[tag], &l.sessions[tag]
	if !c.Open() {
		return
	}
	stream := l.talk[tag]
	if stream == nil {
		stream = &history.Stream{ID: s.ID, Channel: s.Channel}
		l.talk[tag] = stream
	}
	now := client.Now()
	stream.Publishes = append(stream.Publishes, history.Publish{Start: now, End: now})
	l.send(c, s.ID, uint32(len(stream.Publishes)), due)
}

// readSlowly hands every slow member its share ten times a second.
func (l *members) readSlowly() {
	for _, tag := range l.seats {
		if c := l.conns[tag]; c.Open() && l.sessions[tag].Asked == 0 {
			l.env.Loop.ReadSome(c, max(l.spec.SlowBytes/10, 1))
		}
	}
	l.env.Loop.After(100*time.Millisecond, func() {
		if !l.stopping {
			l.readSlowly()
		}
	})
}

func (l *members) Stop(drain time.Duration, done func()) {
	l.running, l.stopping = false, true
	for _, tag := range l.seats {
		if c := l.conns[tag]; c.Open() {
			l.env.Loop.Resume(c)
		}
	}
	quiet := quietTime
	if l.spec.SlowBytes > 0 {
		quiet = slowQuietTime
	}
	l.arrived = client.Now()
	l.await(drain, func() bool { return client.Now()-l.arrived > int64(quiet) }, done)
}

func (l *members) Opened(c *client.Conn) {
	l.opened(&l.sessions[c.Tag], l.dialed[c.Tag])
	if l.spec.SlowBytes > 0 && !l.stopping {
		l.env.Loop.Pause(c)
	}
	l.opener.done()
}

func (l *members) Message(c *client.Conn, _ client.Opcode, data []byte) {
	s := &l.sessions[c.Tag]
	m, ok := l.parse(s, data)
	if !ok {
		return
	}
	now := client.Now()
	l.arrived = now
	s.Receive(m.Stream, m.Seq)
	if s.Role == history.Member {
		l.env.observe("delivery", m.Sent, now)
	}
	if m.Stream == l.spec.Watch && l.watched.arrived(m.Seq, int64(len(l.seats)), now) {
		l.env.Seen(m.Seq)
	}
}

func (l *members) Closed(c *client.Conn, err error) {
	s := &l.sessions[c.Tag]
	l.closed(s, err)
	var end *client.CloseError
	s.Cut = s.Role == history.Slow && s.Opened > 0 && (l.spec.CutOK || errors.As(err, &end) && end.Code == 1013)
	if s.Opened == 0 {
		l.opener.done()
	}
}

func (l *members) Report(r *Report) {
	r.Sessions = append(r.Sessions, l.sessions...)
	for _, s := range l.talk {
		r.Streams = append(r.Streams, *s)
	}
	r.Last = append(r.Last, l.watched.last...)
}
