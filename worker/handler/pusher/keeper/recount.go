package keeper

import (
	"maps"
	"time"
)

// How a keeper that begins knows what the members and the webhooks were told of a
// channel's connections. One that was replaced says so in its file. Of one that was
// killed the workers know: what it has confirmed to them it has told, and what it has not
// is told, again perhaps. What differs is told like any other change.

// savedTally is a tally in the file for the next keeper.
type savedTally struct {
	Told     int  `json:"t,omitempty"`
	Own      int  `json:"n,omitempty"` // of workers that are there
	Said     int  `json:"s,omitempty"`
	Occupied bool `json:"o,omitempty"`
	Seen     bool `json:"m,omitempty"`
	Known    bool `json:"k,omitempty"`
}

// savedTallies are all that there are.
func (k *Keeper) savedTallies() map[string]savedTally {
	all := make(map[string]savedTally, len(k.counts.channels))
	for name, t := range k.counts.channels {
		all[name] = savedTally{Told: t.told, Said: t.said, Occupied: t.occupied, Seen: t.seen, Known: t.known}
	}
	for _, l := range k.leases.byName {
		if !l.absent.IsZero() {
			continue // another process has taken over what it had
		}
		for name, n := range l.counts {
			s := all[name]
			s.Own += n
			all[name] = s
		}
	}
	return all
}

// takeTallies takes them over, until the keeper is settled.
func (k *Keeper) takeTallies(all map[string]savedTally) {
	k.counts.handed = all
	for name := range all {
		k.tally(name)
	}
}

// recallCounts puts into the tallies what was told of before this keeper began.
func (k *Keeper) recallCounts() {
	news := k.news()
	for name, t := range k.counts.channels {
		late, fresh := news[name]
		was := t.own - late
		if h := k.counts.handed; h != nil {
			s := h[name]
			t.told, t.said, t.occupied, t.known = s.Told, s.Said, s.Occupied, s.Known
			t.seen, t.lacks = s.Seen || fresh, was < s.Own
			continue
		}
		t.told, t.said, t.seen, t.known = t.n-late, was, fresh, false
		t.occupied = t.told > 0 || k.occupied(name, &tally{})
		if t.doubt || fresh || t.own > 0 && t.n > countCrowd {
			t.told = untold
		}
	}
}

// untold is told of a channel of which a keeper that was killed may have told something
// else: what was not confirmed, what other nodes have said in that moment, or what was
// before the last countInterval.
const untold = -1

// noteCount remembers of which channels the peers were told lately, for keepers that
// were killed.
func (m *mirror) noteCount(name string) {
	now := m.env.Now()
	if now.Sub(m.swept) > recentTime || len(m.counted) >= maxRecent {
		m.swept = now
		maps.DeleteFunc(m.counted, func(_ string, at time.Time) bool { return now.Sub(at) > recentTime || len(m.counted) >= maxRecent })
	}
	m.counted[name] = now
}

// countOps are the counts in the list of this node. Those that have changed since are
// marked, though nobody is left.
func (k *Keeper) countOps(since time.Time) (ops []op) {
	late := func(name string) int {
		if at, said := k.mirror.counted[name]; said && !since.IsZero() && !at.Before(since) {
			return 1
		}
		return 0
	}
	for name, t := range k.counts.channels {
		if t.said > 0 {
			ops = append(ops, op{Kind: opCount, Channel: name, N: t.said, Joined: late(name)})
		}
	}
	for name := range k.mirror.counted {
		if t := k.counts.channels[name]; late(name) > 0 && (t == nil || t.said == 0) {
			ops = append(ops, op{Kind: opCount, Channel: name, Joined: 1})
		}
	}
	return ops
}

// countInList takes a count of the list of a peer.
func (k *Keeper) countInList(p *peer, o *op) {
	k.leased(p, o)
	if t := k.counts.channels[o.Channel]; t != nil && o.Joined > 0 && k.young() && !k.settled {
		t.doubt = true
	}
}

// news is how many connections there are by channel, or are no more, which no keeper has
// confirmed. Whoever was there for a moment is in it.
func (k *Keeper) news() map[string]int {
	all := map[string]int{}
	of := func(l *lease) {
		for name, n := range l.news {
			all[name] += n
		}
	}
	for _, l := range k.leases.ended {
		of(l)
	}
	for _, l := range k.leases.byName {
		of(l)
	}
	return all
}

// noteNews remembers how many of a channel's connections are news. Nobody there and no
// news is somebody who was there for a moment.
func (l *lease) noteNews(o *op) {
	if o.Joined == 0 && o.N > 0 {
		delete(l.news, o.Channel)
		return
	}
	l.news[o.Channel] = o.Joined
}

// settleCounts begins to tell of what differs from what was told.
func (k *Keeper) settleCounts() {
	k.recallCounts()
	k.counts.handed = nil
	for name := range k.counts.changed {
		k.assume(key{"", name}, false)
	}
	for _, l := range k.leases.byName {
		clear(l.news)
	}
	if len(k.counts.changed) > 0 {
		k.countSoon(countPause)
	}
}
