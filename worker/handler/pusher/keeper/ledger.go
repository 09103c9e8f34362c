package keeper

import (
	"maps"
	"time"

	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// Where there are several nodes, all of them know what the webhooks have heard last
// of each user in a channel, and of each channel: what is so, unless it is in the
// ledger. Of a change the first node for the channel is to tell (teller.go), and says
// so to the others when it has. So whoever is left, or has come, tells what is still
// owed, and the last word is what is so. One who is back before his end was told is
// owed nothing, wherever he is. A node that is alone leaves the waiting to its queue.

// ledger is what the webhooks are to be told, by user and channel, or by channel
// alone: that it has come, or gone, as it is now.
type ledger struct {
	owed   map[key]*debt
	fresh  []key                // to be told at the end of the word in hand
	look   bool                 // the others are looked at soon
	told   map[key]told         // lately, the latest of each, for peers that have missed the word
	swept  time.Time            // when the old ones of these were forgotten
	came   time.Time            // the word in hand, which may have waited
	past   bool                 // what has waited is being made good: others may have told it meanwhile
	taken  []savedDebt          // from the keeper before; of the time before this one is settled
	untold map[key]bool         // who is not here and, as others or the keeper before say, was never told of
	late   map[lateKey]lateHook // what the webhooks have heard only now, and is not looked at yet
	ripe   bool                 // some of that is to be looked at
}

type debt struct {
	by     string // the node that is to tell
	due    time.Time
	number bool // the user's id is told as a number
}

// told is what a node has told.
type told struct {
	by     string
	at     time.Time
	here   bool
	number bool
}

const (
	// amendTime is how long a node waits with what it believes the webhooks have
	// missed: the change, or the word that it was told, may be under way.
	amendTime = 250 * time.Millisecond
	// overdueTime is how long the others leave a debt to the node that is to pay it,
	// as long as that one is not lost: it may know nothing of it. It is longer than a
	// keeper takes to settle.
	overdueTime = 12 * time.Second
)

// accounts reports whether the nodes have an account of what is at.
func (k *Keeper) accounts(at key) bool {
	app := k.apps[appOf(at.channel)]
	if k.mirror.node == "" || k.hooks == nil || app == nil {
		return false
	}
	if at.conn == "" {
		return app.Hooks("channel_occupied") || app.Hooks("channel_vacated")
	}
	return app.Hooks("member_added") || app.Hooks("member_removed")
}

// here reports whether what is at is there.
func (k *Keeper) here(at key) bool {
	if at.conn == "" {
		t := k.counts.channels[at.channel]
		return t != nil && t.occupied
	}
	r := k.rooms[at.channel]
	return r != nil && r.users[at.conn] != nil
}

// turned takes note of somebody who has come or gone, or of a channel.
func (k *Keeper) turned(at key, number bool) {
	if !k.accounts(at) {
		return
	}
	l := &k.ledger
	d, here := l.owed[at], k.here(at)
	switch {
	case k.mirror.silent():
		k.assume(at, number)
	case d == nil:
		k.owe(at, number)
	case here || d.by != k.mirror.node || k.env.Now().Before(d.due) || l.past || !k.pays():
		delete(l.owed, at) // the webhooks believe it
	default: // however short it was there, it was
		k.pay(at, d, true)
		k.owe(at, number)
	}
}

// assume takes for told what is so: who has told of it knows, unless the opposite was
// told lately, by one who did not know of it yet.
func (k *Keeper) assume(at key, number bool) {
	l := &k.ledger
	delete(l.owed, at)
	last, heard := l.told[at]
	if l.untold[at] && k.here(at) || heard && last.here != k.here(at) && k.env.Now().Sub(last.at) <= recentTime {
		k.owe(at, number)
	}
	delete(l.untold, at)
}

// owe has the teller tell what is so now.
func (k *Keeper) owe(at key, number bool) {
	if !k.accounts(at) || k.ledger.owed[at] != nil {
		return
	}
	wait := time.Duration(0)
	switch {
	case !k.here(at):
		wait = hook.Hold
	case k.fresh():
		wait = amendTime
	}
	k.record(at, k.mirror.teller(at), wait, number)
	if k.mirror.yields() { // the others hear no changes of this node any more
		k.mirror.say(toldOp(at, !k.here(at), k.ledger.owed[at]))
	}
}

func (k *Keeper) record(at key, by string, wait time.Duration, number bool) {
	l := &k.ledger
	l.owed[at] = &debt{by, k.env.Now().Add(wait), number}
	if wait == 0 {
		l.fresh = append(l.fresh, at)
	}
	k.lookSoon()
}

// fresh reports whether the keeper has begun a moment ago with nothing from one
// before: others may know better what was told.
func (k *Keeper) fresh() bool {
	return !k.mirror.heir && len(k.mirror.nodes) > 0 && k.env.Now().Sub(k.leases.started) < settleTime
}

// payFresh tells what is due since the word in hand.
func (k *Keeper) payFresh() {
	l := &k.ledger
	if !k.settled || len(l.fresh) == 0 {
		return
	}
	now := k.env.Now()
	for _, at := range l.fresh {
		if d := l.owed[at]; d != nil && d.by == k.mirror.node && !now.Before(d.due) && k.pays() {
			k.pay(at, d, k.here(at))
		}
	}
	l.fresh = l.fresh[:0]
}

// pays reports whether this node tells at all. One that leaves is no teller for the
// others any more.
func (k *Keeper) pays() bool { return k.settled && !k.mirror.yields() }

// pay tells that what is at is there, or is not.
func (k *Keeper) pay(at key, d *debt, here bool) {
	delete(k.ledger.owed, at)
	app, channel := k.app(at.channel)
	if app == nil {
		return
	}
	k.hook(app.ID, hook.Event{Name: eventOf(at, here), Channel: channel, UserID: at.conn, Number: d.number, Waited: true})
	o := toldOp(at, here, d)
	o.Joined = 1
	k.mirror.say(o)
	k.ledger.remember(at, told{k.mirror.node, k.env.Now(), here, d.number})
	delete(k.ledger.late, lateKey{key: at})
}

// remember notes what was told.
func (l *ledger) remember(at key, t told) {
	if t.at.Sub(l.swept) > recentTime || len(l.told) >= maxRecent {
		l.swept = t.at
		maps.DeleteFunc(l.told, func(_ key, u told) bool { return t.at.Sub(u.at) > recentTime || len(l.told) >= maxRecent })
	}
	l.told[at] = t
}

func eventOf(at key, here bool) string {
	switch {
	case at.conn != "" && here:
		return "member_added"
	case at.conn != "":
		return "member_removed"
	case here:
		return "channel_occupied"
	}
	return "channel_vacated"
}

// lookSoon looks at what is owed in a while.
func (k *Keeper) lookSoon() {
	if k.ledger.look || len(k.ledger.owed) == 0 {
		return
	}
	k.ledger.look = true
	k.env.After(k.nextDue(), func() {
		k.ledger.look = false
		k.payDue()
		k.lookSoon()
		k.flush()
	})
}

// nextDue is how long it is until something is due that this node is to tell.
func (k *Keeper) nextDue() time.Duration {
	wait, now, pays := sweepPause, k.env.Now(), k.pays()
	for _, d := range k.ledger.owed {
		if pays && d.by == k.mirror.node {
			wait = min(wait, d.due.Sub(now))
		}
	}
	return max(wait, countPause)
}

// payDue tells what is due. What nobody has told for long falls to another node.
func (k *Keeper) payDue() {
	now := k.env.Now()
	for at, d := range k.ledger.owed {
		if now.Sub(d.due) >= overdueTime {
			d.by, d.due = k.mirror.instead(d.by, at), now
		}
		if d.by == k.mirror.node && !now.Before(d.due) && k.pays() {
			k.pay(at, d, k.here(at))
		}
	}
}

// inherit gives to others what a node was to tell that is there no more, or that has
// not the webhooks any more.
func (k *Keeper) inherit(p *peer) {
	lost := !there(k.mirror.nodes[p.node])
	for at, d := range k.ledger.owed {
		if d.by == p.node && (lost || !p.chorus.can(p.node, at, topicOf(at))) {
			d.by = k.mirror.instead(p.node, at)
		}
	}
}
