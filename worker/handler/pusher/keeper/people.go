package keeper

import (
	"maps"
	"slices"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// people are the signed-in users and who watches whom.
type people struct {
	online map[string]int             // connections of this node, by the user's name on the bus
	abroad map[string]int             // other nodes that have the user
	logins map[string]*login          // by connection
	fans   map[string]map[string]bool // connections that watch a user, by the user's name

	changing
}

// login is a connection that has signed in.
type login struct {
	user  string // on the bus
	watch []string
	lease *lease
}

func (p *people) init() {
	p.online, p.abroad, p.logins, p.fans = map[string]int{}, map[string]int{}, map[string]*login{}, map[string]map[string]bool{}
	p.before, p.newcomers = map[string]bool{}, map[string][]string{}
}

// signin takes note of a connection of a user. Those who watch the user are told if
// they do not know, and the user of those that it watches.
func (k *Keeper) signin(l *lease, o *op, known bool) {
	p := &k.people
	u := p.logins[o.Conn]
	if u != nil && u.user != o.Channel {
		p.remove(k, o.Conn, u)
		u = nil
	}
	news := u == nil
	if news {
		u = k.enlist(l, o.Conn, o.Channel)
	}
	delete(u.lease.users, o.Conn)
	u.lease, l.users[o.Conn] = l, u
	if p.told == nil {
		k.recall(o.Channel, known)
	}
	if o.Watch != nil {
		k.watches(o, u, news && p.untold(o.Conn, known))
	}
}

// enlist adds a login.
func (k *Keeper) enlist(l *lease, conn, user string) *login {
	p := &k.people
	u := &login{user: user, lease: l}
	p.logins[conn], l.users[conn] = u, u
	if p.online[user]++; p.online[user] == 1 {
		k.mirror.say(op{Kind: opUser, Channel: user})
		if p.abroad[user] == 0 {
			k.tellFans(user, "online")
		}
	}
	return u
}

// signout ends a login. With tomb it may have ended before the keeper began, see leave.
func (k *Keeper) signout(o *op, tomb bool) {
	p := &k.people
	conn := o.Conn
	if p.logins[conn] == nil && tomb && !k.leases.moving() {
		conn = inherited(o.Channel, "").conn
	}
	if u := p.logins[conn]; u != nil {
		p.remove(k, conn, u)
	}
}

// remove ends a login.
func (p *people) remove(k *Keeper, conn string, u *login) {
	if p.logins[conn] != u {
		return
	}
	delete(p.logins, conn)
	delete(u.lease.users, conn)
	p.follow(conn, u, nil)
	if p.online[u.user]--; p.online[u.user] == 0 {
		delete(p.online, u.user)
		k.mirror.say(op{Kind: opSignout, Channel: u.user})
		if p.abroad[u.user] == 0 && !k.parting {
			k.tellFans(u.user, "offline")
		}
	}
}

// signinPeer notes that another node has a user, signoutPeer that it has not.
func (k *Keeper) signinPeer(p *peer, user string) (news bool) {
	_, has := p.online[user]
	p.online[user] = p.list
	if has {
		return false
	}
	k.people.abroad[user]++
	return k.people.abroad[user] == 1 && k.people.online[user] == 0
}

func (k *Keeper) signoutPeer(p *peer, user string) {
	if _, has := p.online[user]; !has {
		return
	}
	delete(p.online, user)
	if k.people.abroad[user]--; k.people.abroad[user] > 0 {
		return
	}
	delete(k.people.abroad, user)
	if k.people.online[user] == 0 {
		k.tellFans(user, "offline")
	}
}

// follow sets whom a connection watches.
func (p *people) follow(conn string, u *login, watch []string) {
	app, _ := Split(u.user)
	for _, id := range u.watch {
		name := Name(app, id)
		if delete(p.fans[name], conn); len(p.fans[name]) == 0 {
			delete(p.fans, name)
		}
	}
	u.watch = watch
	for _, id := range watch {
		name := Name(app, id)
		if p.fans[name] == nil {
			p.fans[name] = map[string]bool{}
		}
		p.fans[name][conn] = true
	}
}

// tellFans tells those who watch a user that it came or went.
func (k *Keeper) tellFans(user, event string) {
	fans := k.people.fans[user]
	if len(fans) == 0 || k.people.before != nil { // else they are told by compare
		return
	}
	_, id := Split(user)
	message := wire.Watchlist(wire.Watch{Name: event, UserIDs: []string{id}})
	conns := make([]string, 0, len(fans))
	for conn := range fans {
		if conns = append(conns, conn); len(conns) == maxJoiners {
			k.publish(toList(user, conns, message))
			conns = nil
		}
	}
	if len(conns) > 0 {
		k.publish(toList(user, conns, message))
	}
}

// tellWatched tells a new connection who of those that its user watches is
// there.
func (k *Keeper) tellWatched(conn string, u *login) {
	app, _ := Split(u.user)
	here, away := wire.Watch{Name: "online"}, wire.Watch{Name: "offline"}
	for _, id := range u.watch {
		w := &away
		if name := Name(app, id); k.people.online[name]+k.people.abroad[name] > 0 {
			w = &here
		}
		w.UserIDs = append(w.UserIDs, id)
	}
	var events []wire.Watch
	for _, w := range []wire.Watch{here, away} {
		if len(w.UserIDs) > 0 {
			events = append(events, w)
		}
	}
	k.publish(toList(u.user, []string{conn}, wire.Watchlist(events...)))
}

// terminate ends the connections that presence channels know as a user's, but
// for those that are signed in as that user.
func (k *Keeper) terminate(o *op) {
	var conns []string
	for _, conn := range k.connsOf(o.Channel) {
		if u := k.people.logins[conn]; u == nil || u.user != o.Channel {
			conns = append(conns, conn)
		}
	}
	for some := range slices.Chunk(conns, maxJoiners) {
		k.publish(toConns(o.Channel, CodeTerminated, some, []byte(o.Message)))
	}
}

// connsOf lists the connections by which presence channels know a user. It looks
// at each room, and at each subscription only when one of them has the user.
func (k *Keeper) connsOf(user string) []string {
	app, id := Split(user)
	in := map[*room]bool{}
	for _, r := range k.rooms {
		if r.app.ID == app && r.users[id] != nil {
			in[r] = true
		}
	}
	conns := map[string]bool{}
	if len(in) > 0 {
		for at, e := range k.entries {
			if e.user == id && in[e.room] {
				conns[at.conn] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(conns))
}

// toList is a publication of a message to connections.
func toList(user string, conns []string, message []byte) worker.Publication {
	return worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeList, Target: user, Conns: conns, Data: message}
}
