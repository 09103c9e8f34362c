package keeper

import (
	"encoding/json"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/nodes"
)

var _ worker.PeerService = (*Keeper)(nil)

// peer is the lease of another node: what its keeper has told. It ends when the
// node has been silent for too long or has said that it leaves, and never by what
// becomes of a connection. A change whose number is not the next one, or of an
// epoch that is not known, does not count until the whole list has come; then the
// difference is told, those who have come first.
type peer struct {
	node   string
	epoch  uint64 // of its keeper
	past   uint64 // the one before, or one that has left: what it has under way counts no more
	next   uint64 // number of the change that is expected
	held   bool   // its list has come: the lease lives
	synced bool   // no change is missing
	spoken bool   // its list has come while this keeper was not settled
	ended  uint64 // the epoch that was lost, of whose users the members were told that they left

	signed peerSign  // what its sign of life says, and …
	seen   time.Time // … since when
	asked  time.Time // for its list, last
	began  time.Time // when it asked for ours, knowing nothing

	list  uint32 // counts the lists that began
	part  int    // of the list that is coming: the last part that came, 0 = none is
	from  uint64 // its First
	users int    // that it has, each room's own
	named int    // of these in the list that is coming
	ahead []*peerWord
	kept  int // ops in ahead

	anew bool // the list that is coming is that of a keeper which was not known

	counts map[string]counted
	online map[string]uint32 // signed-in users: the list that named them

	holds  []string // see opNodes
	chorus chorus
}

// counted are a node's connections in a channel, and the list that named them.
type counted struct {
	n    int
	list uint32
}

const (
	// askPause is between two requests for a list, and how long a change may be
	// on its way behind a sign of life that has its number.
	askPause = 250 * time.Millisecond
	// maxAhead bounds the changes that wait for a list.
	maxAhead = 64 << 10
	// wordlessTime is how long a new keeper waits for nodes whose keeper has
	// begun but has nothing to say yet.
	wordlessTime = time.Second
	// youngTime is how long after its start it believes that members know of users
	// whom it never knew.
	youngTime = 10 * time.Second
	// unheardTime is how long it keeps the leases of nodes that it has not heard.
	unheardTime = 6 * time.Second
)

func (m *mirror) peer(node string) *peer {
	p := m.peers[node]
	if p == nil {
		p = &peer{node: node, counts: map[string]counted{}, online: map[string]uint32{}}
		m.peers[node] = p
	}
	return p
}

// there reports whether the node is one whose words count.
func there(n nodes.Node) bool {
	return n.Name != "" && n.State != nodes.Lost && n.State != nodes.Leaving
}

// Nodes implements worker.PeerService.
func (k *Keeper) Nodes(others []nodes.Node) {
	m := &k.mirror
	m.met = true
	clear(m.nodes)
	for _, n := range others {
		m.nodes[n.Name] = n
		p := m.peer(n.Name)
		if there(n) {
			k.signed(p, n.Words[Service])
			continue
		}
		left := n.State == nodes.Leaving
		k.inTurn(func() {
			if !there(m.nodes[p.node]) {
				k.endPeer(p, left)
			}
		})
	}
	k.settle()
	k.flush()
	k.watchLeases()
}

// forgetPeers ends the leases of nodes that this process has never heard of: of
// those that the one before it knew, it waits for their signs of life first.
func (k *Keeper) forgetPeers(now time.Time) {
	m := &k.mirror
	if !k.settled || now.Sub(k.leases.started) < unheardTime {
		return
	}
	for name, p := range m.peers {
		if m.nodes[name].Name == "" {
			k.endPeer(p, false)
			delete(m.peers, name)
		}
	}
}

// signed takes in what a node's sign of life says of its keeper.
func (k *Keeper) signed(p *peer, word []byte) {
	var s peerSign
	if word == nil || json.Unmarshal(word, &s) != nil || s.Epoch == p.past {
		return
	}
	if s != p.signed {
		p.signed, p.seen = s, k.env.Now()
	}
	if !p.held && s.Next > 0 {
		k.miss(p)
	}
}

// miss has the list of a node asked for: something of it is not known.
func (k *Keeper) miss(p *peer) {
	m := &k.mirror
	p.synced = false
	if now := k.env.Now(); now.Sub(p.asked) >= askPause {
		p.asked = now
		m.send(p.node, peerWord{Ask: true, New: !p.held && k.young() && k.mirror.known[p.node]}, nil)
	}
}

// late reports whether the node has said more than what has come, and not just
// now.
func (p *peer) late(now time.Time) bool {
	if p.signed.Next == 0 || p.signed.Epoch == p.past {
		return false
	}
	return !p.synced || now.Sub(p.seen) >= askPause && (p.epoch != p.signed.Epoch || p.next < p.signed.Next)
}

// missing reports whether there is a node of which something may be missing.
func (k *Keeper) missing() bool {
	for name, p := range k.mirror.peers {
		if p.held && k.mirror.nodes[name].Name == "" {
			return true
		}
		behind := !p.synced || p.epoch != p.signed.Epoch || p.next < p.signed.Next
		if behind && p.signed.Next != 0 && p.signed.Epoch != p.past && there(k.mirror.nodes[name]) {
			return true
		}
	}
	return false
}

// sweepPeers asks for what is missing.
func (k *Keeper) sweepPeers() {
	now := k.env.Now()
	k.forgetPeers(now)
	for name, p := range k.mirror.peers {
		if there(k.mirror.nodes[name]) && p.late(now) {
			k.miss(p)
		}
	}
}

// acquainted reports whether the nodes that are there have told what they have,
// or have had the time to.
func (k *Keeper) acquainted() bool {
	m := &k.mirror
	age := k.env.Now().Sub(k.leases.started)
	if m.node == "" || age >= settleTime {
		return true
	}
	if !m.met {
		return false
	}
	for name, n := range m.nodes {
		switch {
		case !there(n) || m.peer(name).spoken:
		case m.peer(name).signed.Next > 0 || age < wordlessTime:
			return false
		}
	}
	return true
}

// Peer implements worker.PeerService.
func (k *Keeper) Peer(node string, data []byte) {
	var w peerWord
	if err := json.Unmarshal(data, &w); err != nil || w.Epoch == 0 {
		k.env.Log.Warn("word of another node ignored", "node", node, "error", err)
		return
	}
	w.came = k.env.Now()
	if n := k.mirror.nodes[node]; there(n) {
		k.hear(k.mirror.peer(node), &w)
	} else if n.State == nodes.Leaving {
		k.inTurn(func() { k.lastWords(&w) })
	}
	k.settle()
	k.flush()
	k.watchLeases()
}

// lastWords takes in what a node that leaves says of webhooks; who left with it is
// known.
func (k *Keeper) lastWords(w *peerWord) {
	k.ledger.came = w.came
	for i := range w.Ops {
		if w.Ops[i].Kind == opTold {
			k.heardTold(&w.Ops[i])
		}
	}
}

func (k *Keeper) hear(p *peer, w *peerWord) {
	k.ledger.came = w.came
	switch {
	case w.Ask:
		k.asked(p, w)
	case w.Epoch == p.past:
	case !k.settled && (p.held || !k.mirror.known[p.node]): // that is news, for later
		p.spoken = p.spoken || w.Last
		k.inTurn(func() { k.hear(p, w) })
	case w.Part > 0:
		k.listed(p, w)
	default:
		k.changed(p, w)
	}
}

// asked tells a node everything.
func (k *Keeper) asked(p *peer, w *peerWord) {
	if !k.mirror.open {
		return // all are told when it is
	}
	var since time.Time
	if w.New {
		if p.signed.Epoch != w.Epoch {
			return // with its sign of life comes when the one before was heard last; it asks again
		}
		p.began = k.env.Now()
	}
	if before := k.mirror.nodes[p.node].Before; w.New && !before.IsZero() {
		since = before.Add(-doubt)
	}
	if k.settled {
		k.tellCounts() // who asks is to know what is owed for them
	}
	k.tellList(p.node, since)
}

// changed takes in changes.
func (k *Keeper) changed(p *peer, w *peerWord) {
	switch {
	case w.Epoch == p.epoch && w.First < p.next: // they are in the list
	case p.synced && w.Epoch == p.epoch && w.First == p.next:
		k.mirror.under(p.chorus, func() {
			for i := range w.Ops {
				k.leased(p, &w.Ops[i])
			}
		})
		p.next += uint64(len(w.Ops))
	default:
		if p.kept += len(w.Ops); p.kept > maxAhead {
			p.ahead, p.kept = nil, 0
		}
		p.ahead = append(p.ahead, w)
		k.miss(p)
	}
}

// leased makes one change of a peer.
func (k *Keeper) leased(p *peer, o *op) {
	switch o.Kind {
	case opNodes:
		p.holds, p.chorus = o.Watch, chorus{o.Except, o.Parts}
		k.regroup()
		k.inherit(p)
		if len(k.mirror.ruling.nodes) > 0 && p.held { // else it knows nothing of the change
			k.mirror.ruling = p.chorus
		}
	case opHave:
		if r := k.room(o.Channel); r != nil {
			k.grant(p, r, o.member(), k.settled)
		}
	case opLeave:
		if r := k.rooms[o.Channel]; r != nil {
			k.revoke(p, r, o.User)
		}
	case opGone:
		if k.young() {
			k.bury(key{o.User, o.Channel}, o)
		}
	case opUser:
		if k.signinPeer(p, o.Channel) {
			k.tellFans(o.Channel, "online")
		}
	case opSignout:
		k.signoutPeer(p, o.Channel)
	case opCount:
		k.countPeer(p, o.Channel, o.N)
	case opTold:
		k.toldInTurn(o)
	}
}

// relay tells of a user of a node that was lost, if another node has begun anew in
// that moment: it may never have known the lost one, but its clients have.
func (k *Keeper) relay(p *peer, r *room, id string) {
	if p.held || p.epoch == p.past || r.users[id] != nil {
		return
	}
	now := k.env.Now()
	for _, o := range k.mirror.peers {
		if !o.began.IsZero() && now.Sub(o.began) < youngTime {
			k.mirror.say(op{Kind: opGone, Channel: r.name, User: id})
			return
		}
	}
}

// young reports whether the keeper has begun a moment ago without knowing what its
// clients know.
func (k *Keeper) young() bool {
	return len(k.mirror.known) > 0 && k.env.Now().Sub(k.leases.started) < youngTime
}

// endPeer ends a lease. The node is taken off those who tell webhooks first.
func (k *Keeper) endPeer(p *peer, left bool) {
	if left {
		p.past = p.epoch
	}
	if !p.held {
		return
	}
	p.held, p.synced, p.spoken, p.part = false, false, false, 0
	p.ahead, p.kept = nil, 0
	p.ended = p.epoch
	p.list++
	p.named = 0
	k.regroup()
	k.dropUnnamed(p)
	k.inherit(p)
}
