package broker

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/nodes"
)

// tellNodes tells a service which other nodes there are.
func (s *hosted) tellNodes() {
	if p, ok := s.service.(worker.PeerService); ok {
		p.Nodes(slices.DeleteFunc(s.host.Nodes(), func(n nodes.Node) bool { return n.Self }))
	}
}

// say implements ServiceEnv.Say.
func (s *hosted) say(word []byte) error {
	if len(word) > nodes.MaxWord {
		return fmt.Errorf("%w: word of %d bytes in the sign of life, it takes %d", worker.ErrTooLarge, len(word), nodes.MaxWord)
	}
	s.host.signs.update(func(t *nodes.Table) { t.SetWord(s.name, slices.Clone(word)) })
	return nil
}

// tellPeers implements ServiceEnv.TellPeers.
func (s *hosted) tellPeers(data []byte) error {
	c := s.host.o.Client
	return c.word(c.subjects.peersOf(s.name), "", c.o.Node, data)
}

// tellPeer implements ServiceEnv.TellPeer.
func (s *hosted) tellPeer(node string, data []byte) error {
	c := s.host.o.Client
	return c.word(c.subjects.peerOf(node, s.name), "", c.o.Node, data)
}

// peerWords is how many words of peers wait for the mailbox; more are lost.
const peerWords = 16 << 10

// hearPeers takes in what peers tell all, and this one. Both come through one
// channel, in the order in which they were read.
func (s *hosted) hearPeers(c *Client, name string) error {
	if _, ok := s.service.(worker.PeerService); !ok {
		return nil
	}
	words := make(chan *nats.Msg, peerWords)
	for _, subject := range []string{c.subjects.peersOf(name), c.subjects.peerOf(c.o.Node, name)} {
		sub, err := c.link.nc.ChanSubscribe(subject, words)
		if err != nil {
			return fmt.Errorf("%s: %w", subject, err)
		}
		s.more = append(s.more, sub)
	}
	go func() {
		for {
			select {
			case m := <-words:
				s.onPeer(m)
			case <-s.quit:
				return
			}
		}
	}()
	return nil
}

// onPeer takes in a word of the same service on another node.
func (s *hosted) onPeer(m *nats.Msg) {
	from, data, err := parseWord(m.Data)
	if err != nil {
		s.log.Warn("word of a peer ignored", "error", err)
		return
	}
	if p, ok := s.service.(worker.PeerService); ok && from != s.host.o.Client.o.Node {
		s.post(func() { p.Peer(from, data) })
	}
}

// nodeMetrics are the numbers of a cluster; alone there are none.
func (h *Host) nodeMetrics() (all []worker.Metric) {
	if h.signs.alone() {
		return nil
	}
	states := map[nodes.State]float64{nodes.Ready: 0, nodes.Quiet: 0, nodes.Lost: 0, nodes.Leaving: 0}
	for _, n := range h.Nodes() {
		states[n.State]++
		if n.RTT > 0 {
			all = append(all, worker.Metric{
				Name: "cluster_rtt_seconds", Help: "To the broker process of another node and back, over the bus.",
				Label: "node", Value: n.Name, Number: n.RTT.Seconds(),
			})
		}
	}
	for state, number := range states {
		all = append(all, worker.Metric{
			Name: "cluster_nodes", Help: "Nodes of the cluster, this one included, by what it thinks of them.",
			Label: "state", Value: string(state), Number: number,
		})
	}
	return append(all, worker.Metric{
		Name: "cluster_signs_refused_total", Help: "Signs of life on the bus that no node would send.", Counter: true, Number: float64(h.signs.refused()),
	})
}
