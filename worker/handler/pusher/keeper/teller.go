package keeper

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// Every node sees the same changes, and one of them tells the webhooks: of the
// nodes that the one where a change came from believes to be there, the first
// for that channel. It says which these are in the stream of its changes, so all
// agree for each change, whenever they hear of a node that has come. When a node
// dies, each of the others takes it off first and then takes away what it had:
// again all agree, and one tells. Whether it has is in the ledger.
//
// A node that does not have an app, or none of its webhooks, as in the middle of a
// change of the config, has nobody to tell. Each says what it has with its list.

// chorus are nodes of which one tells webhooks.
type chorus struct {
	nodes []string // sorted
	parts []part   // a node that is in none is taken to have all: it is of an earlier version
}

// part are nodes whose webhooks want the same.
type part struct {
	Nodes []string         `json:"n"`
	Apps  map[string]topic `json:"a,omitempty"` // by id, all that they want of it
}

// topic is what webhooks want of an app, as letters.
type topic string

const (
	ofChannels topic = "c" // occupied and vacated
	ofMembers  topic = "m"
	ofCounts   topic = "n"
)

// topicOf is what at is about.
func topicOf(at key) topic {
	if at.conn == "" {
		return ofChannels
	}
	return ofMembers
}

// topics is what the webhooks of an app want.
func topics(app *wire.App) (all topic) {
	wants := func(t topic, events ...string) {
		if slices.ContainsFunc(events, app.Hooks) {
			all += t
		}
	}
	wants(ofChannels, "channel_occupied", "channel_vacated")
	wants(ofMembers, "member_added", "member_removed")
	wants(ofCounts, "subscription_count")
	return all
}

// wants is what the webhooks of a node want, if it has said so.
func (c *chorus) wants(node string) (apps map[string]topic, said bool) {
	for i := range c.parts {
		if slices.Contains(c.parts[i].Nodes, node) {
			return c.parts[i].Apps, true
		}
	}
	return nil, false
}

// can reports whether a node has webhooks to tell of what is at.
func (c *chorus) can(node string, at key, t topic) bool {
	apps, said := c.wants(node)
	return !said || strings.Contains(string(apps[appOf(at.channel)]), string(t))
}

// first is the node that what is at falls to, "" if none can tell of it.
func (c *chorus) first(at key, t topic) string {
	nodes := c.nodes
	if unable := func(n string) bool { return !c.can(n, at, t) }; slices.ContainsFunc(nodes, unable) {
		nodes = slices.DeleteFunc(slices.Clone(nodes), unable)
	}
	return first(nodes, at.channel)
}

func (c *chorus) equal(o *chorus) bool {
	return slices.Equal(c.nodes, o.nodes) && slices.EqualFunc(c.parts, o.parts, func(a, b part) bool {
		return slices.Equal(a.Nodes, b.Nodes) && maps.Equal(a.Apps, b.Apps)
	})
}

// note says of a node what its webhooks want.
func (c *chorus) note(node string, apps map[string]topic) {
	for i := range c.parts {
		if maps.Equal(c.parts[i].Apps, apps) {
			c.parts[i].Nodes = append(c.parts[i].Nodes, node)
			return
		}
	}
	c.parts = append(c.parts, part{[]string{node}, apps})
}

// own is what the webhooks of this node want.
func (k *Keeper) own() map[string]topic {
	own := map[string]topic{}
	for id, app := range k.apps {
		if t := topics(app); t != "" {
			own[id] = t
		}
	}
	return own
}

// tells reports whether this node tells of a change in the channel.
func (m *mirror) tells(channel string, t topic) bool {
	chorus := m.chorus
	if m.ruled {
		chorus = m.ruling
	}
	return !m.yields() && chorus.first(key{channel: channel}, t) == m.node
}

// teller is the node that tells of the change in hand.
func (m *mirror) teller(at key) string {
	if by := m.ruling.first(at, topicOf(at)); by != "" {
		return by
	}
	return m.instead("", at)
}

// instead is the node that tells in the place of another, this one if there is none.
func (m *mirror) instead(of string, at key) string {
	others := m.chorus
	others.nodes = slices.DeleteFunc(slices.Clone(others.nodes), func(n string) bool { return n == of || m.parting && n == m.node })
	if by := others.first(at, topicOf(at)); by != "" {
		return by
	}
	return m.node
}

// payer is the node if it can tell, else another one.
func (m *mirror) payer(node string, at key) string {
	if node == m.node && !m.parting || there(m.nodes[node]) && m.chorus.can(node, at, topicOf(at)) {
		return node
	}
	return m.instead(node, at)
}

// yields reports whether this node leaves, and others have been told so and tell.
func (m *mirror) yields() bool {
	if m.parting {
		for _, n := range m.nodes {
			if there(n) {
				return true
			}
		}
	}
	return false
}

// silent reports whether nobody tells of the change in hand.
func (m *mirror) silent() bool { return m.ruled && len(m.ruling.nodes) == 0 }

// under makes changes of which one of the nodes in chorus tells.
func (m *mirror) under(chorus chorus, change func()) {
	ruling, ruled := m.ruling, m.ruled
	m.ruling, m.ruled = chorus, true
	change()
	m.ruling, m.ruled = ruling, ruled
}

// first is the node that a channel falls to (rendezvous hashing: when a node comes
// or goes, the channels of the others stay where they are).
func first(nodes []string, channel string) (best string) {
	var most uint64
	for _, n := range nodes {
		h := fnv.New64a()
		h.Write([]byte(n))
		h.Write([]byte{0})
		h.Write([]byte(channel))
		if w := mix(h.Sum64()); best == "" || w > most || w == most && n < best {
			best, most = n, w
		}
	}
	return best
}

// mix spreads what differs in the last bytes over all bits.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// regroup says again whose lists this node has, and which nodes share the telling:
// those that have each other's lists.
func (k *Keeper) regroup() {
	m := &k.mirror
	holds, all := []string{}, chorus{nodes: []string{m.node}}
	for name, p := range m.peers {
		if !p.held {
			continue
		}
		holds = append(holds, name)
		if slices.Contains(p.holds, m.node) {
			all.nodes = append(all.nodes, name)
		}
	}
	slices.Sort(holds)
	slices.Sort(all.nodes)
	k.divide(&all)
	if slices.Equal(holds, m.holds) && all.equal(&m.chorus) {
		return
	}
	saved := slices.Equal(holds, m.holds)
	m.holds, m.chorus = holds, all
	if !saved && k.settled {
		k.saveMet()
	}
	m.say(m.group())
}

// divide says of each node what its webhooks want.
func (k *Keeper) divide(c *chorus) {
	m := &k.mirror
	for _, name := range c.nodes {
		apps, said := k.own(), true
		if name != m.node {
			apps, said = m.peers[name].chorus.wants(name)
		}
		if said {
			c.note(name, apps)
		}
	}
}

// group is what the node says of whose lists it has, and of the chorus.
func (m *mirror) group() op {
	return op{Kind: opNodes, Watch: m.holds, Except: m.chorus.nodes, Parts: m.chorus.parts}
}
