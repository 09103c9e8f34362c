package keeper

import (
	"hash/fnv"
	"slices"
)

// Every node sees the same changes, and one of them tells the webhooks: of the
// nodes that the one where a change came from believes to be there, the first
// for that channel. It says which these are in the stream of its changes, so all
// agree for each change, whenever they hear of a node that has come. When a node
// dies, each of the others takes it off first and then takes away what it had:
// again all agree, and one tells. Whether it has is in the ledger.

// tells reports whether this node tells of a change in the channel.
func (m *mirror) tells(channel string) bool {
	chorus := m.chorus
	if m.ruled {
		chorus = m.ruling
	}
	if m.yields() {
		return false
	}
	return len(chorus) == 1 && chorus[0] == m.node || first(chorus, channel) == m.node
}

// teller is the node that tells of the change in hand.
func (m *mirror) teller(channel string) string {
	if len(m.ruling) > 0 {
		return first(m.ruling, channel)
	}
	return m.instead("", channel)
}

// instead is the node that tells in the place of another, this one if there is none.
func (m *mirror) instead(of, channel string) string {
	others := slices.DeleteFunc(slices.Clone(m.chorus), func(n string) bool { return n == of || m.parting && n == m.node })
	if len(others) == 0 {
		return m.node
	}
	return first(others, channel)
}

// payer is the node if it can tell, else another one.
func (m *mirror) payer(node, channel string) string {
	if node == m.node && !m.parting || there(m.nodes[node]) {
		return node
	}
	return m.instead(node, channel)
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
func (m *mirror) silent() bool { return m.ruled && len(m.ruling) == 0 }

// under makes changes of which one of the nodes in chorus tells.
func (m *mirror) under(chorus []string, change func()) {
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
	holds, chorus := []string{}, []string{m.node}
	for name, p := range m.peers {
		if !p.held {
			continue
		}
		holds = append(holds, name)
		if slices.Contains(p.holds, m.node) {
			chorus = append(chorus, name)
		}
	}
	slices.Sort(holds)
	slices.Sort(chorus)
	if slices.Equal(holds, m.holds) && slices.Equal(chorus, m.chorus) {
		return
	}
	saved := slices.Equal(holds, m.holds)
	m.holds, m.chorus = holds, chorus
	if !saved && k.settled {
		k.saveMet()
	}
	m.say(op{Kind: opNodes, Watch: holds, Except: chorus})
}
