package keeper

import (
	"maps"
	"slices"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// A lease is what one worker process has told: it ends with the process.
type lease struct {
	from     string // text of the process's control.Identity
	instance uint64 // of its client
	next     uint64 // number of the op that is expected
	synced   bool   // no op of it was lost
	met      bool   // it has been synced before
	heard    time.Time
	absent   time.Time // since when it is not on the roster, zero = it is

	news map[string]int // by channel: how many of its connections no keeper has confirmed, until this one is settled

	holdings // presence; connections by channel; signed-in users by connection

	unnamed *holdings // during an announcement: what it has not named yet
}

// holdings are what a lease has.
type holdings struct {
	entries map[key]*entry
	counts  map[string]int
	users   map[string]*login
}

// leases are those of all workers.
type leases struct {
	byName   map[string]*lease
	ended    []*lease // of processes that another one has taken the name of
	before   *lease   // members that the keeper before has left, see takeOwn; nil = none
	live     []string // the roster, sorted
	rostered bool
	started  time.Time
	watching bool // a sweep is due
}

const (
	// leaseGrace is how long a process is gone before its members leave: what
	// it has said last, and what the process that takes over says, comes first.
	leaseGrace = time.Second
	// settleTime is how long a new keeper waits for workers that do not speak:
	// they hold nothing, or are connecting again.
	settleTime = 3 * time.Second
	// settleLimit is how long it waits for a worker that has begun to speak.
	settleLimit = 8 * time.Second
)

// get returns the lease of the instance, a new one if need be.
func (ls *leases) get(from string, instance uint64, now time.Time) *lease {
	l := ls.byName[from]
	if l == nil || l.instance != instance {
		if l != nil {
			l.absent, l.heard = now, now
			ls.ended = append(ls.ended, l)
		}
		l = newLease(from, instance)
		if !ls.has(from) {
			l.absent = now
		}
		ls.byName[from] = l
	}
	l.heard = now
	return l
}

func newLease(from string, instance uint64) *lease {
	return &lease{
		from: from, instance: instance, next: 1, news: map[string]int{},
		holdings: holdings{map[key]*entry{}, map[string]int{}, map[string]*login{}},
	}
}

// take finds the lease of a batch and reports whether its ops count: none
// before them is missing.
func (ls *leases) take(from string, b *batch, now time.Time) (l *lease, known bool) {
	l = ls.get(from, b.Instance, now)
	switch {
	case b.Begin:
		l.begin()
	case b.First != l.next:
		l.synced, l.unnamed = false, nil
	case b.First == 1:
		l.synced, l.met = true, true
	}
	l.next = b.First + uint64(len(b.Ops))
	return l, l.synced || b.Whole && l.unnamed != nil
}

// stand answers a hello. A lease that has said nothing yet holds nothing.
func (ls *leases) stand(from string, h *hello, now time.Time) (next uint64, announce bool) {
	l := ls.get(from, h.Instance, now)
	switch {
	case h.Next != l.next:
		l.synced, l.unnamed = false, nil
	case h.Next == 1:
		l.synced, l.met = true, true
	}
	l.next = h.Next
	return l.next, !l.synced
}

// begin starts an announcement.
func (l *lease) begin() {
	l.synced = false
	clear(l.news)
	l.unnamed = &holdings{maps.Clone(l.entries), maps.Clone(l.counts), maps.Clone(l.users)}
}

// named notes that the announcement has named something. Of the names only
// those are looked at that say where it is held.
func (l *lease) named(o *op) {
	if l.unnamed != nil {
		delete(l.unnamed.entries, key{o.Conn, o.Channel})
		delete(l.unnamed.counts, o.Channel)
		delete(l.unnamed.users, o.Conn)
	}
}

// has reports whether the process is on the roster.
func (ls *leases) has(from string) bool {
	_, found := slices.BinarySearch(ls.live, from)
	return found
}

func (ls *leases) roster(workers []string, now time.Time) {
	ls.live = slices.Sorted(slices.Values(workers))
	ls.rostered = true
	for _, l := range ls.byName {
		switch {
		case ls.has(l.from):
			l.absent = time.Time{}
		case l.absent.IsZero():
			l.absent = now
		}
	}
}

// over reports whether the process of the lease is gone for good.
func (l *lease) over(now time.Time) bool {
	return !l.absent.IsZero() && now.Sub(l.absent) >= leaseGrace && now.Sub(l.heard) >= leaseGrace
}

// announced ends an announcement: what the lease held and has not named is
// gone.
func (k *Keeper) announced(l *lease) {
	missing := l.unnamed
	l.unnamed, l.synced, l.met = nil, true, true
	k.inTurn(func() {
		for at, e := range missing.entries {
			if k.entries[at] == e && e.lease == l {
				k.remove(at, e)
			}
		}
		for conn, u := range missing.users {
			k.people.remove(k, conn, u)
		}
	})
	for name := range missing.counts {
		k.count(l, &op{Channel: name})
	}
}

// complete reports whether the keeper knows all that there is, or has waited
// long enough for the rest.
func (k *Keeper) complete() bool {
	ls := &k.leases
	age := k.env.Now().Sub(ls.started)
	if age >= settleLimit {
		return true
	}
	for _, l := range ls.byName {
		if !l.synced && l.absent.IsZero() {
			return false
		}
	}
	if age >= settleTime {
		return true
	}
	if !ls.rostered {
		return false
	}
	for _, from := range ls.live {
		if ls.byName[from] == nil {
			return false
		}
	}
	return true
}

// settle begins to tell of changes once all is announced.
func (k *Keeper) settle() {
	if k.settled || !k.complete() {
		return
	}
	k.openMirror()
	if !k.acquainted() {
		return
	}
	k.settled = true
	k.forgetHeard()
	if k.mirror.node != "" {
		k.saveMet()
	}
	k.settleCounts() // what was announced; the changes that waited are news
	k.takeDebts()
	changes := append(k.tombs, k.waiting...)
	k.tombs, k.waiting = nil, nil
	k.ledger.past = true
	for _, change := range changes {
		change()
	}
	k.ledger.past = false
	k.compare()
}

// tomb tells of a departure of before the keeper began, once it is settled.
func (k *Keeper) tomb(tell func()) {
	if k.settled {
		tell()
	} else {
		k.tombs = append(k.tombs, tell)
	}
}

// inTurn makes a change that others are told of, once the keeper is settled.
func (k *Keeper) inTurn(change func()) {
	if k.settled {
		change()
	} else if len(k.waiting) < maxWaiting {
		k.waiting = append(k.waiting, change)
	}
}

// watchLeases looks again later while there is something to wait for.
func (k *Keeper) watchLeases() {
	if k.leases.watching || !k.mustWatch() {
		return
	}
	k.leases.watching = true
	k.env.After(sweepPause, func() {
		k.leases.watching = false
		k.sweep()
		k.sweepPeers()
		k.settle()
		k.flush()
		k.watchLeases()
	})
}

func (k *Keeper) mustWatch() bool {
	if !k.settled || len(k.leases.ended) > 0 || k.leases.before != nil || k.missing() {
		return true
	}
	for _, l := range k.leases.byName {
		if !l.absent.IsZero() {
			return true
		}
	}
	return false
}

// sweep ends the leases of processes that are gone. Not before the keeper is
// settled: another process may have taken their connections over.
func (k *Keeper) sweep() {
	if !k.settled || !k.leases.rostered {
		return
	}
	now := k.env.Now()
	ls := &k.leases
	if ls.before != nil && k.gathered() {
		k.end(ls.before)
		ls.before = nil
	}
	ls.ended = slices.DeleteFunc(ls.ended, func(l *lease) bool {
		over := l.over(now)
		if over {
			k.end(l)
		}
		return over
	})
	for from, l := range ls.byName {
		if l.over(now) {
			delete(ls.byName, from)
			k.end(l)
		}
	}
}

// gathered reports whether whoever has what the keeper before knew has had the time to
// say so.
func (k *Keeper) gathered() bool {
	age := k.env.Now().Sub(k.leases.started)
	return age >= settleTime && !k.leases.moving() && !k.missing() || age >= settleLimit+settleTime
}

// end takes away what the lease holds.
func (k *Keeper) end(l *lease) {
	for at, e := range l.entries {
		k.remove(at, e)
	}
	for conn, u := range l.users {
		k.people.remove(k, conn, u)
	}
	for name := range l.counts {
		k.count(l, &op{Channel: name})
	}
}

// moving reports whether a slot has two processes, between which connections
// are on their way: sums over all leases are too high then.
func (ls *leases) moving() bool {
	if len(ls.ended) > 0 {
		return true
	}
	seen := make(map[control.Identity]bool, len(ls.byName))
	for from := range ls.byName {
		id, _ := control.ParseIdentity(from)
		slot := id.Place()
		if seen[slot] {
			return true
		}
		seen[slot] = true
	}
	return false
}
