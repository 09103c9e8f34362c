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
}

// tally is one channel's.
type tally struct {
	n     int
	told  int // what n was when it was told last
	since time.Time
}

const (
	countPause    = 25 * time.Millisecond // over which changes are collected
	countCrowd    = 100                   // connections above which …
	countInterval = 5 * time.Second       // … a channel's count is told at most this often
)

func (c *counts) init() { c.channels, c.changed = map[string]*tally{}, map[string]*tally{} }

// count takes the number of connections that one process has in a channel.
func (k *Keeper) count(l *lease, o *op) {
	c := &k.counts
	t := c.channels[o.Channel]
	if t == nil {
		t = &tally{}
		c.channels[o.Channel] = t
	}
	t.n += o.N - l.counts[o.Channel]
	if l.counts[o.Channel] = o.N; o.N == 0 {
		delete(l.counts, o.Channel)
	}
	c.changed[o.Channel] = t
	k.countSoon(countPause)
}

// settle takes what was announced for known.
func (c *counts) settle() {
	for _, t := range c.changed {
		t.told = t.n
	}
}

func (k *Keeper) countSoon(wait time.Duration) {
	if c := &k.counts; !c.due && k.settled {
		c.due = true
		k.env.After(wait, func() {
			c.due = false
			k.tellCounts()
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
	for name, t := range c.changed {
		if left := countInterval - now.Sub(t.since); t.n > countCrowd && t.told > 0 && left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(c.changed, name)
		if t.n != t.told {
			k.tellCount(name, t)
			t.told, t.since = t.n, now
		}
		if t.n == 0 {
			delete(c.channels, name)
		}
	}
	if len(c.changed) > 0 {
		k.countSoon(wait)
	}
}

func (k *Keeper) tellCount(name string, t *tally) {
	app, channel := k.app(name)
	if app == nil {
		return
	}
	if t.told == 0 {
		k.hook(app.ID, hook.Event{Name: "channel_occupied", Channel: channel})
	}
	if !wire.IsPresence(channel) {
		if app.SubscriptionCount && t.n > 0 {
			// As membership: it does not supersede what is said in the channel.
			k.publish(severalTo(name, worker.AppendMessage(nil, wire.SubscriptionCount(channel, t.n))))
		}
		k.hook(app.ID, hook.Event{Name: "subscription_count", Channel: channel, SubscriptionCount: t.n})
	}
	if t.n == 0 {
		k.hook(app.ID, hook.Event{Name: "channel_vacated", Channel: channel})
	}
}
