package keeper

import (
	"time"

	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// What was told may have waited in the queue of its node, for a receiver that was away
// or while the node was, and others may have told something newer meanwhile, which the
// webhooks have heard before it. So what they have heard late is looked at, once it is
// known here what is so, and what is not so any more is told once more.

// lateHook is what the webhooks have heard late.
type lateHook struct {
	at     time.Time // when they heard it
	here   bool
	number bool
	n      int // of a count
}

// lateKey is what such an event is about.
type lateKey struct {
	key
	count bool // how many a channel has
}

// lateHooks is whom the queue says it to. Where there are no other nodes all is told in
// order.
func (k *Keeper) lateHooks() hook.Late {
	if k.mirror.node == "" {
		return nil
	}
	return func(app string, events []hook.Event, at time.Time) {
		k.env.After(0, func() { k.noteLate(app, events, at) })
		k.env.After(amendTime, func() {
			k.ledger.ripe = true
			k.flush()
		})
	}
}

func (k *Keeper) noteLate(app string, events []hook.Event, at time.Time) {
	limit := maxRecent
	if !k.settled {
		limit = maxWaiting // a whole journal may come before
	}
	for _, e := range events {
		if len(k.ledger.late) < limit {
			about := lateKey{key{e.UserID, Name(app, e.Channel)}, e.Name == "subscription_count"}
			here := e.Name == "member_added" || e.Name == "channel_occupied"
			k.ledger.late[about] = lateHook{at, here, e.Number, e.SubscriptionCount}
		}
	}
}

// makeGood looks at what was heard late, so long ago: the change that it is behind, or
// the word that it was told, may be under way. The lists of the others are needed for
// it, unless this node leaves and others judge. One that knows of no others is behind
// nobody.
func (k *Keeper) makeGood(age time.Duration) {
	l, now := &k.ledger, k.env.Now()
	if len(l.late) == 0 || !k.settled || len(k.mirror.holds) == 0 || !k.mirror.whole() && !k.mirror.yields() {
		return
	}
	l.ripe = false
	for about, h := range l.late {
		if now.Sub(h.at) < age {
			continue // it has a time of its own
		}
		delete(l.late, about)
		if about.count {
			k.recountLate(about.channel, h)
		} else {
			k.heardLate(about.key, h)
		}
	}
}

// heardLate takes in what the webhooks have heard late of somebody, unless it is so and
// nobody believes that they are to be told. When another node has told is known by about
// the time that words take; in doubt they are told once too often.
func (k *Keeper) heardLate(at key, h lateHook) {
	l, so := &k.ledger, k.here(at) == h.here
	d, last := l.owed[at], l.told[at]
	doubt := amendTime
	if last.by == k.mirror.node {
		doubt = 0
	}
	if !k.accounts(at) || so && d == nil && !k.mirror.yields() || last.at.After(h.at.Add(doubt)) {
		return
	}
	if k.pays() && (!so && d == nil || last.at.After(h.at.Add(-doubt))) {
		k.pay(at, &debt{number: h.number}, k.here(at))
		return
	}
	o := toldOp(at, h.here, &debt{by: k.mirror.node, number: h.number})
	o.Joined = 1 + int(k.env.Now().Sub(h.at).Milliseconds())
	k.mirror.say(o)
	l.came = k.env.Now()
	k.heardTold(&o)
}

// recountLate tells again how many connections a channel has, if the webhooks have
// heard another number.
func (k *Keeper) recountLate(name string, h lateHook) {
	app, channel := k.app(name)
	t := k.counts.channels[name]
	if t == nil {
		t = &tally{}
	}
	if app != nil && t.told != h.n && t.told != untold && !t.since.After(h.at) {
		k.hook(app.ID, hook.Event{Name: "subscription_count", Channel: channel, SubscriptionCount: t.told})
	}
}
