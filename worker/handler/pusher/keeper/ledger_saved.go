package keeper

import "time"

// What a keeper leaves of its account to the one in its place.

// savedDebt is a debt in the file for the next keeper, or what was told lately.
type savedDebt struct {
	User    string    `json:"u,omitempty"`
	Channel string    `json:"c"`
	By      string    `json:"by"`
	Due     time.Time `json:"due"` // or when it was told
	Number  bool      `json:"un,omitempty"`
	Told    bool      `json:"t,omitempty"` // that it is there
}

// savedDebts are what is owed, for the next keeper. One that leaves leaves it to the
// other nodes.
func (k *Keeper) savedDebts() (all []savedDebt) {
	if !k.pays() {
		return nil
	}
	for at, d := range k.ledger.owed {
		all = append(all, savedDebt{at.conn, at.channel, d.by, d.due, d.number, !k.here(at)})
	}
	return all
}

// savedTold is what was told lately.
func (k *Keeper) savedTold() (all []savedDebt) {
	for at, t := range k.ledger.told {
		if k.env.Now().Sub(t.at) <= recentTime {
			all = append(all, savedDebt{at.conn, at.channel, t.by, t.at, t.number, t.here})
		}
	}
	return all
}

// restoreTold takes it over.
func (l *ledger) restoreTold(all []savedDebt) {
	for _, s := range all {
		l.told[key{s.User, s.Channel}] = told{s.By, s.Due, s.Told, s.Number}
	}
}

// takeDebts takes over what was owed, when all is known that is there.
func (k *Keeper) takeDebts() {
	for _, s := range k.ledger.taken {
		at := key{s.User, s.Channel}
		switch {
		case !k.accounts(at):
		case k.here(at) != s.Told:
			k.ledger.owed[at] = &debt{s.By, s.Due, s.Number}
			k.ledger.fresh = append(k.ledger.fresh, at)
		case !s.Told:
			k.ledger.untold[at] = true
		}
	}
	k.ledger.taken = nil
	k.lookSoon()
}
