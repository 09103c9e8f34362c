package keeper

// listed takes in a part of a list.
func (k *Keeper) listed(p *peer, w *peerWord) {
	switch {
	case w.Epoch == p.epoch && (p.synced || w.First < p.next):
		return // it was asked for twice
	case w.Part == 1:
		p.begin(w)
	case w.Epoch != p.epoch || w.First != p.from || w.Part != p.part+1:
		p.part = 0 // one was lost; it is asked for again
		return
	}
	p.part = w.Part
	ruling := p.chorus
	switch {
	case p.held:
	case p.ended == p.epoch: // of its users it was told that they left
		ruling = k.mirror.chorus
	default: // it has told of them, or there was nobody to tell
		ruling = chorus{}
	}
	k.mirror.under(ruling, func() {
		for i := range w.Ops {
			k.inList(p, &w.Ops[i])
		}
		if w.Last {
			k.whole(p, w)
		}
	})
	if w.Last {
		k.catchUp(p)
	}
}

func (p *peer) begin(w *peerWord) {
	p.anew = p.epoch != w.Epoch
	if p.anew {
		p.past, p.epoch, p.next = p.epoch, w.Epoch, 0
	}
	p.synced = false
	p.list++
	p.from, p.named = w.First, 0
}

// inList takes in what a node has. A keeper that has begun without knowing what
// its clients know tells them again of what is marked.
func (k *Keeper) inList(p *peer, o *op) {
	fresh := o.Joined > 0 && k.young()
	switch o.Kind {
	case opLeave, opGone:
		if chorus := p.chorus; fresh {
			k.tomb(func() { k.mirror.under(chorus, func() { k.bury(key{o.User, o.Channel}, o) }) })
		}
	case opSignout:
		if fresh {
			k.recall(o.Channel, false)
			k.inTurn(func() { k.outdated(o.Channel) })
		}
	case opHave:
		was := k.rooms[o.Channel]
		known := was != nil && was.users[o.User] != nil
		k.leased(p, o)
		if r := k.rooms[o.Channel]; r != nil && fresh && !known && !k.settled {
			chorus := p.chorus
			k.inTurn(func() { k.mirror.under(chorus, func() { k.greet(r, o.User) }) })
		}
	case opCount:
		k.countInList(p, o)
	case opUser:
		k.leased(p, o)
		k.recall(o.Channel, !fresh)
	default:
		k.leased(p, o)
	}
}

// outdated tells those who watch a user that it went, if nobody has it.
func (k *Keeper) outdated(user string) {
	if k.people.online[user]+k.people.abroad[user] == 0 {
		k.tellFans(user, "offline")
	}
}

// greet tells of a user who is there, and may have come while this keeper was not.
func (k *Keeper) greet(r *room, id string) {
	if u := r.users[id]; u != nil && u.conns == 0 && k.rooms[r.name] == r {
		k.came(r, r.members[u.at])
	}
}

// whole ends a list: what it has not named is gone.
func (k *Keeper) whole(p *peer, w *peerWord) {
	k.mirror.lists++
	k.dropUnnamed(p)
	p.synced, p.held, p.spoken = true, true, true
	p.next, p.part = w.First, 0
	k.regroup()
}

// catchUp makes the changes that came before the list.
func (k *Keeper) catchUp(p *peer) {
	ahead := p.ahead
	p.ahead, p.kept = nil, 0
	for _, w := range ahead {
		if w.Epoch == p.epoch {
			k.hear(p, w)
		}
	}
}

// dropUnnamed takes away what the list of the peer has not named.
func (k *Keeper) dropUnnamed(p *peer) {
	if p.named < p.users {
		for _, r := range k.rooms {
			for id, u := range r.users {
				if h := u.of(p); h != nil && h.list != p.list {
					k.revoke(p, r, id)
					k.relay(p, r, id)
					k.remind(p, key{id, r.name})
				}
			}
		}
	}
	for user, list := range p.online {
		if list != p.list {
			k.signoutPeer(p, user)
		}
	}
	for name, c := range p.counts {
		if c.list != p.list {
			k.countPeer(p, name, 0)
		}
	}
}

// remind tells the peers of a user who is gone since a node has begun anew: that one,
// which may be the one to tell, never knew it.
func (k *Keeper) remind(p *peer, at key) {
	if d := k.ledger.owed[at]; d != nil && p.held && p.anew {
		k.mirror.say(toldOp(at, !k.here(at), d))
	}
}
