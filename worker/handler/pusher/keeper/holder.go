package keeper

import (
	"encoding/json"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// holder says that a node has a user, and the user_info that was given there.
// Users whom no other node has have none.
type holder struct {
	peer *peer // nil: this node
	info json.RawMessage
	list uint32 // the peer's list that named it, see peer.list
	next *holder
}

// of returns the holder that is the peer, nil if it has not the user.
func (u *user) of(p *peer) *holder {
	h := u.held
	for h != nil && h.peer != p {
		h = h.next
	}
	return h
}

func (u *user) drop(p *peer) {
	for at := &u.held; *at != nil; at = &(*at).next {
		if (*at).peer == p {
			*at = (*at).next
			return
		}
	}
}

// grant notes that a peer has a user.
func (k *Keeper) grant(p *peer, r *room, m wire.Member, tell bool) {
	u := r.users[m.ID]
	if u == nil {
		u = k.enter(r, m, tell)
	}
	h := u.of(p)
	if h == nil {
		if u.held == nil && u.conns > 0 {
			u.held = &holder{info: r.members[u.at].Info}
		}
		h = &holder{peer: p, next: u.held, list: p.list - 1}
		u.held = h
		p.users++
	}
	if h.list != p.list {
		p.named++
	}
	h.info, h.list = m.Info, p.list
	k.elect(r, u)
}

// revoke notes that it has the user no more.
func (k *Keeper) revoke(p *peer, r *room, id string) {
	u := r.users[id]
	if u == nil || u.of(p) == nil {
		return
	}
	u.drop(p)
	p.users--
	if u.held == nil {
		k.exit(r, id, u)
		return
	}
	k.elect(r, u)
	if u.held.next == nil && u.held.peer == nil {
		u.held = nil
	}
}

// elect chooses whose user_info counts, the same on every node: that of the
// node with the lowest epoch. Members are not told when it changes, the protocol
// has no event for it; lists that are made later have it.
func (k *Keeper) elect(r *room, u *user) {
	best := u.held
	for h := best.next; h != nil; h = h.next {
		if k.mirror.before(h.peer, best.peer) {
			best = h
		}
	}
	m := &r.members[u.at]
	r.size += len(best.info) - len(m.Info)
	m.Info = best.info
}
