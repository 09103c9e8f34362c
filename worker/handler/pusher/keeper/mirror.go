package keeper

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/nodes"
)

// Where several nodes share a cluster, the keeper of each tells the others whom
// its own workers have, as numbered changes, and what another one has told is
// one more lease (peer.go). So each has a mirror of the others and alone tells
// its own clients. Nobody is elected, nothing is owned: joins never wait, and
// both sides of a partition go on.

// mirror is what this node tells the others, and what they have told.
type mirror struct {
	node    string // of ours; "" = there are no others, and nothing of this is used
	epoch   uint64 // of this keeper
	env     *worker.ServiceEnv
	next    uint64 // number of the next change
	pending []op   // not sent yet
	sent    time.Time
	due     bool            // they will be
	signing bool            // so will the number, with the signs of life
	parting bool            // the clients of this node are being closed
	open    bool            // the own workers have announced: what is told is true
	met     bool            // Nodes was called
	heir    bool            // the keeper before has left what it knew
	known   map[string]bool // nodes whose users the members may know of, since a keeper that was killed has told them
	recent  []recent
	counted map[string]time.Time // by channel: when the peers were told its count, lately
	swept   time.Time            // when the old ones of these were forgotten

	peers  map[string]*peer
	nodes  map[string]nodes.Node
	holds  []string // the nodes whose lists are here, sorted
	chorus chorus   // this node is among them
	ruling chorus   // … for the change in hand, if ruled
	ruled  bool

	lists int // that were taken, for /metrics
}

// recent is a change that a keeper which was killed may not have acted on.
type recent struct {
	at time.Time
	op op
}

const (
	// peerPause is the least time between two words to the peers.
	peerPause = 25 * time.Millisecond
	// signPause is how long after a change the peers are told how many there
	// were, lest the last one was lost.
	signPause = 500 * time.Millisecond
	// recentTime and maxRecent bound the changes that are kept for keepers that
	// were killed.
	recentTime = 30 * time.Second
	maxRecent  = 64 << 10
	// doubt is how long before its last sign of life a keeper may have missed
	// what it was sent.
	doubt = 100 * time.Millisecond
)

// peerWord is what keepers tell each other.
type peerWord struct {
	Epoch uint64 `json:"e"`           // of who speaks
	First uint64 `json:"n,omitempty"` // number of the first of Ops; of a list: of the change that comes after it
	Part  int    `json:"p,omitempty"` // of a list, which is all that the node has, from 1
	Last  bool   `json:"l,omitempty"` // it was the last part
	Ask   bool   `json:"a,omitempty"` // for the list of who hears it
	New   bool   `json:"w,omitempty"` // who asks has begun without knowing what its clients know
	Ops   []op   `json:"o,omitempty"`

	came time.Time // here
}

// peerSign goes with the signs of life of a node.
type peerSign struct {
	Epoch uint64 `json:"e"`
	Next  uint64 `json:"n"` // number of the next change; 0 = the keeper is not open
}

func (m *mirror) start(env *worker.ServiceEnv) {
	m.env, m.node, m.next, m.epoch = env, env.Node, 1, rand.Uint64()|1
	m.peers, m.nodes = map[string]*peer{}, map[string]nodes.Node{}
	m.known, m.counted = map[string]bool{}, map[string]time.Time{}
	m.chorus = chorus{nodes: []string{m.node}}
	if m.node != "" {
		m.signNow()
	}
}

// before reports whether the user_info of a node goes before that of another;
// nil is this one.
func (m *mirror) before(a, b *peer) bool {
	epoch := func(p *peer) (uint64, string) {
		if p == nil {
			return m.epoch, m.node
		}
		return p.epoch, p.node
	}
	ea, na := epoch(a)
	eb, nb := epoch(b)
	return ea < eb || ea == eb && na < nb
}

// say tells the peers of a change. Before the keeper is open its list says it.
func (m *mirror) say(o op) {
	if m.node == "" || !m.open {
		return
	}
	m.note(o)
	m.pending = append(m.pending, o)
	if m.due {
		return
	}
	m.due = true
	m.env.After(max(0, peerPause-m.env.Now().Sub(m.sent)), func() {
		m.due = false
		m.flush()
	})
}

// note remembers who came and went.
func (m *mirror) note(o op) {
	if o.Kind == opCount || o.Kind == opNodes || o.Kind == opTold {
		return
	}
	now := m.env.Now()
	for len(m.recent) > 0 && (now.Sub(m.recent[0].at) > recentTime || len(m.recent) >= maxRecent) {
		m.recent = m.recent[1:]
	}
	m.recent = append(m.recent, recent{now, o})
}

// flush sends what is pending. What is not taken is a gap for the peers, who ask
// then; if there is nobody, it is only counted.
func (m *mirror) flush() {
	if len(m.pending) == 0 {
		return
	}
	m.sent = m.env.Now()
	for len(m.pending) > 0 {
		n := len(m.pending)
		if len(m.nodes) > 0 {
			var raw []byte
			n, raw = portion(m.pending)
			m.send("", peerWord{First: m.next}, raw)
		}
		m.next += uint64(n)
		m.pending = m.pending[n:]
	}
	m.pending = nil
	m.sign()
}

// send tells a node, or all, a word with ops that are encoded already. It may be
// lost.
func (m *mirror) send(node string, w peerWord, ops []byte) {
	w.Epoch = m.epoch
	raw, _ := json.Marshal(w) // numbers only
	if len(ops) > 0 {
		raw = append(append(append(raw[:len(raw)-1], `,"o":[`...), ops...), "]}"...)
	}
	if node == "" {
		_ = m.env.TellPeers(raw)
	} else {
		_ = m.env.TellPeer(node, raw)
	}
}

// sign has the number of the next change told with the signs of life, soon.
func (m *mirror) sign() {
	if m.signing {
		return
	}
	m.signing = true
	m.env.After(signPause, func() {
		m.signing = false
		m.signNow()
	})
}

func (m *mirror) signNow() {
	s := peerSign{Epoch: m.epoch}
	if m.open {
		s.Next = m.next
	}
	raw, _ := json.Marshal(s) // numbers only
	_ = m.env.Say(raw)        // it is short
}

// openMirror begins to tell the peers, once the own workers have announced what
// they hold: a list that comes before would be a lie.
func (k *Keeper) openMirror() {
	m := &k.mirror
	if m.node == "" || m.open {
		return
	}
	m.open = true
	k.recallCounts() // what is news is told as such, later
	k.tellList("", time.Time{})
	m.signNow()
}

// tellList tells a node, or all, everything that this node has. What has come or
// gone after since is marked: who asks has begun anew, and may not know.
func (k *Keeper) tellList(to string, since time.Time) {
	m := &k.mirror
	m.flush()
	ops := k.ownState(since)
	for part := 1; part == 1 || len(ops) > 0; part++ {
		n, raw := portion(ops)
		m.send(to, peerWord{First: m.next, Part: part, Last: n == len(ops)}, raw)
		ops = ops[n:]
	}
}

// fresh returns what has come and gone since then, each once.
func (m *mirror) fresh(since time.Time) map[key]op {
	if since.IsZero() {
		return nil
	}
	all := map[key]op{}
	for _, r := range slices.Backward(m.recent) {
		if r.at.Before(since) {
			break
		}
		at := key{r.op.User, r.op.Channel}
		if _, has := all[at]; !has {
			all[at] = r.op
		}
	}
	return all
}

// ownState returns all that this node has as ops, and what has come and gone since.
func (k *Keeper) ownState(since time.Time) []op {
	m := &k.mirror
	fresh := m.fresh(since)
	ops := []op{m.group()}
	for name, r := range k.rooms {
		for id, u := range r.users {
			if u.conns == 0 {
				continue
			}
			o := op{Kind: opHave, Channel: name}.of(r.members[u.at])
			if h := u.of(nil); h != nil {
				o.Info = h.info
			}
			if _, is := fresh[key{id, name}]; is {
				o.Joined = 1
			}
			ops = append(ops, o)
		}
	}
	for user, n := range k.people.online {
		if n > 0 {
			_, is := fresh[key{"", user}]
			o := op{Kind: opUser, Channel: user}
			if is {
				o.Joined = 1
			}
			ops = append(ops, o)
		}
	}
	ops = append(ops, k.countOps(since)...)
	ops = append(ops, k.accountOps()...)
	for _, o := range fresh {
		if o.Kind == opLeave || o.Kind == opGone || o.Kind == opSignout {
			o.Joined = 1
			ops = append(ops, o)
		}
	}
	return ops
}
