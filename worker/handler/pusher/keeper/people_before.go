package keeper

// A keeper that begins tells the watchers nothing until it is settled. Then what they were
// told by the one before is compared with what is so, and the difference is told, once.
// One that was replaced has left in its file whom its watchers know, and which of them
// have been told at all. Of one that was killed the workers and the other nodes know:
// what it has confirmed to them it has told, and what it has not is told, again perhaps.

// changing is what the watchers were told of before this keeper was settled.
type changing struct {
	before    map[string]bool     // users who are there, as they know, false = perhaps; nil = it is settled, and they know what is so
	told      map[string]bool     // connections that know of those whom they watch, as the keeper before says; nil = it has left nothing
	newcomers map[string][]string // connections that are to be told, and whom they watch
}

// savedPeople is what the next keeper is to know of this node's users.
type savedPeople struct {
	Online []string `json:"online"` // of those who are watched
	Told   []string `json:"told"`   // connections that watch somebody
}

func (k *Keeper) savedPeople() *savedPeople {
	s := &savedPeople{}
	for user := range k.people.online {
		if k.people.fans[user] != nil {
			s.Online = append(s.Online, user)
		}
	}
	for conn, u := range k.people.logins {
		if len(u.watch) > 0 {
			s.Told = append(s.Told, conn)
		}
	}
	return s
}

// takePeople takes them over, users by the lease of those whom the keeper before had,
// see takeOwn.
func (k *Keeper) takePeople(l *lease, s *savedPeople) {
	if s == nil {
		return // an earlier version has saved
	}
	k.people.told = map[string]bool{}
	for _, conn := range s.Told {
		k.people.told[conn] = true
	}
	for _, user := range s.Online {
		k.recall(user, true)
		k.enlist(l, inherited(user, "").conn, user)
	}
}

// recall notes that the watchers of a user were told that it is there, for sure or
// perhaps.
func (k *Keeper) recall(user string, sure bool) {
	if !k.settled {
		k.people.before[user] = k.people.before[user] || sure
	}
}

// untold reports whether the client of a login that is new here has yet to be told of
// those whom it watches. Once the keeper is settled it has missed what has changed since.
func (p *people) untold(conn string, known bool) bool {
	switch {
	case p.before == nil:
		return true
	case p.told != nil:
		return !p.told[conn]
	}
	return !known
}

// watches has a connection told of those whom its user watches: of all if it knows
// nothing of them, else of what changes.
func (k *Keeper) watches(o *op, u *login, untold bool) {
	p := &k.people
	_, waits := p.newcomers[o.Conn]
	if p.before != nil && (untold || waits) {
		p.newcomers[o.Conn] = o.Watch
		return
	}
	if p.follow(o.Conn, u, o.Watch); untold {
		k.tellWatched(o.Conn, u)
	}
}

// compare tells the watchers what is not as they know it, and whoever has been told
// nothing yet of all.
func (k *Keeper) compare() {
	p := &k.people
	c := p.changing
	p.changing = changing{}
	for user := range p.fans {
		known, told := c.before[user]
		switch here := p.online[user]+p.abroad[user] > 0; {
		case here && !known:
			k.tellFans(user, "online")
		case !here && told:
			k.tellFans(user, "offline")
		}
	}
	for conn, watch := range c.newcomers {
		if u := p.logins[conn]; u != nil {
			p.follow(conn, u, watch)
			k.tellWatched(conn, u)
		}
	}
}
