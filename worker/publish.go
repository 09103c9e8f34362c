package worker

import (
	"encoding/json"
	"sync"

	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/hub"
)

// maxPublication is the most bytes that one publication carries.
const maxPublication = 1 << 20

// publish hands a publication to the broker; it comes back to this process's
// own members by the same way as to all others.
func (l *loop) publish(kind Kind, scope Scope, target string, m Message, opts []Option) error {
	if len(m.Data) > maxPublication {
		return ErrTooLarge
	}
	p := newPublication(kind, scope, target, m)
	for _, o := range opts {
		p.Except = append(p.Except, o.except...)
	}
	if err := l.takes(&p); err != nil {
		return err
	}
	l.counts.published++
	return l.broker.Publish(&p)
}

func newPublication(kind Kind, scope Scope, target string, m Message) Publication {
	return Publication{
		Kind: kind, Scope: scope, Target: target, Shard: Shard(scope, target),
		Binary: m.Binary, Data: append([]byte(nil), m.Data...),
	}
}

func (l *loop) publishAll(list []ChannelMessage) error {
	if len(list) == 0 {
		return nil
	}
	ps, err := l.publications(list)
	if err != nil {
		return err
	}
	return l.broker.PublishAll(ps)
}

func (l *loop) publications(list []ChannelMessage) ([]Publication, error) {
	ps := make([]Publication, len(list))
	for i := range list {
		m := &list[i]
		if len(m.Data) > maxPublication {
			return nil, ErrTooLarge
		}
		ps[i] = newPublication(KindMessage, ScopeChannel, m.Channel, m.Message)
		ps[i].Except, ps[i].Order, ps[i].Unkept = m.Except, m.Order, m.Unkept
		if err := l.takes(&ps[i]); err != nil {
			return nil, err
		}
	}
	l.counts.published += uint64(len(ps))
	return ps, nil
}

// publishNumbered is publishAll that tells what the history service has said.
func (l *loop) publishNumbered(list []ChannelMessage, done func([]Numbered, bool)) error {
	ps, err := l.publications(list)
	if err != nil {
		return err
	}
	return l.broker.PublishNumbered(ps, historyWait, func(said []Numbered, all bool) {
		l.later(func() { done(said, all) })
	})
}

// takes says why a message of a channel with history cannot be numbered now.
func (l *loop) takes(p *Publication) error {
	if l.recall.away && !p.Unkept && p.Kind == KindMessage && p.Scope == ScopeChannel && l.hasHistory(p.Target) {
		return ErrUnavailable
	}
	return nil
}

func (l *loop) kick(scope Scope, target string, code int, reason string) error {
	return l.broker.Publish(&Publication{
		Kind: KindKick, Scope: scope, Target: target, Shard: Shard(scope, target),
		Code: uint16(code), Data: []byte(reason),
	})
}

// fanout is the queue of publications that have arrived and the state of the
// one that is being delivered. A big one is delivered in chunks, between which
// other work gets its turn; those behind it wait, so that order is kept.
//
// All that a connection gets by the bus goes through here, in one order for the
// process. Only what mu guards is touched by others, the broker client's goroutine;
// it waits there while too much is queued, so that what is too much stays in that
// client's bounded queue, where a loss is counted.
//
// A publication counts as delivered (seen, journal) when its last member has had
// its turn, and no connection moves or arrives before: export and import finish the
// one under way first. So where a process stands can be said in one number for each
// source, and holds for all of its connections.
type fanout struct {
	queue   []Publication
	current *delivery
	begun   uint64  // deliveries
	scratch []byte  // for encoding
	members []*Conn // the snapshot of current, kept for reuse

	seen    heard   // what has been delivered here
	journal journal // of it, during a hand-over

	mu      sync.Mutex
	arrived []Publication // behind queue
	room    *sync.Cond
	bytes   int // of what is in arrived, queue and current; other goroutines wait for it
	shut    bool
}

// delivery is a publication under way to its local connections: those that were
// members when it began. Who joins meanwhile has joined after it; who leaves before
// its turn does not get it any more.
type delivery struct {
	pub     Publication
	number  uint64 // of it, in the life of the process
	members []*Conn
	group   *hub.Group[*Conn]
	removed uint32 // of group, when members was taken
	chosen  bool   // members were named by an Audience: each may be no member
	next    int
	reached int
	told    bool // whoever asked has its answer
	except  []ID
	reply   *history.Reply // of KindRecovery; nil = damaged
	several int            // messages of KindMessages: 0 = not counted yet, -1 = damaged
	frames  frames
	mark    mark // of what is queued
}

const (
	chunk      = 512     // connections that are written to before others get a turn
	maxInbound = 8 << 20 // bytes of publications that wait for the loop
)

// Deliver implements Inbox; it runs on the broker client's goroutine and waits
// while too much is queued.
func (l *loop) Deliver(batch []Publication) {
	size := 0
	for i := range batch {
		size += batch[i].weight()
	}
	f := &l.fan
	f.mu.Lock()
	for f.bytes > maxInbound && !f.shut {
		f.room.Wait()
	}
	f.bytes += size
	f.arrived = append(f.arrived, batch...)
	f.mu.Unlock()
	l.reactor.Wake()
}

// Gap implements Inbox. It comes in the order of what is delivered, but for the loop
// it is news of its own: who is to join again does so from where it stands.
func (l *loop) Gap(publisher uint64, shard uint8, missing uint64) {
	l.post(func() {
		l.counts.gaps += missing
		l.lostIn(shard)
		if l.counts.gapLog.allow(l.now) {
			l.log.Warn("publications were lost on the way to this process", "missing", missing, "shard", shard, "publisher", publisher)
		}
	})
}

// Query implements Inbox.
func (l *loop) Query(q BusQuery) {
	l.post(func() {
		data, err := l.query(q.What, q.Args)
		a := Answer{Worker: l.identity, Data: data}
		if err != nil {
			a.Error = err.Error()
		}
		l.broker.Answer(q.Reply, a)
	})
}

// step delivers up to chunk messages and asks for another turn if there is more.
// What the program's own listeners do with a publication comes before its members,
// and counts as so many.
func (f *fanout) step(l *loop) {
	for budget := chunk; budget > 0; {
		if f.current == nil {
			if len(f.queue) == 0 {
				f.queue = f.take()
			}
			if len(f.queue) == 0 {
				return
			}
			reply := l.follow(&f.queue[0])
			budget -= l.hear(&f.queue[0])
			f.current = l.begins(f.queue[0])
			f.current.reply = reply
			f.current.tell(l)
			f.queue[0] = Publication{}
			f.queue = f.queue[1:]
		}
		budget -= f.current.run(l, budget) + 1
		if f.current.next == len(f.current.members) {
			f.finish(l)
		}
	}
	l.reactor.Wake()
}

// take returns what has arrived since the last call.
func (f *fanout) take() (arrived []Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	arrived, f.arrived = f.arrived, nil
	return arrived
}

// complete delivers the rest of the publication under way, so that no
// connection moves in the middle of one.
func (f *fanout) complete(l *loop) {
	if f.current != nil {
		f.current.run(l, len(f.current.members))
		f.finish(l)
	}
}

// finish answers whoever waits for the count, and gives back the room. The position
// is noted before the journal, both before anybody can begin a hand-over: it is one
// turn.
func (f *fanout) finish(l *loop) {
	d := f.current
	f.current = nil
	switch {
	case d.pub.Kind == kindSync: // nobody gets it, so there is nothing to remember
		l.synced(d.pub.Target)
	case d.pub.Seq > 0:
		f.seen.note(source{d.pub.Publisher, d.pub.Shard}, d.pub.Seq, l.now)
		f.journal.note(d.pub)
	}
	if d.pub.Reply != "" && !d.told {
		l.answerFor(d)
	}
	clear(f.members)
	f.mu.Lock()
	f.bytes -= d.pub.weight()
	f.room.Signal()
	f.mu.Unlock()
}

// newDelivery has no members yet: for replay, which brings its own, there are none.
func (l *loop) newDelivery(p Publication) *delivery {
	l.fan.begun++
	d := &delivery{pub: p, number: l.fan.begun}
	for _, s := range p.Except {
		if id, ok := ParseID(s); ok {
			d.except = append(d.except, id)
		}
	}
	return d
}

// begins finds the connections that a publication is for.
func (l *loop) begins(p Publication) *delivery {
	d := l.newDelivery(p)
	d.mark = l.w.markOf(&p)
	f := &l.fan
	f.members = f.members[:0]
	switch p.Scope {
	case ScopeConn:
		if c := l.conns.named(p.Target); c != nil {
			f.members = append(f.members, c)
		}
	case ScopeList:
		for _, s := range p.Conns {
			if c := l.conns.named(s); c != nil {
				f.members = append(f.members, c)
			}
		}
	case ScopeAll:
		if p.Target == "" || p.Target == l.w.Name {
			f.members = append(f.members, l.conns.all...)
		}
	case ScopeUID:
		d.group = l.hub.Group(hub.UID, p.Target)
	case ScopeChannel:
		d.group = l.hub.Group(hub.Channel, p.Target)
	}
	if d.group != nil {
		f.members = append(f.members, d.group.Members()...)
		d.removed = d.group.Removed()
	}
	if l.audiences != nil && p.Scope == ScopeChannel {
		l.audience(d)
	}
	d.members = f.members
	if cap(f.members) > maxSnapshot {
		f.members = nil
	}
	return d
}

// tell answers before a fan-out of several chunks, whose writes take longer than
// people wait: with how many connections the message will be queued for. One
// that leaves meanwhile counts all the same.
func (d *delivery) tell(l *loop) {
	if d.pub.Reply == "" || d.pub.Kind != KindMessage || len(d.members) <= chunk {
		return
	}
	for _, c := range d.members {
		if d.includes(c) && (l.w.Slow != SlowClose || l.fits(c, len(d.pub.Data))) {
			d.reached++
		}
	}
	d.told = true
	l.answerFor(d)
}

// maxSnapshot is the longest list of members that is kept for reuse.
const maxSnapshot = 32 << 10

// run acts on up to n connections and returns how many it looked at. What acting on
// one does, close others or take them out of the group, is seen by includes.
func (d *delivery) run(l *loop, n int) int {
	end := min(d.next+n, len(d.members))
	for i := d.next; i < end; i++ {
		l.progress.Add(1)
		if c := d.members[i]; d.includes(c) {
			if n := d.act(l, c); !d.told {
				d.reached += n
			}
		}
	}
	n = end - d.next
	d.next = end
	return n
}

// includes reports whether c is to get it: it may have left since the snapshot.
func (d *delivery) includes(c *Conn) bool {
	l := c.loop
	if !c.open() || c.has(flagSkip) && l.skip.has(c, &d.pub) {
		return false
	}
	if d.pub.Stamp != nil && len(l.recall.of) > 0 && l.recall.covers(c, d) {
		return false
	}
	if d.group != nil && (d.chosen || d.removed != d.group.Removed()) && !c.groups.In(d.group) {
		return false
	}
	for i := range d.except {
		if d.except[i] == c.id {
			return false
		}
	}
	return true
}

// act does to one connection what the publication says. It returns 1 if that
// was done. Callbacks may run in it. A kind that is not known, of a later version,
// does nothing.
func (d *delivery) act(l *loop, c *Conn) int {
	p := &d.pub
	switch p.Kind {
	case KindMessage:
		if c.route.onFilter != nil {
			if m := published(p, p.Data); !c.passes(&m) || !c.open() {
				return 0
			}
		}
		return d.send(l, c, 1)
	case KindMessages:
		return d.send(l, c, d.count())
	case KindService:
		if c.route.serviceNotice(c, p) && c.open() {
			return d.send(l, c, 1)
		}
	case KindRecovery:
		return d.recover(l, c)
	case KindKick:
		c.Close(int(p.Code), string(p.Data))
	case KindBind:
		c.Bind(string(p.Data))
	case KindUnbind:
		if len(p.Data) == 0 || c.UID() == string(p.Data) {
			c.Unbind()
		}
	case KindJoin, KindLeave:
		var names []string
		if json.Unmarshal(p.Data, &names) != nil {
			return 0
		}
		for _, name := range names {
			if p.Kind == KindJoin {
				c.Join(name)
			} else {
				c.Leave(name)
			}
		}
	default:
		return 0
	}
	return 1
}

// send queues the publication for one connection, as so many messages. The frame
// belongs to all that get it and never changes.
func (d *delivery) send(l *loop, c *Conn, messages uint32) int {
	p := &d.pub
	if messages == 0 || l.room(c, len(p.Data), d.mark) != nil {
		return 0
	}
	frame := d.frames.of(c, p)
	if len(frame) == 0 { // all of it is for others
		return 0
	}
	c.sentMessages(messages)
	l.counts.messagesOut += uint64(messages)
	if p.Stamp != nil && c.transport.collect != nil {
		c.stands(p.Stamp.Position, false)
	}
	l.share(c, frame, d.mark)
	if c.has(flagDead) {
		return 0
	}
	return 1
}

// count returns the number of messages in KindMessages; damaged ones are none.
func (d *delivery) count() uint32 {
	if d.several == 0 {
		n, err := EachMessage(d.pub.Data, nil)
		if d.several = n; n == 0 || err != nil {
			d.several = -1
		}
	}
	return uint32(max(d.several, 0))
}
