package keeper

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// key is one connection's subscription to one channel.
type key struct{ conn, channel string }

// entry is such a subscription to a presence channel, and who holds it.
type entry struct {
	room  *room
	user  string
	lease *lease
}

// room is a presence channel with somebody in it.
type room struct {
	name    string // on the bus
	app     *wire.App
	channel string // for clients

	users   map[string]*user
	members []wire.Member // of users, in no order
	size    int           // bytes of the list of members, about
	own     int           // subscriptions of this node: without one nobody here is told anything

	// What has happened since the last flush.
	events  []change       // in order
	latest  map[string]int // of events: the last one of each user
	joiners []key          // who get the list, if they are still there
	flushed time.Time
	due     bool // a flush is on its way
}

// change is one that members are told of.
type change struct {
	member  wire.Member
	removed bool
	message []byte // nil: it was undone before anybody was told
}

// user is a member: somebody who is there by at least one connection, of this
// node or of others.
type user struct {
	conns int     // of this node
	at    int     // in room.members
	held  *holder // the nodes that have the user; nil = this one alone
}

const (
	// roomPause is the least time between two flushes of a room. When many join
	// at once each member gets few writes, and the list is made few times.
	roomPause = 25 * time.Millisecond
	// maxRoster bounds the list of members, in bytes, so that it fits a
	// publication even when all of it is escaped.
	maxRoster = 480 << 10
	// maxBurst and maxJoiners bound one publication.
	maxBurst   = 256 << 10
	maxJoiners = 1000
)

func (k *Keeper) room(name string) *room {
	r := k.rooms[name]
	if r != nil {
		return r
	}
	app, channel := k.app(name)
	if app == nil {
		return nil
	}
	r = &room{name: name, app: app, channel: channel, users: map[string]*user{}}
	k.rooms[name] = r
	return r
}

// cost is what a member adds to the size of the list.
func cost(m *wire.Member) int { return 2*len(m.ID) + len(m.Info) + 16 }

// join adds a subscription and answers it. One that is there already is
// answered again: its worker has not got, or not passed on, the answer.
func (k *Keeper) join(l *lease, o *op) {
	at := key{o.Conn, o.Channel}
	r := k.room(o.Channel)
	if r == nil {
		return // the app is not configured any more; its clients are closed
	}
	if e := k.entries[at]; e != nil && e.user != o.User {
		k.remove(at, e) // its end was lost
	}
	if k.entries[at] == nil {
		m := o.member()
		if reason := r.full(&m); reason != "" {
			k.publish(toConns(r.name, CodeRefused, []string{o.Conn}, wire.SubscriptionError(r.channel, "LimitReached", reason, 403)))
			k.forget(r)
			return
		}
		k.add(l, at, r, m, true)
	}
	k.hold(l, at)
	r.joiners = append(r.joiners, at)
	k.touch(r)
}

// have takes note of a subscription whose client has been answered. If nobody
// knows its user although all has been announced, others are told.
func (k *Keeper) have(l *lease, o *op) {
	at := key{o.Conn, o.Channel}
	if r := k.room(o.Channel); r != nil && k.entries[at] == nil {
		k.add(l, at, r, o.member(), k.settled)
	}
	k.hold(l, at)
}

// hold gives a subscription to the lease.
func (k *Keeper) hold(l *lease, at key) {
	e := k.entries[at]
	if e == nil || e.lease == l {
		return
	}
	delete(e.lease.entries, at)
	e.lease = l
	l.entries[at] = e
}

func (k *Keeper) add(l *lease, at key, r *room, m wire.Member, tell bool) {
	e := &entry{room: r, user: m.ID, lease: l}
	k.entries[at] = e
	l.entries[at] = e
	r.own++
	u := r.users[m.ID]
	if u == nil {
		u = k.enter(r, m, tell)
	}
	if u.conns++; u.conns == 1 {
		if u.held != nil {
			u.held = &holder{info: m.Info, next: u.held}
			k.elect(r, u)
		}
		k.mirror.say(op{Kind: opHave, Channel: r.name}.of(m))
	}
}

// enter makes somebody a member of a room.
func (k *Keeper) enter(r *room, m wire.Member, tell bool) *user {
	u := &user{at: len(r.members)}
	r.users[m.ID] = u
	r.members = append(r.members, m)
	r.size += cost(&m)
	delete(k.buried, key{m.ID, r.name})
	if len(r.users) == 1 {
		k.present(r)
	}
	if tell {
		k.came(r, m)
		k.turned(key{m.ID, r.name}, m.Number)
	} else {
		k.assume(key{m.ID, r.name}, m.Number)
	}
	return u
}

// came tells that a user is there.
func (k *Keeper) came(r *room, m wire.Member) {
	r.change(change{m, false, wire.MemberAdded(r.channel, m)})
	k.hookAlone(r.app.ID, hook.Event{Name: "member_added", Channel: r.channel, UserID: m.ID, Number: m.Number})
	k.touch(r)
}

// full says why a member finds no room, "" if it does.
func (r *room) full(m *wire.Member) string {
	switch limit := r.app.MaxPresenceMembers; {
	case r.users[m.ID] != nil && r.size <= 2*maxRoster: // nodes that met have joined their lists
		return ""
	case limit > 0 && len(r.users) >= limit:
		return fmt.Sprintf("the channel has %d members, which is the limit", limit)
	case r.size+cost(m) > maxRoster:
		return "the channel's list of members is too long"
	}
	return ""
}

// leave ends a subscription. With tomb it may be news of before the keeper
// began: if nobody has the user then, it has left while nobody looked.
func (k *Keeper) leave(o *op, tomb bool) {
	at := key{o.Conn, o.Channel}
	if e := k.entries[at]; e != nil {
		k.remove(at, e)
		return
	}
	switch {
	case !tomb:
	case !k.heir:
		k.mourn(o)
	case !k.leases.moving(): // else its user may have more, which are on their way
		at = inherited(o.User, o.Channel)
		if e := k.entries[at]; e != nil {
			k.remove(at, e)
		}
	}
}

// mourn is bury for a user of this node, of whom the other nodes may not know that
// webhooks are to be told.
func (k *Keeper) mourn(o *op) {
	who := key{o.User, o.Channel}
	k.bury(who, o)
	if !k.here(who) && !k.ledger.untold[who] {
		k.owe(who, o.Number)
	}
}

// bury tells, once, of a user who has left before the keeper began, if nobody has
// the user.
func (k *Keeper) bury(who key, o *op) {
	if r := k.room(o.Channel); r != nil && r.users[o.User] == nil && !k.buried[who] {
		k.buried[who] = true
		k.gone(r, wire.Member{ID: o.User, Number: o.Number})
	}
}

// remove takes a subscription away.
func (k *Keeper) remove(at key, e *entry) {
	delete(k.entries, at)
	delete(e.lease.entries, at)
	r := e.room
	r.own--
	u := r.users[e.user]
	if u.conns--; u.conns > 0 {
		return
	}
	k.mirror.say(op{Kind: opLeave, Channel: r.name, User: e.user})
	if u.held != nil {
		u.drop(nil)
		k.elect(r, u)
		return
	}
	k.exit(r, e.user, u)
}

// exit ends a membership.
func (k *Keeper) exit(r *room, id string, u *user) {
	delete(r.users, id)
	m := r.members[u.at]
	r.size -= cost(&m)
	last := len(r.members) - 1
	if moved := r.members[last]; u.at != last {
		r.members[u.at] = moved
		r.users[moved.ID].at = u.at
	}
	r.members[last] = wire.Member{}
	r.members = r.members[:last]
	if last == 0 {
		k.absent(r)
	}
	if k.young() {
		k.buried[key{id, r.name}] = true
	}
	k.gone(r, m)
	k.turned(key{id, r.name}, m.Number)
}

// gone tells that the last connection of a user has left.
func (k *Keeper) gone(r *room, m wire.Member) {
	if !k.parting {
		r.change(change{m, true, wire.MemberRemoved(r.channel, m)})
	}
	k.hookAlone(r.app.ID, hook.Event{Name: "member_removed", Channel: r.channel, UserID: m.ID, Number: m.Number})
	k.touch(r)
}

// change notes an event for the members. One that undoes an event which they
// have not got yet takes it back instead: so whoever comes and goes without end
// costs them one event in each pause.
func (r *room) change(c change) {
	if at, ok := r.latest[c.member.ID]; ok {
		if e := &r.events[at]; e.removed != c.removed && bytes.Equal(e.member.Info, c.member.Info) {
			e.message = nil
			delete(r.latest, c.member.ID)
			return
		}
	}
	if r.latest == nil {
		r.latest = map[string]int{}
	}
	r.latest[c.member.ID] = len(r.events)
	r.events = append(r.events, c)
}

// touch has the room flushed at the end of the word, or when its pause is over.
func (k *Keeper) touch(r *room) {
	if r.due {
		return
	}
	r.due = true
	k.due++
	wait := roomPause - k.env.Now().Sub(r.flushed)
	if wait <= 0 {
		k.touched = append(k.touched, r)
		return
	}
	k.env.After(wait, func() { k.tell(r) })
}

// flushAll tells of everything at once.
func (k *Keeper) flushAll() {
	for _, r := range k.rooms {
		if r.due {
			k.tell(r)
		}
	}
}

func (k *Keeper) flush() {
	for _, r := range k.touched {
		k.tell(r)
	}
	clear(k.touched)
	k.touched = k.touched[:0]
	if k.ledger.ripe {
		k.makeGood(amendTime)
	}
	k.payFresh()
}

// tell publishes what has happened in the room: first to its members, then, to
// those who joined, the list as it is now.
func (k *Keeper) tell(r *room) {
	if !r.due {
		return // flushAll came before
	}
	r.due, r.flushed = false, k.env.Now()
	k.due--
	var data []byte
	for _, e := range r.events {
		if e.message == nil || r.own == 0 && k.mirror.node != "" {
			continue // it was undone, or nobody here is told
		}
		if len(data)+len(e.message) > maxBurst {
			k.publish(severalTo(r.name, data))
			data = nil
		}
		data = worker.AppendMessage(data, e.message)
	}
	if len(data) > 0 {
		k.publish(severalTo(r.name, data))
	}
	r.events, r.latest = nil, nil
	k.welcome(r)
	k.forget(r)
}

func severalTo(name string, data []byte) worker.Publication {
	return worker.Publication{Kind: worker.KindMessages, Scope: worker.ScopeChannel, Target: name, Data: data}
}

// welcome answers those who joined.
func (k *Keeper) welcome(r *room) {
	conns := make([]string, 0, len(r.joiners))
	for _, at := range r.joiners {
		if k.entries[at] != nil {
			conns = append(conns, at.conn)
		}
	}
	r.joiners = nil
	if len(conns) == 0 {
		return
	}
	list := wire.PresenceSucceeded(r.channel, r.members)
	for some := range slices.Chunk(conns, maxJoiners) {
		k.publish(toConns(r.name, CodeSubscribed, some, list))
	}
}

// forget drops a room that nobody is in and nobody waits for. Its pause ends
// with it.
func (k *Keeper) forget(r *room) {
	if len(r.users) == 0 && !r.due && len(r.events) == 0 && len(r.joiners) == 0 {
		delete(k.rooms, r.name)
	}
}
