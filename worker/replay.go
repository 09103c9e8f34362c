package worker

import (
	"slices"
	"time"

	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/history"
)

// Each connection that comes from another process gets each publication once. What it
// stood at when it left there is a vector; what this process has delivered beyond that
// is in its journal and is given to it at once (replay); what the other one had already
// delivered and this one has yet to hear of is skipped when it arrives.

// heirWait is how long an heir that is ready keeps its journal for a hand-over that
// does not begin.
const heirWait = time.Minute

// journalBegins opens the journal of a process that takes others' connections over. That
// of an heir is open from its beginning; else there is what was delivered before.
func (l *loop) journalBegins() {
	if l.fan.journal.On() {
		return
	}
	l.fan.journal.OpenBehind(l.fan.seen.Vector())
	for _, ch := range l.recall.chains {
		last := ch.last
		ch.begin = &last
	}
}

// closeJournal ends the journal.
func (l *loop) closeJournal() {
	l.fan.journal.Close()
	for _, ch := range l.recall.chains {
		ch.begin = nil
	}
}

// lackedBy counts and tells what the journal does not have for those that stood at v.
func (l *loop) lackedBy(v delivered.Vector) {
	if lost := l.fan.journal.Lacks(v); lost > 0 {
		l.counts.gaps += lost
		l.log.Warn("the journal of the hand-over does not have all that clients on their way are missing", "publications", lost)
	}
}

// replay delivers to conns, which stood at v, what the journal has beyond it.
// Each entry is encoded once. It reports whether anybody got a further answer.
func (l *loop) replay(conns []*Conn, v delivered.Vector) (further bool) {
	l.recall.replaying = true
	defer func() { l.recall.replaying = false }()
	l.fan.journal.After(v, func(p *Publication) {
		d := l.newDelivery(*p)
		if p.Kind == KindRecovery {
			if reply, err := history.ParseReply(p.Data); err == nil {
				d.reply = &reply
			}
		}
		d.mark = l.w.markOf(p)
		l.progress.Add(1)
		for _, c := range conns {
			if d.targets(c, l) {
				d.reached += d.give(l, c)
			}
		}
		further = l.credit(p, d.reached) || further
	})
	return further
}

// targets reports whether the publication is for c, by name.
func (d *delivery) targets(c *Conn, l *loop) bool {
	switch d.pub.Scope {
	case ScopeConn:
		return c.id.String() == d.pub.Target
	case ScopeUID:
		return c.UID() == d.pub.Target
	case ScopeList:
		return slices.Contains(d.pub.Conns, c.id.String())
	case ScopeAll:
		return d.pub.Target == "" || d.pub.Target == l.w.Name
	}
	return c.InChannel(d.pub.Target)
}

// skipped notes that conns stood at v, ahead of this process, and returns what is kept
// of that.
func (l *loop) skipped(conns []*Conn, v delivered.Vector) delivered.Vector {
	for _, c := range conns {
		c.set(flagSkip)
	}
	return l.skip.Add(conns, v)
}

// dropSkips ends that.
func (l *loop) dropSkips(conns []*Conn) {
	for _, c := range conns {
		c.clear(flagSkip)
	}
	l.skip.Drop(conns)
}

// skipFor is how long a publication that the old worker has delivered may still be
// on its way through the broker, at least; skipMost, through several of them.
const (
	skipFor  = 10 * time.Second
	skipMost = 10 * time.Minute
)

// unskip drops conns, which stood at v, when all that had reached the broker by now has
// been delivered here, however far behind this process is. While the broker is away it
// asks again. Where there are several, one of them knows only what has reached itself:
// then what has not come yet may be late, or lost; in the end it is lost.
func (l *loop) unskip(conns []*Conn, v delivered.Vector, until time.Duration) {
	token := l.ids.New().String()
	l.syncs[token] = func() {
		if l.fan.seen.Covers(v) || l.now >= until {
			l.dropSkips(conns)
		} else {
			l.after(skipFor, func() { l.unskip(conns, v, until) })
		}
	}
	var ask func()
	ask = func() {
		if l.syncs[token] != nil {
			_ = l.broker.Barrier(true, func() { l.arrive(token) })
			l.after(skipFor, ask)
		}
	}
	ask()
}
