package worker

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/record"
)

// JoinOption says what a connection has of a channel that it joins.
type JoinOption struct {
	after history.Position
	last  int
}

// From joins a channel with history at a place that a client remembers: it gets
// what was published after it, then what follows, and the handler's OnRecovery
// says whether that is all. With "" and 0 nothing is recovered, and OnRecovery
// tells the position of the join. Text that is no epoch matches none.
func From(epoch string, offset uint64) JoinOption {
	if epoch == "" && offset == 0 {
		return JoinOption{}
	}
	return After(history.Position{Epoch: history.ParseEpoch(epoch), Offset: offset})
}

// After is From by position; the zero one is none.
func After(p history.Position) JoinOption { return JoinOption{after: p} }

// Last joins a channel with history with its newest n messages, or fewer if they
// would be more than a quarter of max_queue.
func Last(n int) JoinOption { return JoinOption{last: max(n, 0)} }

// Recovery tells of a join with a JoinOption that it has taken place: what was
// published before has been sent or is Missed, what comes after follows.
type Recovery struct {
	Channel  string
	After    history.Position // what was asked for; zero = only where the join is
	Position history.Position // of the join
	// Reason says why what was missed cannot be had: then none of it is sent.
	// history.Whole = it is, or nothing was asked for.
	Reason history.Reason
	Count  int // messages that were missed, and are sent
	// Again says that the connection had joined already: this process has lost
	// messages on their way to it, or they were lost with the service. With neither
	// After nor, before, a Position: it has joined while nobody knew the newest message,
	// and now somebody does.
	Again bool

	send func()
}

// Recovered reports whether the client has, or gets, all that it has missed.
func (r *Recovery) Recovered() bool { return r.Reason == history.Whole }

// Send sends what was missed now, so that something can be sent behind it. It is
// sent after OnRecovery otherwise.
func (r *Recovery) Send() {
	if r.send != nil {
		send := r.send
		r.send = nil
		send()
	}
}

// recall are the joins that wait for the history service. It costs nothing to
// connections that do not.
type recall struct {
	apps    channel.Apps
	ordered func(channel string) bool // nil: no channel has history
	shared  bool                      // by all nodes
	of      map[*Conn][]joining
	dirty   []*Conn // may have something to ask
	word    []byte  // of this turn, to the service
	posted  bool    // askAll will run
	ticking bool    // again will run
	away    bool    // the service can number nothing, see ErrUnavailable
	service uint64  // who was the service when it said last where it is
	chains  map[string]*chain
	// followed counts what they were told.
	followed uint64
	// replaying: what is delivered now was delivered here before, to others.
	replaying bool
}

// joining is a join that waits.
type joining struct {
	channel string
	after   history.Position
	last    int
	again   bool
	alone   bool          // its answer is too large to come beside others
	asked   time.Duration // when; 0 = not yet
	born    uint64        // deliveries that had begun by then
}

// recovers reports whether messages are part of the answer, as it does not only
// tell where the join is.
func (j *joining) recovers() bool { return j.after != (history.Position{}) || j.last > 0 }

const (
	joinBatch = 8               // answers of a connection under way, each with as much of the room
	joinAgain = 3 * time.Second // when there was none
	maxWants  = 256 << 10       // bytes of a word
	joinRoom  = 256 << 10       // of an answer where max_queue has no limit
)

// hasHistory reports whether messages of the channel are numbered.
func (l *loop) hasHistory(channel string) bool {
	return l.recall.ordered != nil && l.recall.ordered(channel)
}

// recoveryRoom is what one answer may take: a connection with that much in its
// queue is not asked for.
func (l *loop) recoveryRoom() int {
	if limit := l.w.Limits.MaxQueue; limit > 0 {
		return limit / 4
	}
	return joinRoom
}

// joinFrom begins a join that the service will answer. A channel without history
// is joined at once, and so is one of which nothing is wanted but where it is, if
// this process knows.
//
// Who is a member stays one: what is not of the history, as the news of who comes
// and goes, goes on to reach him. The messages that the answer will have do not,
// see covers.
func (l *loop) joinFrom(c *Conn, channel string, o JoinOption) {
	r := &l.recall
	if !l.hasHistory(channel) {
		l.hub.Join(hub.Channel, channel, c)
		c.route.recovered(c, &Recovery{Channel: channel, After: o.after, Reason: history.Off})
		return
	}
	r.cancel(c, channel)
	if o == (JoinOption{}) {
		if at, ok := r.place(channel); ok {
			l.hub.Join(hub.Channel, channel, c)
			c.route.recovered(c, &Recovery{Channel: channel, Position: at})
			return
		}
	}
	l.await(c, joining{channel: channel, after: o.after, last: o.last})
}

// covers reports whether the answer that c waits for will have the message: then
// it is not sent now. One whose delivery had begun before the join is not in it.
func (r *recall) covers(c *Conn, d *delivery) bool {
	i := r.find(c, d.pub.Target)
	if i < 0 {
		return false
	}
	j := &r.of[c][i]
	return j.recovers() && j.born < d.number
}

// await has the service asked at the end of this turn.
func (l *loop) await(c *Conn, j joining) {
	r := &l.recall
	if r.of == nil {
		r.of = map[*Conn][]joining{}
	}
	j.born = l.fan.begun
	r.of[c] = append(r.of[c], j)
	l.askFor(c)
	if r.away {
		l.letIn(c)
	}
	if !r.ticking {
		r.ticking = true
		l.after(joinAgain, l.askAgain)
	}
}

// letIn has those who wait for the newest message join without it while nobody can say
// which that is. They get it, or hear that there is none, when somebody can. A poll waits
// for it.
func (l *loop) letIn(c *Conn) {
	r := &l.recall
	if c.transport.collect != nil {
		return
	}
	for _, j := range slices.Clone(r.of[c]) {
		i := r.find(c, j.channel)
		if i < 0 || !c.open() || j.again || j.last == 0 || l.w.ChannelRules.Of(j.channel).Mode != channel.Latest {
			continue
		}
		r.of[c][i].again = true
		l.hub.Join(hub.Channel, j.channel, c)
		c.route.recovered(c, &Recovery{Channel: j.channel})
	}
}

// askFor has what waits for c asked for at the end of this turn.
func (l *loop) askFor(c *Conn) {
	r := &l.recall
	r.dirty = append(r.dirty, c)
	if !r.posted {
		r.posted = true
		l.post(l.askAll)
	}
}

func (l *loop) askAll() {
	r := &l.recall
	r.posted = false
	dirty := r.dirty
	r.dirty = nil
	for _, c := range dirty {
		l.askMore(c)
	}
	l.tellWants(0)
}

// askMore asks for the next channels of c, if its queue has room for the
// answers.
func (l *loop) askMore(c *Conn) {
	list := l.recall.of[c]
	room := l.recoveryRoom()
	if len(list) == 0 || !c.sock.Valid() || c.out.len() >= room {
		return
	}
	under := 0
	for i := range list {
		if j := &list[i]; j.asked != 0 {
			if under++; j.alone {
				return
			}
		}
	}
	for i := range list {
		switch j := &list[i]; {
		case j.asked != 0:
		case j.alone && under > 0, under == joinBatch:
			return
		case j.alone:
			l.ask(c, j, room)
			return
		default:
			l.ask(c, j, room/joinBatch)
			under++
		}
	}
}

func (l *loop) ask(c *Conn, j *joining, room int) {
	j.asked = max(l.now, 1)
	l.recall.word = history.AppendWant(l.recall.word, &history.Want{Conn: c.id.String(), Channel: j.channel, After: j.after, Last: j.last, Room: room})
	l.tellWants(maxWants)
}

// tellWants sends what is asked once it is longer than size. What is not taken
// is asked for again later.
func (l *loop) tellWants(size int) {
	if r := &l.recall; len(r.word) > size {
		_ = l.w.Tell(HistoryService, r.word)
		r.word = r.word[:0]
		if cap(r.word) > maxScratch {
			r.word = nil
		}
	}
}

// askAgain asks for what was not answered, as by a broker process that is gone.
func (l *loop) askAgain() {
	r := &l.recall
	r.ticking = len(r.of) > 0
	for c, list := range r.of {
		for i := range list {
			if list[i].asked != 0 && l.now-list[i].asked >= joinAgain {
				list[i].asked = 0
			}
		}
		l.askFor(c)
	}
	if r.ticking {
		l.after(joinAgain, l.askAgain)
	}
}

// meets notes who is the service now. What one before was asked has gone with it.
func (l *loop) meets(service uint64) {
	r := &l.recall
	if r.service == service {
		return
	}
	r.service = service
	for c, list := range r.of {
		for i := range list {
			list[i].asked = 0
		}
		l.askFor(c)
	}
}

// cancel ends a join that waits.
func (r *recall) cancel(c *Conn, channel string) {
	if len(r.of) == 0 {
		return
	}
	if i := r.find(c, channel); i >= 0 {
		r.remove(c, i)
	}
}

func (r *recall) find(c *Conn, channel string) int {
	return slices.IndexFunc(r.of[c], func(j joining) bool { return j.channel == channel })
}

func (r *recall) remove(c *Conn, i int) {
	if list := slices.Delete(r.of[c], i, i+1); len(list) > 0 {
		r.of[c] = list
	} else {
		delete(r.of, c)
	}
}

// forget ends what waits for a connection that is gone.
func (r *recall) forget(c *Conn) {
	if len(r.of) > 0 {
		delete(r.of, c)
	}
}

// recover is one connection's part of an answer: it joins the channel here. It
// returns 1 if there was one that waits for this answer.
func (d *delivery) recover(l *loop, c *Conn) int {
	r, reply := &l.recall, d.reply
	i := r.find(c, d.pub.Target)
	if i < 0 || reply == nil {
		return 0
	}
	j := r.of[c][i]
	if j.after != reply.After || j.last != reply.Last {
		return 0 // an answer to what was asked before
	}
	if reply.Reason == history.Size && reply.Room < l.recoveryRoom() {
		r.of[c][i].alone, r.of[c][i].asked = true, 0
		l.askFor(c)
		return 0
	}
	r.remove(c, i)
	l.hub.Join(hub.Channel, d.pub.Target, c)
	rec := &Recovery{Channel: d.pub.Target, After: j.after, Position: reply.Position, Reason: reply.Reason, Count: reply.Count, Again: j.again}
	if reply.Count > 0 {
		rec.send = func() { d.send(l, c, uint32(reply.Count)) }
	}
	l.holdFor(c) // the answer, its messages and its end are one write
	c.route.recovered(c, rec)
	if c.open() {
		rec.Send()
	}
	l.askFor(c)
	return 1
}

// appendJoining appends what waits for c to its record.
func (r *recall) appendJoining(dst []byte, c *Conn) []byte {
	for _, j := range r.of[c] {
		v := binary.AppendUvarint(nil, uint64(j.after.Epoch))
		v = binary.AppendUvarint(v, j.after.Offset)
		v = binary.AppendUvarint(v, uint64(j.last))
		again := byte(0)
		if j.again {
			again = 1
		}
		dst = record.Append(dst, record.Joining, append(append(v, again), j.channel...))
	}
	return dst
}

// joining reads one.
func (a *arrival) waits(v []byte) error {
	var n [3]uint64
	for i := range n {
		x, w := binary.Uvarint(v)
		if w <= 0 {
			return record.ErrDamaged
		}
		n[i], v = x, v[w:]
	}
	if len(v) < 2 || n[0] > uint64(history.Stranger) || n[2] > 1<<31 {
		return record.ErrDamaged
	}
	a.joining = append(a.joining, joining{
		channel: string(v[1:]), after: history.Position{Epoch: history.Epoch(n[0]), Offset: n[1]}, last: int(n[2]), again: v[0] == 1,
	})
	return nil
}
