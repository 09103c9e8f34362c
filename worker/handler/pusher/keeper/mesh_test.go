package keeper

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
	"github.com/pushd/pushd/worker/nodes"
)

// mesh is several machines of one simulation, and the ways between them. What one
// says to another on one subject stays in order; what it says on several does
// not, as with NATS.
type mesh struct {
	*simClock
	nodes []*simNode
	loss  float64 // probability that a word between nodes is lost
	hooks []hooked
	heard []hook.Event // by the receiver, in its order
	back  map[key]bool // what the webhooks have heard last of users in channels, and of channels
	exact bool         // each change is told to webhooks, once, of members …
	whole bool         // … and of all else
	sent  traffic
	alone bool // the one machine knows of no others
	deaf  bool // the receiver of webhooks is away, or each queue has its pause
}

// simNode is a machine: a sim, and what its broker process knows of the others.
type simNode struct {
	*sim
	mesh    *mesh
	name    string
	table   *nodes.Table
	tenure  uint64
	side    int // of a partition: those of one side hear each other
	dir     string
	gone    bool
	changes bool              // the keeper is to be told of the nodes
	held    map[key]heldEvent // in the queue of webhooks, whose journal outlives its processes
	journal *[]keptEvent      // as does this, what the receiver has not taken yet
}

type heldEvent struct {
	hook.Event
	until time.Time
}

type keptEvent struct {
	hook.Event
	at time.Time
}

// simWire is a subject from one node to another.
type simWire struct {
	from, to *simNode
	lane     string
	words    []func()
	stuck    bool
}

// hooked is a webhook event and who told it.
type hooked struct {
	by string
	hook.Event
}

func (w *simWire) deliver() {
	fn := w.words[0]
	w.words = w.words[1:]
	fn()
}

func newMesh(t *testing.T, seed int64, n int, apps ...wire.App) *mesh {
	m := &mesh{simClock: newClock(t, seed), back: map[key]bool{}}
	for i := range n {
		m.add(fmt.Sprint("n", i+1), apps...)
	}
	m.run(2 * time.Second)
	return m
}

// add starts a machine with two workers.
func (m *mesh) add(name string, apps ...wire.App) *simNode {
	return m.begin(&simNode{sim: m.machine(slices.Clone(apps)...), name: name, dir: m.t.TempDir(), held: map[key]heldEvent{}, journal: &[]keptEvent{}})
}

// again starts a machine that was there before, with what it has on disk.
func (m *mesh) again(n *simNode) *simNode {
	m.note("%s starts again", n.name)
	return m.begin(&simNode{sim: m.machine(slices.Clone(n.apps)...), name: n.name, dir: n.dir, held: n.held, journal: n.journal})
}

func (m *mesh) begin(n *simNode) *simNode {
	n.mesh, n.tenure = m, m.rng.Uint64()|1
	n.sim.mesh = n
	m.nodes = append(m.nodes, n)
	n.boot(false)
	n.died = n.now // it cannot know that there was none before
	for slot := range 2 {
		n.start(slot, 1)
	}
	n.beat()
	return n
}

// boot starts the broker process. One that is not the first of its machine need
// not ask for its name.
func (n *simNode) boot(held bool) {
	n.table = nodes.New(nodes.Self{Name: n.name, Epoch: n.rng.Uint64() | 1, Token: n.tenure, Held: held}, nodes.Times{}, n.now)
	n.table.Serve()
	n.startKeeper()
	n.sign(true)
	n.noticed()
}

// join makes a keeper a peer of the others.
func (n *simNode) join(env *worker.ServiceEnv) {
	table := n.table
	env.Node, env.DataDir = n.name, n.dir
	if n.mesh.alone {
		env.Node = ""
	}
	env.Say = func(word []byte) error {
		table.SetWord(Service, slices.Clone(word))
		n.sign(false)
		return nil
	}
	env.TellPeers = func(data []byte) error { return n.tell("", data) }
	env.TellPeer = n.tell
}

func (n *simNode) tell(to string, data []byte) error {
	data = slices.Clone(data)
	for _, o := range n.mesh.nodes {
		if o != n && (to == "" || to == o.name) {
			n.mesh.sent.words++
			n.mesh.sent.wordBytes += len(data)
			n.mesh.wire(n, o, "k"+to, func() {
				if o.keeper != nil {
					o.keeper.Peer(n.name, data)
				}
			})
		}
	}
	return nil
}

// wire sends a word on its way, unless it is lost.
func (m *mesh) wire(from, to *simNode, lane string, word func()) {
	if m.rng.Float64() < m.loss || from.side != to.side {
		return
	}
	for _, w := range m.wires {
		if w.from == from && w.to == to && w.lane == lane {
			w.words = append(w.words, word)
			return
		}
	}
	m.wires = append(m.wires, &simWire{from: from, to: to, lane: lane, words: []func(){word}})
}

// sign tells the others that this node is there.
func (n *simNode) sign(ask bool) {
	if n.gone || n.keeper == nil {
		return
	}
	s := n.table.Sign(ask, n.now)
	for _, o := range n.mesh.nodes {
		if o != n {
			n.mesh.sent.signs++
			n.mesh.sent.signBytes += size(&s)
			n.mesh.wire(n, o, "n", func() { o.heard(&s) })
		}
	}
}

func (n *simNode) heard(s *nodes.Sign) {
	if n.keeper == nil || n.gone {
		return
	}
	switch n.table.Hear(s, n.now) {
	case nodes.News, nodes.Met:
		n.noticed()
	case nodes.Taken, nodes.Rival:
		n.fail("%s is claimed", n.name)
	}
	if s.Ask {
		n.sign(false)
	}
}

// noticed has the keeper told of the nodes in some later turn, as a Host does.
func (n *simNode) noticed() {
	if n.changes {
		return
	}
	n.changes = true
	n.mesh.wires = append(n.mesh.wires, &simWire{to: n, words: []func(){func() {
		n.changes = false
		if n.keeper != nil {
			n.keeper.Nodes(slices.DeleteFunc(n.table.Nodes(n.now), func(o nodes.Node) bool { return o.Self }))
		}
	}}})
}

func (n *simNode) beat() {
	if n.gone {
		return
	}
	if n.keeper != nil {
		if len(n.table.Sweep(n.now)) > 0 {
			n.noticed()
		}
		n.sign(false)
	}
	n.mature()
	n.later(nodes.Beat, func() bool { return true }, n.beat)
}

// reachable are the connections of the nodes on this side of a partition.
func (n *simNode) reachable() (all []*conn) {
	for _, o := range n.mesh.nodes {
		if o.side == n.side {
			all = append(all, o.conns...)
		}
	}
	return all
}

// stays reports whether a user has been in a channel by one connection for longer
// than any word is on its way.
func (m *mesh) stays(channel, user string) bool {
	for _, n := range m.nodes {
		for _, c := range n.conns {
			if sub := c.subs[channel]; c.proc != nil && c.user == user && sub != nil && sub.in && m.now.Sub(sub.since) > 6*time.Second {
				return true
			}
		}
	}
	return false
}

// hook notes an event and, when all are to be told once, that it is news.
func (m *mesh) hook(n *simNode, e hook.Event) {
	m.note("%s tells %s %s %s", n.name, e.Name, e.Channel, e.UserID)
	if m.whole || m.exact && e.UserID != "" {
		for _, h := range slices.Backward(m.hooks) {
			if h.Channel == e.Channel && h.UserID == e.UserID && family(h.Name) == family(e.Name) {
				if h.Name == e.Name && h.SubscriptionCount == e.SubscriptionCount {
					m.fail("%s and %s tell %+v", h.by, n.name, e)
				}
				break
			}
		}
	}
	m.hooks = append(m.hooks, hooked{n.name, e})
	n.queue(e)
}

// queue is that of the webhooks, as package hook has it.
func (n *simNode) queue(e hook.Event) {
	at, come := key{e.UserID, e.Channel}, e.Name == "member_added" || e.Name == "channel_occupied"
	_, held := n.held[at]
	switch {
	case e.Name == "subscription_count":
		n.keep(e)
	case family(e.Name) == e.Name: // it has no opposite
	case come && held:
		delete(n.held, at)
	case !come && !e.Waited && !held:
		n.held[at] = heldEvent{e, n.now.Add(hook.Hold)}
	case come || e.Waited:
		n.keep(e)
	}
}

func (n *simNode) keep(e hook.Event) {
	*n.journal = append(*n.journal, keptEvent{e, n.now})
	if !n.mesh.deaf && len(*n.journal) == 1 {
		n.post()
	}
}

// post has the receiver take what waits, and the keeper told what it was late with.
func (n *simNode) post() {
	late := map[lateKey]hook.Event{}
	for _, e := range *n.journal {
		at := lateKey{key{e.UserID, e.Channel}, e.Name == "subscription_count"}
		if n.mesh.heard = append(n.mesh.heard, e.Event); !at.count {
			n.mesh.back[at.key] = e.Name == "member_added" || e.Name == "channel_occupied"
		}
		n.note("webhooks hear %s %v from %s", e.Name, at.key, n.name)
		if late[at] = e.Event; n.now.Sub(e.at) < amendTime {
			delete(late, at)
		}
	}
	*n.journal = nil
	if len(late) > 0 {
		n.keeper.lateHooks()("a", slices.Collect(maps.Values(late)), n.now)
	}
}

// mature ends what was held for long enough.
func (n *simNode) mature() {
	if len(*n.journal) > 0 && !n.mesh.deaf && n.keeper != nil && n.rng.Intn(4) == 0 {
		n.post()
	}
	for at, e := range n.held {
		if !n.now.Before(e.until) {
			delete(n.held, at)
			n.mesh.back[at] = false
			n.note("webhooks hear %s %v from %s", e.Name, at, n.name)
		}
	}
}

// thaw lets a machine run again that was stopped.
func (n *simNode) thaw() {
	n.note("%s runs again", n.name)
	missed := n.missed
	n.frozen, n.missed = false, nil
	for _, fn := range missed {
		fn()
	}
}

// checkBack compares what webhooks have heard last with what is true.
func (m *mesh) checkBack() {
	m.t.Helper()
	truth := map[key]bool{}
	for _, n := range m.nodes {
		for _, c := range n.conns {
			for name := range c.subs {
				if c.proc != nil {
					_, channel := Split(name)
					truth[key{c.user, channel}], truth[key{"", channel}] = true, true
				}
			}
		}
	}
	for at := range truth {
		if !m.back[at] {
			m.fail("webhooks do not know that %v is there", at)
		}
	}
	for at, is := range m.back {
		if is && !truth[at] {
			m.fail("webhooks were not told that %v is gone", at)
		}
	}
}

func family(event string) string {
	switch event {
	case "member_added", "member_removed":
		return "member"
	case "channel_occupied", "channel_vacated":
		return "channel"
	}
	return event
}

// swap replaces the keeper's process: the old one stops in order.
func (n *simNode) swap(meanwhile func()) {
	n.note("%s: keeper is replaced", n.name)
	n.settleDown()
	n.keeper.Stop()
	for len(n.stream) > 0 {
		p := n.stream[0]
		n.stream = n.stream[1:]
		n.deliver(&p)
	}
	n.keeper = nil
	meanwhile()
	n.boot(true)
}

// settleDown lets this node's words come to their end: workers hold still in a
// swap.
func (n *simNode) settleDown() {
	for {
		can := n.can(nil)
		if len(can) == 0 {
			return
		}
		can[0]()
	}
}

// crash ends a whole machine without a word.
func (n *simNode) crash() {
	n.note("%s dies", n.name)
	n.gone, n.keeper = true, nil
	for _, c := range n.conns {
		c.proc = nil
	}
	for _, p := range n.procs {
		p.dead = true
	}
	n.procs, n.stream = nil, nil
	n.mesh.nodes = slices.DeleteFunc(n.mesh.nodes, func(o *simNode) bool { return o == n })
	n.sims = slices.DeleteFunc(n.sims, func(s *sim) bool { return s == n.sim })
}

// leave stops a machine as the master does: it says so, then its clients are
// closed.
func (n *simNode) leave() {
	n.note("%s leaves", n.name)
	n.table.Leave()
	n.sign(false)
	n.keeper.Parting()
	for _, c := range n.conns {
		if c.proc != nil {
			c.close()
		}
	}
	n.run(time.Second)
	n.keeper.Stop()
	n.crash()
}

// cut splits the nodes; heal joins them again. What is said meanwhile is lost,
// or late.
func (m *mesh) cut(n *simNode, late bool) {
	m.note("%s is cut off", n.name)
	if !late {
		n.side = m.born + 1
		m.born++
		return
	}
	for _, o := range m.nodes {
		for _, lane := range []string{"n", "k", "k" + o.name, "k" + n.name} {
			for _, pair := range [][2]*simNode{{n, o}, {o, n}} {
				m.wireOf(pair[0], pair[1], lane).stuck = true
			}
		}
	}
}

func (m *mesh) wireOf(from, to *simNode, lane string) *simWire {
	for _, w := range m.wires {
		if w.from == from && w.to == to && w.lane == lane {
			return w
		}
	}
	w := &simWire{from: from, to: to, lane: lane}
	m.wires = append(m.wires, w)
	return w
}

func (m *mesh) heal() {
	m.note("healed")
	for _, n := range m.nodes {
		n.side = 0
	}
	for _, w := range m.wires {
		w.stuck = false
	}
	m.wires = slices.DeleteFunc(m.wires, func(w *simWire) bool { return len(w.words) == 0 && w.from == nil })
}

func (m *mesh) some() *simNode { return m.nodes[m.rng.Intn(len(m.nodes))] }

// busy lets n things happen on all nodes.
func (m *mesh) busy(n int, pause time.Duration) {
	for range n {
		if s := m.some(); len(s.procs) > 0 {
			s.act()
		}
		for range m.rng.Intn(6) {
			m.step()
		}
		if m.rng.Intn(3) == 0 {
			m.run(time.Duration(m.rng.Int63n(int64(pause))))
		}
	}
}

// calm lets all come to its end, and compares: what each client sees, what each
// keeper knows, and whose user_info it shows.
func (m *mesh) calm(d time.Duration) {
	m.t.Helper()
	m.run(d)
	infos := map[int]map[key]string{}
	for _, n := range m.nodes {
		n.check()
		if infos[n.side] == nil {
			infos[n.side] = map[key]string{}
		}
		for name, r := range n.keeper.rooms {
			for _, u := range r.members {
				at := key{u.ID, name}
				if other, has := infos[n.side][at]; has && other != string(u.Info) {
					m.fail("%s shows %s of %v, another node %s", n.name, u.Info, at, other)
				}
				infos[n.side][at] = string(u.Info)
			}
		}
		n.checkPeers()
	}
}

// checkPeers compares the mirrors with what they are of.
func (n *simNode) checkPeers() {
	for _, o := range n.mesh.nodes {
		if o == n || o.side != n.side {
			continue
		}
		p := n.keeper.mirror.peers[o.name]
		if p == nil || !p.held || !p.synced || p.epoch != o.keeper.mirror.epoch || p.next != o.keeper.mirror.next {
			n.fail("%s has no mirror of %s: %+v", n.name, o.name, p)
		}
		users := 0
		for _, r := range o.keeper.rooms {
			for _, u := range r.users {
				if u.conns > 0 {
					users++
				}
			}
		}
		if p.users != users || len(p.online) != len(o.keeper.people.online) {
			n.fail("%s mirrors %d users of %s, which has %d; online %d, %d", n.name, p.users, o.name, users, len(p.online), len(o.keeper.people.online))
		}
	}
	if got, want := len(n.keeper.mirror.holds), len(n.peersInSide()); got != want {
		n.fail("%s holds %v", n.name, n.keeper.mirror.holds)
	}
}

func (n *simNode) peersInSide() (all []*simNode) {
	for _, o := range n.mesh.nodes {
		if o != n && o.side == n.side {
			all = append(all, o)
		}
	}
	return all
}

// schedules is how many a test tries: few in each run, thousands in the full one.
func schedules(few, many int64) int64 {
	if os.Getenv("PUSHD_TEST_FULL") != "" {
		return many
	}
	return few
}

func hookedApp() wire.App {
	a := wire.DefaultApp()
	a.ID, a.Webhooks = "a", []wire.Webhook{{URL: "http://127.0.0.1"}}
	return a
}

// TestMesh: random joins and departures on three nodes, with reloads, killed
// workers, replaced broker processes and cuts that are over in time: every client
// sees every change once, and webhooks hear of it once.
func TestMesh(t *testing.T) {
	for seed := range schedules(25, 1500) {
		m := newMesh(t, seed, 3, hookedApp())
		m.exact = true
		for range 10 {
			m.busy(20, 100*time.Millisecond)
			n := m.some()
			switch m.rng.Intn(5) {
			case 0:
				n.run(time.Second)
				n.reload(n.procs[m.rng.Intn(len(n.procs))], func() {})
			case 1:
				if !n.keeper.settled {
					break // what a killed process knew alone is lost with it
				}
				p := n.procs[m.rng.Intn(len(n.procs))]
				n.kill(p)
				n.start(p.slot, p.gen+1)
			case 2:
				n.swap(func() { m.elsewhere(n, 6) })
			case 3:
				m.cut(n, true)
				m.busy(10, 200*time.Millisecond)
				m.run(time.Duration(m.rng.Intn(2000)) * time.Millisecond)
				m.heal()
			case 4:
				m.calm(4 * time.Second)
			}
		}
		m.calm(10 * time.Second)
	}
}

// elsewhere lets n things happen on the other nodes.
func (m *mesh) elsewhere(not *simNode, n int) {
	for range n {
		if s := m.some(); s != not {
			s.act()
			s.settleDown()
		}
	}
	m.run(time.Duration(m.rng.Intn(500)) * time.Millisecond)
}

// TestMeshWithLoss: one word of five between the nodes is lost; machines die,
// leave and come, broker processes are replaced, and nodes are cut off for long.
// No client sees a history that cannot be, and in the end all see what is true.
func TestMeshWithLoss(t *testing.T) {
	for seed := range schedules(25, 1500) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { meshWithLoss(t, seed) })
	}
}

func meshWithLoss(t *testing.T, seed int64) {
	m := newMesh(t, seed, 3)
	m.loss = 0.2
	for range 12 {
		m.busy(15, 150*time.Millisecond)
		n := m.some()
		switch m.rng.Intn(6) {
		case 0:
			if len(m.nodes) > 2 {
				n.crash()
			}
		case 1:
			if len(m.nodes) > 2 {
				n.leave()
			}
		case 2:
			if len(m.nodes) < 4 {
				m.add(fmt.Sprint("n", 10+m.born))
			}
		case 3:
			m.cut(n, m.rng.Intn(2) == 0)
			m.busy(10, 300*time.Millisecond)
			m.run(time.Duration(m.rng.Intn(12)) * time.Second)
			m.heal()
		case 4:
			n.swap(func() { m.elsewhere(n, 4) })
		case 5:
			m.loss = 0
			m.calm(12 * time.Second)
			m.loss = 0.2
		}
	}
	m.loss = 0
	m.calm(12 * time.Second)
}

// TestMeshKills: broker processes are killed, one after the other, while one word
// of five between the nodes is lost. Who has come or gone on another node in that
// moment may be told twice, and is told.
func TestMeshKills(t *testing.T) {
	for seed := range schedules(15, 1000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { meshKills(t, seed) })
	}
}

func meshKills(t *testing.T, seed int64) {
	m := newMesh(t, seed, 3)
	m.loss = 0.2
	for range 8 {
		m.busy(15, 150*time.Millisecond)
		n := m.some()
		n.calmNode()
		n.killKeeper()
		m.busyBut(n, 5, 200*time.Millisecond)
		n.boot(true)
		m.run(youngTime + time.Duration(m.rng.Intn(3000))*time.Millisecond)
	}
	m.loss = 0
	m.calm(12 * time.Second)
}

// calmNode lets this node's own words be heard: what is under way when a keeper
// dies may be told twice.
func (n *simNode) calmNode() { n.run(4 * time.Second) }

// busyBut is busy on the other nodes.
func (m *mesh) busyBut(not *simNode, n int, pause time.Duration) {
	for range n {
		if s := m.some(); s != not {
			s.act()
		}
		m.run(time.Duration(m.rng.Int63n(int64(pause))))
	}
}

// TestReloadReplacesBoth: a reload that replaces the broker process and right after it
// the workers, while users come and go: what has changed is told once.
func TestReloadReplacesBoth(t *testing.T) {
	for seed := range schedules(40, 1500) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { reloadsBoth(t, seed) })
	}
}

func reloadsBoth(t *testing.T, seed int64) {
	m := newMesh(t, seed, 3, hookedApp())
	m.exact = true
	for range 6 {
		m.busy(25, 100*time.Millisecond)
		n := m.some()
		n.swap(func() {
			for range 6 {
				m.some().act()
				m.run(time.Duration(m.rng.Intn(60)) * time.Millisecond)
			}
		})
		if seed%2 == 0 { // a process that is to say what it has, and does not before it ends
			q := n.start(2, 1)
			q.words, q.retiring = nil, true
			raw, _ := json.Marshal(question{Hello: &hello{q.client.instance, 7}})
			n.keeper.Ask(q.from, raw, func([]byte, error) {})
			n.after(time.Duration(m.rng.Intn(4000))*time.Millisecond, func() bool { return true }, func() { n.end(q) })
		}
		for _, p := range slices.Clone(n.procs) {
			if p.retiring {
				continue
			}
			for range m.rng.Intn(4) {
				n.act()
				m.step()
			}
			n.reload(p, func() { n.act(); m.step() })
		}
		m.run(time.Duration(m.rng.Intn(5000)) * time.Millisecond)
	}
	m.calm(15 * time.Second)
	m.checkBack()
}

// TestWebhooksHearWhatIsSo: whatever becomes of the nodes, and wherever users go
// meanwhile, what webhooks hear last of each is what is so.
func TestWebhooksHearWhatIsSo(t *testing.T) {
	for seed := range schedules(100, 1500) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { webhooksHear(t, seed) })
	}
}

func webhooksHear(t *testing.T, seed int64) {
	m := newMesh(t, seed, 3, hookedApp())
	if seed%3 == 0 {
		m.loss = 0.2
	}
	for range 8 {
		m.busy(15, 150*time.Millisecond)
		n, moment := m.some(), func() time.Duration { return time.Duration(m.rng.Intn(6000)) * time.Millisecond }
		m.deaf = m.rng.Intn(4) == 0
		m.busy(5*m.rng.Intn(2), 150*time.Millisecond)
		elsewhere := func() { m.busyBut(n, 6, moment()/6+1) }
		switch m.rng.Intn(6) {
		case 0:
			loss := m.loss
			m.loss = 0
			m.run(2 * time.Second) // of what it tells in its last moment nobody knows
			n.crash()
			m.loss = loss
			elsewhere()
			n = m.again(n)
		case 1:
			loss := m.loss
			m.loss = 0 // nobody asks it again for what is lost of its last words
			m.run(2 * time.Second)
			n.leave()
			m.loss = loss
			elsewhere()
			n = m.again(n)
		case 2:
			n.note("%s stands still", n.name)
			n.frozen = true
			elsewhere()
			m.run(moment())
			n.thaw()
		case 3:
			m.cut(n, m.rng.Intn(2) == 0)
			m.busy(6, moment()/6+1)
			m.run(moment())
			m.heal()
		case 4:
			if n.keeper.young() {
				break // it knows as little of what its clients know as one that was killed
			}
			n.swap(func() { m.elsewhere(n, 4) })
		case 5:
			loss := m.loss
			m.loss = 0
			m.calm(12 * time.Second)
			m.loss = loss
		}
		if m.rng.Intn(2) == 0 {
			m.deaf = false
		}
		for range 3 { // users of the node are back
			m.run(moment() / 4)
			n.act()
		}
	}
	m.loss, m.deaf = 0, false
	m.calm(12 * time.Second)
	m.run(2*overdueTime + hook.Hold)
	m.checkBack()
}

// TestLateWebhooksArePutRight: what lay in the journal of a node that was stopped comes
// behind what others have told meanwhile, and what is so is told after it.
func TestLateWebhooksArePutRight(t *testing.T) {
	m := newMesh(t, 1, 3, hookedApp())
	m.run(settleTime)
	n := m.nodes[0]
	for i := range 9 {
		n.connect(n.procs[0], "u").subscribe(fmt.Sprint("a:presence-", i))
		n.connect(n.procs[0], "").enter(fmt.Sprint("a:x", i))
	}
	m.run(time.Second)
	m.deaf = true // of what the others go on with, too
	for i, gone := range slices.Clone(m.nodes[1:]) {
		gone.connect(gone.procs[0], "v").subscribe(fmt.Sprint("a:presence-v", i))
		for c := range 9 {
			gone.connect(gone.procs[0], "w").subscribe(fmt.Sprint("a:presence-", c))
			gone.connect(gone.procs[1], "").enter(fmt.Sprint("a:x", c))
		}
		m.run(time.Second)
		gone.leave()
		m.deaf = i == 0
		m.run(10 * time.Second)
		m.again(gone)
	}
	m.run(10 * time.Second)
	m.checkBack()
	last := map[string]int{}
	for _, h := range m.heard {
		if h.Name == "subscription_count" {
			last[h.Channel] = h.SubscriptionCount
		}
	}
	for channel, count := range last {
		if count != 1 {
			t.Errorf("webhooks heard last that %s has %d", channel, count)
		}
	}
	n.swap(func() {}) // a backlog is no reason to tell anything that is so
	before := len(m.hooks)
	m.run(10 * time.Second)
	if more := m.hooks[before:]; len(more) > 0 || len(last) != 9 {
		t.Errorf("of %d channels, told without need %+v", len(last), more)
	}
}

// TestNodeDies: each of its users leaves once on each survivor, in time, and
// one webhook tells of it; then the machine comes back.
func TestNodeDies(t *testing.T) {
	m := newMesh(t, 1, 3, hookedApp())
	m.whole = true
	for i, n := range m.nodes {
		for c := range 4 {
			c := n.connect(n.procs[c%2], fmt.Sprintf("u%d%d", i, c))
			c.subscribe("a:presence-x")
			n.procs[0].count("a:x", 1)
		}
	}
	m.calm(3 * time.Second)
	dead := m.nodes[2]
	before := len(m.hooks)
	dead.crash()
	for _, n := range m.nodes {
		n.told()
	}
	died := m.now
	for len(m.nodes[0].keeper.rooms["a:presence-x"].users) > 8 || len(m.nodes[1].keeper.rooms["a:presence-x"].users) > 8 {
		m.run(100 * time.Millisecond)
	}
	if took := m.now.Sub(died); took > 6500*time.Millisecond {
		t.Errorf("noticed after %v", took)
	}
	m.calm(time.Second + hook.Hold)
	var told []string
	for _, h := range m.hooks[before:] {
		told = append(told, fmt.Sprintf("%s %s %d", h.Name, h.UserID, h.SubscriptionCount))
	}
	slices.Sort(told)
	if want := []string{"member_removed u20 0", "member_removed u21 0", "member_removed u22 0", "member_removed u23 0", "subscription_count  8"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	back := m.add("n3", hookedApp())
	m.run(3 * time.Second)
	back.connect(back.procs[0], "u20").subscribe("a:presence-x")
	m.calm(3 * time.Second)
}

// TestShortCut: three nodes that do not hear each other for 3 s tell nobody
// anything; after 30 s each side has told that the others left, and equal lists
// are there within 2 s of the heal, with one event for each difference.
func TestShortCut(t *testing.T) {
	for _, cut := range []time.Duration{3 * time.Second, 30 * time.Second} {
		m := newMesh(t, 1, 3)
		for i, n := range m.nodes {
			n.connect(n.procs[0], fmt.Sprint("u", i)).subscribe("a:presence-x")
		}
		m.calm(3 * time.Second)
		var events []*int
		for _, n := range m.nodes {
			events = append(events, n.told())
		}
		m.cut(m.nodes[2], false)
		m.run(cut)
		m.heal()
		m.calm(2 * time.Second)
		want := []int{0, 0, 0}
		if cut > 5*time.Second {
			want = []int{2, 2, 4}
		}
		for i, n := range events {
			if *n != want[i] {
				t.Errorf("after %v node %d has told of %d events, want %d", cut, i, *n, want[i])
			}
		}
	}
}

// TestKeeperKilledInACalmMesh: nobody is told of anything.
func TestKeeperKilledInACalmMesh(t *testing.T) {
	m := newMesh(t, 1, 3)
	for i, n := range m.nodes {
		n.connect(n.procs[0], fmt.Sprint("u", i)).subscribe("a:presence-x")
	}
	m.calm(3 * time.Second)
	for _, n := range m.nodes {
		events := n.told()
		n.killKeeper()
		m.run(900 * time.Millisecond)
		n.boot(true)
		more := n.told()
		m.calm(3 * time.Second)
		if *events+*more != 0 {
			t.Errorf("%s has told of %d events", n.name, *events+*more)
		}
	}
}

// TestCountsOverNodes: connections of all nodes are counted, told to the members
// of each node by its keeper, and to webhooks by one.
func TestCountsOverNodes(t *testing.T) {
	a := hookedApp()
	a.SubscriptionCount = true
	m := newMesh(t, 1, 3, a)
	m.whole = true
	var viewers []*conn
	for _, n := range m.nodes {
		v := n.connect(n.procs[0], "")
		v.subs["a:x"] = &sub{in: true}
		viewers = append(viewers, v)
		n.procs[0].count("a:x", 2)
		n.procs[1].count("a:x", 1)
	}
	m.run(time.Second)
	for i, v := range viewers {
		if n := len(v.got); n == 0 || v.got[n-1] != string(wire.SubscriptionCount("x", 9)) {
			t.Errorf("node %d is told %q", i, v.got)
		}
	}
	for _, n := range m.nodes {
		n.procs[0].count("a:x", -2)
		n.procs[1].count("a:x", -1)
		m.run(time.Second)
	}
	m.run(hook.Hold)
	by := map[string]bool{}
	for _, h := range m.hooks {
		by[h.by] = true
	}
	if last := m.hooks[len(m.hooks)-1]; last.Name != "channel_vacated" || len(by) != 1 {
		t.Errorf("told %+v", m.hooks)
	}
	for _, n := range m.nodes {
		if len(n.keeper.counts.channels) != 0 {
			t.Errorf("%s still counts %v", n.name, n.keeper.counts.channels)
		}
	}
}

// TestWatchlistsOverNodes: a user is online while one node has it.
func TestWatchlistsOverNodes(t *testing.T) {
	m := newMesh(t, 1, 2)
	a, b := m.nodes[0], m.nodes[1]
	fan := a.connect(a.procs[0], "fan")
	a.procs[0].client.Signin(fan.id, "a:fan", []string{"star"})
	m.run(time.Second)
	star := b.connect(b.procs[0], "star")
	b.procs[0].client.Signin(star.id, "a:star", nil)
	m.run(time.Second)
	a.swap(func() {})
	m.run(time.Second)
	here := a.connect(a.procs[0], "star")
	a.procs[0].client.Signin(here.id, "a:star", nil)
	m.run(time.Second)
	b.procs[0].client.Signout(star.id)
	m.run(time.Second)
	a.procs[0].client.Signout(here.id)
	m.run(time.Second)
	want := []string{
		string(wire.Watchlist(wire.Watch{Name: "offline", UserIDs: []string{"star"}})),
		string(wire.Watchlist(wire.Watch{Name: "online", UserIDs: []string{"star"}})),
		string(wire.Watchlist(wire.Watch{Name: "offline", UserIDs: []string{"star"}})),
	}
	if !slices.Equal(fan.got, want) {
		t.Errorf("told %q, want %q", fan.got, want)
	}
	m.calm(time.Second)
}

// TestLargeListIsOneOfParts: a list that needs several words, while changes go on.
func TestLargeListIsOneOfParts(t *testing.T) {
	a := wire.DefaultApp()
	a.ID, a.MaxPresenceMembers = "a", 0
	m := newMesh(t, 1, 2, a)
	n := m.nodes[0]
	for i := range 4000 {
		n.connect(n.procs[i%2], fmt.Sprintf("user-%060d", i)).subscribe(fmt.Sprintf("a:presence-%d", i%50))
	}
	m.calm(2 * time.Second)
	lists := m.nodes[1].keeper.mirror.lists
	for loss := range 3 {
		m.cut(m.nodes[1], false)
		n.connect(n.procs[0], fmt.Sprint("more", loss)).subscribe("a:presence-1")
		m.run(time.Second)
		m.heal()
		m.calm(2 * time.Second)
	}
	if got := m.nodes[1].keeper.mirror.lists - lists; got != 3 {
		t.Errorf("%d lists were taken, want 3", got)
	}
}

// TestBadPeers: what a peer would not say does no harm, and what a node that is
// not there says counts for nothing.
func TestBadPeers(t *testing.T) {
	m := newMesh(t, 1, 2)
	n := m.nodes[0]
	n.connect(n.procs[0], "u").subscribe("a:presence-x")
	m.calm(time.Second)
	for _, word := range []string{
		"", "{", "[]", "null", `{"e":0}`, `{"e":7}`, `{"e":7,"a":true}`, `{"e":7,"n":9,"o":[{"k":"have","c":"a:presence-x","u":"ghost"}]}`,
		`{"e":7,"n":1,"p":2,"l":true,"o":[{"k":"have","c":"a:presence-x","u":"ghost"}]}`, `{"e":7,"n":1,"o":[{"k":"never"},{}]}`,
	} {
		for _, from := range []string{"n2", "n9", "", "n1"} {
			n.keeper.Peer(from, []byte(word))
		}
	}
	m.calm(3 * time.Second)
	for _, name := range []string{"b:presence-x", "nothing", "", "a:presence-y"} { // of no app, or empty
		raw, _ := json.Marshal(peerWord{Epoch: m.nodes[1].keeper.mirror.epoch, First: n.keeper.mirror.peers["n2"].next, Ops: []op{
			{Kind: opHave, Channel: name, User: "x"}, {Kind: opLeave, Channel: name, User: "x"}, {Kind: opLeave, Channel: name, User: "y"}, {Kind: opCount, Channel: name, N: 1}, {Kind: opCount, Channel: name},
		}})
		n.keeper.Peer("n2", raw)
	}
	m.nodes[1].swap(func() {}) // a new list puts right what it never said
	m.calm(3 * time.Second)
}

// TestFirstIsSpread: channels fall to all nodes alike, and to the same ones
// wherever it is asked.
func TestFirstIsSpread(t *testing.T) {
	all, n := []string{"n1", "n2", "n3"}, map[string]int{}
	for i := range 3000 {
		channel := fmt.Sprint("a:presence-", i)
		one := first(all, channel)
		n[one]++
		if one != "n2" && first([]string{"n1", "n3"}, channel) != one {
			t.Fatalf("%s moves although its node stays", channel)
		}
	}
	for _, name := range all {
		if n[name] < 800 || n[name] > 1200 {
			t.Errorf("%s has %d of 3000", name, n[name])
		}
	}
}

// TestDeadTellersRooms: of the rooms that fell to the dead node, too, one of the
// others tells.
func TestDeadTellersRooms(t *testing.T) {
	m := newMesh(t, 1, 3, hookedApp())
	m.exact = true
	dead := m.nodes[2]
	for i := range 30 {
		dead.connect(dead.procs[i%2], "u").subscribe(fmt.Sprint("a:presence-", i))
	}
	m.calm(3 * time.Second)
	before := len(m.hooks)
	dead.crash()
	m.calm(7*time.Second + hook.Hold)
	left := 0
	for _, h := range m.hooks[before:] {
		if h.Name == "member_removed" {
			left++
		}
	}
	if left != 30 {
		t.Errorf("webhooks heard of %d departures, want 30", left)
	}
}

// TestAppOfSomeNodes: an app comes to one node after the other, or goes. One that does
// not have it is no teller, and what it was to tell others do.
func TestAppOfSomeNodes(t *testing.T) {
	m := newMesh(t, 1, 2, hookedApp())
	m.whole = true
	first, has := m.nodes[0], slices.Clone(m.nodes[0].apps)
	none := hookedApp()
	none.ID = "b"
	last := m.add("n3", none)
	m.run(settleTime)
	const rooms = 30
	told := func(what, member, channel string, do func()) {
		t.Helper()
		before := len(m.hooks)
		do()
		m.run(hook.Hold + 2*time.Second)
		n := map[string]int{}
		for _, h := range m.hooks[before:] {
			n[h.Name]++
		}
		if n[member] != rooms || n[channel] != rooms {
			t.Errorf("%s: of %d rooms the webhooks hear %v", what, rooms, n)
		}
	}
	come := func(n *simNode) {
		for i := range rooms {
			n.connect(n.procs[i%2], "u").subscribe(fmt.Sprint("a:presence-", i))
		}
	}
	leave := func(n *simNode) {
		for _, c := range n.conns {
			if c.proc != nil {
				c.close()
			}
		}
	}
	change := func(apps []wire.App, meanwhile func()) {
		last.swap(func() { last.apps = apps; meanwhile() })
		m.run(2 * time.Second)
	}
	told("one node lacks the app", "member_added", "channel_occupied", func() { come(first) })
	told("one node lacks the app", "member_removed", "channel_vacated", func() { leave(first) })
	lacks := last.apps
	change(has, func() {})
	told("all have it", "member_added", "channel_occupied", func() { come(last) })
	told("it goes", "member_removed", "channel_vacated", func() {
		leave(last)
		m.run(time.Second) // a third of it is this node's to tell
		change(lacks, func() {})
	})
	change(has, func() {})
	told("all have it again", "member_added", "channel_occupied", func() { come(last) })
	told("it goes with its users", "member_removed", "channel_vacated", func() {
		change(lacks, func() { leave(last) })
	})
}

// TestLastLeavesWhileTheTellerIsAway: the last connections of channels leave around the
// moment in which the keeper that is to tell of it is killed. It hears from the others what
// it owes.
func TestLastLeavesWhileTheTellerIsAway(t *testing.T) {
	for seed := range schedules(20, 500) {
		m := newMesh(t, seed, 3, hookedApp())
		away, stays := m.nodes[1], m.nodes[0]
		for _, p := range away.procs { // which have something to say to the next keeper
			away.connect(p, "w").subscribe("a:presence-w")
		}
		var conns []*conn
		for i := range 12 {
			c := stays.connect(stays.procs[i%2], fmt.Sprint("u", i))
			c.enter(fmt.Sprint("a:x", i))
			c.subscribe(fmt.Sprint("a:presence-x", i))
			conns = append(conns, c)
		}
		m.run(3 * time.Second)
		leave := func() {
			for range 4 {
				i := slices.IndexFunc(conns, func(c *conn) bool { return c != nil })
				conns[i].exit(fmt.Sprint("a:x", i))
				conns[i].close()
				conns[i] = nil
			}
			m.run(time.Duration(m.rng.Intn(150)) * time.Millisecond)
		}
		leave()
		away.killKeeper()
		leave()
		away.boot(true)
		leave()
		m.run(hook.Hold + 3*time.Second)
		m.checkBack()
	}
}

// TestWorkerKilledBeforeASwap: its members leave, though the new keeper never knew
// that worker.
func TestWorkerKilledBeforeASwap(t *testing.T) {
	m := newMesh(t, 1, 2, hookedApp())
	m.exact = true
	n := m.nodes[0]
	for _, o := range m.nodes {
		o.connect(o.procs[0], "watcher").subscribe("a:presence-x")
	}
	n.connect(n.procs[1], "u").subscribe("a:presence-x")
	m.calm(2 * time.Second)
	n.kill(n.procs[1])
	n.swap(func() {})
	m.calm(3 * time.Second)
}

// TestPeerNumbers: what counts of what a peer says, word by word.
func TestPeerNumbers(t *testing.T) {
	m := newMesh(t, 1, 2)
	k := m.nodes[0].keeper
	p := k.mirror.peers["n2"]
	m.nodes[1].crash() // from here on we speak for it
	epoch, next := p.epoch, p.next
	have := func(user string) op { return op{Kind: opHave, Channel: "a:presence-x", User: user} }
	say := func(w peerWord) {
		raw, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		k.Peer("n2", raw)
	}
	want := func(what string, users ...string) {
		t.Helper()
		if got := m.nodes[0].users("a:presence-x"); !slices.Equal(got, users) {
			t.Errorf("%s: %v, want %v", what, got, users)
		}
	}
	say(peerWord{Epoch: epoch, First: next, Ops: []op{have("a")}})
	want("the next number", "a")
	say(peerWord{Epoch: epoch, First: next, Ops: []op{have("again")}})
	want("a number that was there", "a")
	say(peerWord{Epoch: epoch, First: next + 2, Ops: []op{have("c")}})
	want("a number too far", "a")
	say(peerWord{Epoch: epoch, First: next, Part: 1, Last: true, Ops: []op{have("old")}})
	want("a list of before", "a")
	say(peerWord{Epoch: epoch, First: next + 2, Part: 1, Ops: []op{have("a"), have("b")}})
	say(peerWord{Epoch: epoch, First: next + 2, Part: 3, Last: true})
	if p.synced {
		t.Error("a list without its second part counts")
	}
	say(peerWord{Epoch: epoch, First: next + 2, Part: 1, Last: true, Ops: []op{have("b")}})
	want("the list, and the change that was ahead of it", "b", "c")
	say(peerWord{Epoch: 77, First: 1, Part: 1, Last: true, Ops: []op{have("d")}})
	want("the list of another keeper", "d")
	say(peerWord{Epoch: epoch, First: next + 3, Ops: []op{have("late")}})
	say(peerWord{Epoch: epoch, First: next + 3, Part: 1, Last: true, Ops: []op{have("late")}})
	want("late words of the one before", "d")
}

// TestOriginNamesTheTeller: who tells webhooks of a change is what its origin
// believes.
func TestOriginNamesTheTeller(t *testing.T) {
	m := newMesh(t, 1, 2, hookedApp())
	m.run(settleTime) // a node that has just begun waits with it
	n, p := m.nodes[0], m.nodes[0].keeper.mirror.peers["n2"]
	m.nodes[1].crash()
	for i := range 30 {
		chorus := [][]string{{"n1"}, {"n2"}, {"n7", "n8"}}[i%3]
		for _, o := range []op{
			{Kind: opNodes, Watch: []string{"n1"}, Except: chorus},
			{Kind: opHave, Channel: fmt.Sprint("a:presence-", i), User: "u"},
		} {
			n.keeper.hear(p, &peerWord{Epoch: p.epoch, First: p.next, Ops: []op{o}})
		}
	}
	m.run(100 * time.Millisecond)
	var told, want []string
	for _, h := range n.hooked {
		if strings.Contains(h, "member") {
			told = append(told, h)
		}
	}
	for i := 0; i < 30; i += 3 {
		want = append(want, fmt.Sprintf("a:member_added:presence-%d:u:0", i))
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
