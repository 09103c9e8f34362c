package broker

import "github.com/pushd/pushd/worker"

// A way is how a message comes to the workers. What one client sends by one way comes
// to each of them in its order; of two ways one may be shorter.
type way byte

const (
	wayBus     way = 1 << iota // at once
	wayService                 // by the history service of this node, which publishes it to all
	wayNodes                   // by that of each node, which publishes it to its own, be it by a log or not
)

// ways are those of all of ps.
func (c *Client) ways(ps []worker.Publication) (all way) {
	for i := range ps {
		switch p := &ps[i]; {
		case !c.ordered(p):
			all |= wayBus
		case c.o.URL != "" && c.o.Ordered != nil && c.o.Ordered(p.Target):
			all |= wayNodes
		default:
			all |= wayService
		}
	}
	return all
}

// overtakes reports whether what goes by next may come before what went by first. On a
// server of its own what goes by a service comes from there behind what went at once.
func (c *Client) overtakes(next, first way) bool {
	if c.o.URL == "" {
		return first&wayService != 0 && next&wayBus != 0
	}
	all := first | next
	return first != 0 && next != 0 && all&(all-1) != 0
}

// InOrder returns how many of the lists, from the first on, come to every worker in
// their order when they are published at once. What is behind them has to wait until
// the workers have answered to those.
func (c *Client) InOrder(lists [][]worker.Publication) int {
	var first way
	for i, ps := range lists {
		next := c.ways(ps)
		if c.overtakes(next, first) {
			return i
		}
		first |= next
	}
	return len(lists)
}
