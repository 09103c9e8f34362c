package keeper

import (
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// counts are the connections of channels over all processes. Only apps that
// want to know tell them: subscription_count, or webhooks of it or of
// channel_occupied and channel_vacated.
type counts struct {
	channels map[string]*tally
	changed  map[string]*tally // to be told of
	due      bool
	handed   map[string]savedTally // by the keeper before; nil = it has left none, or this one is settled
}

// tally is one channel's.
type tally struct {
	n        int  // on all nodes
	own      int  // on this one
	said     int  // what the peers know of own
	known    bool // what has changed is no news for webhooks
	told     int  // what n was when it was told last
	occupied bool // what was told last
	seen     bool // somebody was there since, though only for a moment
	doubt    bool // another node has told of it when there was no keeper here
	lacks    bool // connections of before the keeper began that no worker has told of yet
	since    time.Time
}

const (
	countPause    = 25 * time.Millisecond // over which changes are collected
	countCrowd    = 100                   // connections above which …
	countInterval = 5 * time.Second       // … a channel's count is told at most this often
)

func (c *counts) init() { c.channels, c.changed = map[string]*tally{}, map[string]*tally{} }

// count takes the number of connections that one process has in a channel.
func (k *Keeper) count(l *lease, o *op) {
	t := k.tally(o.Channel)
	t.n += o.N - l.counts[o.Channel]
	t.own += o.N - l.counts[o.Channel]
	t.seen = t.seen || t.n > 0
	if !k.settled {
		l.noteNews(o)
	}
	if l.counts[o.Channel] = o.N; o.N == 0 {
		delete(l.counts, o.Channel)
	}
}

// tally returns a channel's, to be told of soon.
func (k *Keeper) tally(name string) *tally {
	c := &k.counts
	t := c.channels[name]
	if t == nil {
		t = &tally{}
		c.channels[name] = t
	}
	c.changed[name] = t
	k.countSoon(countPause)
	return t
}

// present and absent note that a presence channel has got its first user or
// lost the last one. Whoever leaves before his own process knows that he is in
// is a member that others were told of, and so the channel was occupied.
func (k *Keeper) present(r *room) {
	if Counted(r.app) {
		t := k.tally(r.name)
		t.seen, t.known = true, t.known || k.mirror.silent()
	}
}

func (k *Keeper) absent(r *room) {
	if Counted(r.app) {
		k.tally(r.name)
	}
}

// occupied reports whether there is somebody in a channel.
func (k *Keeper) occupied(name string, t *tally) bool {
	r := k.rooms[name]
	return t.n > 0 || r != nil && len(r.users) > 0
}

// sayCount tells the peers how many connections this node has in a channel.
func (k *Keeper) sayCount(name string, t *tally) {
	if k.mirror.open && t.said != t.own {
		t.said = t.own
		k.mirror.noteCount(name)
		k.mirror.say(op{Kind: opCount, Channel: name, N: t.own})
	}
}

// countPeer takes the number of connections that another node has in a channel.
func (k *Keeper) countPeer(p *peer, name string, n int) {
	if k.apps[appOf(name)] == nil {
		return
	}
	t := k.tally(name)
	t.n += n - p.counts[name].n
	t.seen = t.seen || t.n > 0
	t.known = t.known || k.mirror.silent()
	if n == 0 {
		delete(p.counts, name)
	} else {
		p.counts[name] = counted{n, p.list}
	}
}

func (k *Keeper) countSoon(wait time.Duration) {
	if c := &k.counts; !c.due && k.settled {
		c.due = true
		k.env.After(wait, func() {
			c.due = false
			k.tellCounts()
			k.payFresh()
		})
	}
}

// tellCounts tells of the channels that have changed. While connections are on
// their way between two processes both count them, so it waits.
func (k *Keeper) tellCounts() {
	c := &k.counts
	wait := countInterval
	if k.leases.moving() {
		k.countSoon(sweepPause)
		return
	}
	now := k.env.Now()
	gathered := k.gathered()
	for name, t := range c.changed {
		if t.lacks && t.n < t.told && !gathered {
			wait = min(wait, sweepPause)
			continue
		}
		k.sayCount(name, t)
		if left := countInterval - now.Sub(t.since); t.n > countCrowd && t.told > 0 && left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(c.changed, name)
		k.tellCount(name, t, now)
		if t.n == 0 && !t.occupied {
			delete(c.channels, name)
		}
	}
	if len(c.changed) > 0 {
		k.countSoon(wait)
	}
}

// tellCount tells of one channel what has changed since the last time.
func (k *Keeper) tellCount(name string, t *tally, now time.Time) {
	before, occupied := *t, k.occupied(name, t)
	t.told, t.occupied, t.seen, t.known, t.doubt, t.lacks = t.n, occupied, false, false, false, false
	app, channel := k.app(name)
	if app == nil {
		return
	}
	if !before.occupied && (occupied || before.seen) {
		k.hookAlone(app.ID, hook.Event{Name: "channel_occupied", Channel: channel})
	}
	if t.n != before.told {
		t.since = now
		k.tellSubscriptions(app, name, channel, t, !before.known && k.mirror.tells(name, ofCounts))
	}
	if !occupied && (before.occupied || before.seen) {
		k.hookAlone(app.ID, hook.Event{Name: "channel_vacated", Channel: channel})
	}
	k.turnedChannel(key{"", name}, t, &before)
}

// turnedChannel enters into the ledger what has become of a channel.
func (k *Keeper) turnedChannel(at key, t, before *tally) {
	switch {
	case before.known:
		k.assume(at, false)
	case t.occupied != before.occupied:
		k.turned(at, false)
	case !t.occupied && before.seen: // for a moment
		t.occupied = true
		k.turned(at, false)
		t.occupied = false
		k.turned(at, false)
	}
}

// tellSubscriptions tells how many connections a channel has.
func (k *Keeper) tellSubscriptions(app *wire.App, name, channel string, t *tally, hooks bool) {
	if wire.IsPresence(channel) {
		return
	}
	here := t.own > 0 || k.mirror.node == ""
	if app.SubscriptionCount && t.n > 0 && here && !k.parting {
		// As membership: it does not supersede what is said in the channel.
		k.publish(severalTo(name, worker.AppendMessage(nil, wire.SubscriptionCount(channel, t.n))))
	}
	if hooks {
		k.hook(app.ID, hook.Event{Name: "subscription_count", Channel: channel, SubscriptionCount: t.n})
	}
}
