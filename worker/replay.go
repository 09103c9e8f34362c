package worker

import (
	"slices"
	"time"

	"github.com/pushd/pushd/worker/connid"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/history"
)

// Each connection that comes from another process gets each publication once. What it
// stood at when it left there is a vector; what this process has delivered beyond that
// is in its journal and is given to it at once (replay); what the other one had already
// delivered and this one has yet to hear of is skipped when it arrives.

// closeJournal ends the journal. What it has dropped may be missing to clients
// that were on their way.
func (l *loop) closeJournal() {
	if lost := l.fan.journal.Close(); lost > 0 {
		l.counts.gaps += uint64(lost)
		l.log.Warn("journal of the hand-over overflowed", "publications", lost)
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
			if d.targets(c, l) && d.includes(c) {
				d.reached += d.act(l, c)
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

// skipped notes that conns stood at v, ahead of this process.
func (l *loop) skipped(conns []*Conn, v delivered.Vector) {
	for _, c := range conns {
		c.set(flagSkip)
	}
	l.skip.Add(conns, v)
}

// dropSkips ends that.
func (l *loop) dropSkips(conns []*Conn) {
	for _, c := range conns {
		c.clear(flagSkip)
	}
	l.skip.Drop(conns)
}

// skipFor is how long a publication that the old worker has delivered may still be
// on its way through the broker, at least.
const skipFor = 10 * time.Second

// unskip drops conns when all that had reached the broker by now has been delivered
// here, however far behind this process is. While the broker is away it asks again.
func (l *loop) unskip(conns []*Conn) {
	token := connid.New().String()
	l.syncs[token] = func() { l.dropSkips(conns) }
	var ask func()
	ask = func() {
		if l.syncs[token] != nil {
			_ = l.broker.Barrier(true, func() { l.arrive(token) })
			l.after(skipFor, ask)
		}
	}
	ask()
}
