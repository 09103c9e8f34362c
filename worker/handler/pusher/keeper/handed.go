package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// What the members here have been told of and only this keeper knows goes to its
// successor: what other nodes have, so that their leases go on and what has
// changed in between is told once their lists have come; who is here by this node,
// those included whom killed workers have left behind; how many connections channels were
// told to have; and what webhooks are owed. The file is removed like that of what was
// heard: later it would be wrong.
const handedFile = "keeper-peers.json"

// handed is the file.
type handed struct {
	Nodes map[string]*savedPeer    `json:"nodes,omitempty"`
	Left  map[string][]savedMember `json:"left,omitempty"` // by room; nobody may know of them any more
	Own   map[string][]savedMember `json:"own"`            // by room; of workers that may say so again. nil = an earlier version has saved
	Tally map[string]savedTally    `json:"tally"`          // by channel. nil = an earlier version has saved
	Users *savedPeople             `json:"users"`          // who have signed in. nil = an earlier version has saved
	Owed  []savedDebt              `json:"owed,omitempty"`
	Told  []savedDebt              `json:"told,omitempty"`
}

// savedPeer is a peer in the file. It has the rooms of which somebody is told.
type savedPeer struct {
	Epoch  uint64                   `json:"epoch"`
	Next   uint64                   `json:"next"`
	Holds  []string                 `json:"holds"`
	Chorus []string                 `json:"chorus"`
	Parts  []part                   `json:"parts,omitempty"`
	Rooms  map[string][]savedMember `json:"rooms,omitempty"`
	Counts map[string]int           `json:"counts,omitempty"`
	Online []string                 `json:"online,omitempty"`
}

type savedMember struct {
	ID     string          `json:"u"`
	Number bool            `json:"un,omitempty"`
	Info   json.RawMessage `json:"d,omitempty"`
}

// saveHanded writes it to the folder.
func (k *Keeper) saveHanded(dir string) error {
	if !k.settled || k.young() && !k.mirror.whole() {
		return nil // the file of the one before still holds, or there is none
	}
	h := handed{Left: k.orphans(), Owed: k.savedDebts()}
	if !k.parting { // else the next one begins when all have gone on without it
		h.Nodes, h.Own, h.Tally, h.Told = k.savedPeers(), k.savedOwn(), k.savedTallies(), k.savedTold()
		h.Users = k.savedPeople()
	}
	raw, err := json.Marshal(h)
	if err == nil {
		err = writeFile(dir, handedFile, raw)
	}
	if err != nil {
		return fmt.Errorf("save who is present: %w", err)
	}
	return nil
}

// whole reports whether the lists of all nodes that are there have come.
func (m *mirror) whole() bool {
	for name, n := range m.nodes {
		if there(n) && !m.peer(name).synced {
			return false
		}
	}
	return m.met
}

// orphans are the members of workers that are gone.
func (k *Keeper) orphans() map[string][]savedMember {
	left := map[string][]savedMember{}
	of := func(l *lease) {
		for at, e := range l.entries {
			left[at.channel] = append(left[at.channel], savedMember{ID: e.user})
		}
	}
	for _, l := range k.leases.ended {
		of(l)
	}
	for _, l := range k.leases.byName {
		if !l.absent.IsZero() {
			of(l)
		}
	}
	return left
}

// savedOwn are the members of this node.
func (k *Keeper) savedOwn() map[string][]savedMember {
	own := map[string][]savedMember{}
	for name, r := range k.rooms {
		for id, u := range r.users {
			if u.conns > 0 {
				m := r.members[u.at]
				own[name] = append(own[name], savedMember{id, m.Number, m.Info})
			}
		}
	}
	return own
}

// takeBefore takes over whom the keeper before had.
func (k *Keeper) takeBefore(h *handed) {
	l := newLease("", 0)
	k.takeOwn(l, h.Own)
	k.takePeople(l, h.Users)
	if len(l.entries)+len(l.users) > 0 {
		k.leases.before = l
	}
}

// takeOwn holds the members of the keeper before, by a lease of their own, until the
// workers have had the time to say whom they have. So those who stay are not told of
// twice, whenever their worker says so, and whoever has left meanwhile leaves once,
// even if the worker that knew of it has ended.
func (k *Keeper) takeOwn(l *lease, own map[string][]savedMember) {
	for name, members := range own {
		r := k.room(name)
		if r == nil {
			continue
		}
		for _, m := range members {
			k.add(l, inherited(m.ID, name), r, wire.Member{ID: m.ID, Number: m.Number, Info: m.Info}, false)
		}
	}
}

// inherited names the entry of such a member, and the login of such a user.
func inherited(user, room string) key { return key{"\x00" + user, room} }

func (k *Keeper) savedPeers() map[string]*savedPeer {
	all := map[string]*savedPeer{}
	for name, p := range k.mirror.peers {
		if p.held {
			all[name] = k.savedPeer(p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	for name, r := range k.rooms {
		if r.own == 0 && !(k.hooks != nil && hooksMembers(r.app)) {
			continue
		}
		for id, u := range r.users {
			for h := u.held; h != nil; h = h.next {
				if h.peer != nil {
					s := all[h.peer.node]
					s.Rooms[name] = append(s.Rooms[name], savedMember{id, r.members[u.at].Number, h.info})
				}
			}
		}
	}
	return all
}

func (k *Keeper) savedPeer(p *peer) *savedPeer {
	s := &savedPeer{Epoch: p.epoch, Next: p.next, Holds: p.holds, Chorus: p.chorus.nodes, Parts: p.chorus.parts, Rooms: map[string][]savedMember{}, Counts: map[string]int{}}
	for name, c := range p.counts {
		s.Counts[name] = c.n
	}
	for user := range p.online {
		if k.people.fans[user] != nil {
			s.Online = append(s.Online, user)
		}
	}
	return s
}

// loadHanded takes over what another process has saved. The lists of the nodes are
// asked for.
func (k *Keeper) loadHanded(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, handedFile))
	if errors.Is(err, fs.ErrNotExist) {
		k.loadMet(dir)
		return nil
	}
	var h handed
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	if err != nil {
		return fmt.Errorf("load who is present: %w", err)
	}
	for room, members := range h.Left {
		for _, m := range members {
			k.tombs = append(k.tombs, func() { k.mourn(&op{Channel: room, User: m.ID, Number: m.Number}) })
		}
	}
	k.heir = h.Own != nil
	k.takeBefore(&h)
	k.takeTallies(h.Tally)
	if k.mirror.node == "" {
		return nil
	}
	k.mirror.heir, k.ledger.taken = len(h.Nodes) > 0, h.Owed
	k.ledger.restoreTold(h.Told)
	for name, s := range h.Nodes {
		if s != nil {
			k.restore(k.mirror.peer(name), s)
		}
	}
	k.regroup()
	return nil
}

func (k *Keeper) restore(p *peer, s *savedPeer) {
	p.epoch, p.next, p.held = s.Epoch, s.Next, true
	p.holds, p.chorus = s.Holds, chorus{s.Chorus, s.Parts}
	for name, members := range s.Rooms {
		r := k.room(name)
		if r == nil {
			continue
		}
		for _, m := range members {
			k.grant(p, r, wire.Member{ID: m.ID, Number: m.Number, Info: m.Info}, false)
		}
	}
	for name, n := range s.Counts {
		k.countPeer(p, name, n)
	}
	for _, user := range s.Online {
		k.recall(user, true)
		k.signinPeer(p, user)
	}
}

// hooksMembers reports whether webhooks are told who is in presence channels.
func hooksMembers(a *wire.App) bool {
	return a.Hooks("member_added") || a.Hooks("member_removed") || a.Hooks("channel_occupied") || a.Hooks("channel_vacated")
}

// metFile has the names of the nodes whose users the members here know of. It is
// written whenever these change, so that a keeper which follows one that was
// killed knows whose list is news to them and whose is not.
const metFile = "keeper-nodes.json"

func (k *Keeper) saveMet() {
	if k.env.DataDir == "" {
		return
	}
	names := slices.Clone(k.mirror.holds)
	for name := range k.mirror.known {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	raw, err := json.Marshal(names)
	if err == nil {
		err = writeFile(k.env.DataDir, metFile, raw)
	}
	if err != nil {
		k.env.Log.Error("presence: after a crash of this process members may be told of others twice", "error", err)
	}
}

// loadMet reads what the keeper before has saved. What is not to be read counts as
// nothing: then all is news.
func (k *Keeper) loadMet(dir string) {
	var names []string
	if raw, err := os.ReadFile(filepath.Join(dir, metFile)); err == nil && json.Unmarshal(raw, &names) == nil {
		for _, name := range names {
			k.mirror.known[name] = true
		}
	}
}
