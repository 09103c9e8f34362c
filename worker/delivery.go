package worker

import (
	"encoding/json"

	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/hub"
)

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
		if n := d.give(l, d.members[i]); !d.told {
			d.reached += n
		}
	}
	n = end - d.next
	d.next = end
	return n
}

// give acts on a connection that is to get it, and returns 1 if it gets it: now, or
// with the answer that it waits for.
func (d *delivery) give(l *loop, c *Conn) int {
	switch {
	case !d.includes(c):
		return 0
	case d.pub.Stamp != nil && len(l.recall.of) > 0 && l.recall.covers(c, d):
		return 1
	}
	return d.act(l, c)
}

// includes reports whether c is to get it: it may have left since the snapshot.
func (d *delivery) includes(c *Conn) bool {
	if !c.open() || c.has(flagSkip) && c.loop.skip.Has(c, &d.pub) {
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
	frame, err := d.frames.of(c, p)
	if err != nil { // nobody who speaks so gets it
		l.closeConn(c, 1011, internalError, err)
		return 0
	}
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
