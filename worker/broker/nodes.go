package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/protocol/control"
)

// Where several nodes share a cluster, the broker process of each says twice a
// second, and at each change, that it is there and which workers it has. The
// roster of all is the sum of what they have said last.
const (
	signEvery = 500 * time.Millisecond
	// lostAfter is the silence after which a node's workers are waited for no
	// more. A broker process that is killed or replaced is back long before.
	lostAfter = 5 * time.Second
	// meetNodes is how long a new node waits for one of its own name to speak.
	meetNodes = 300 * time.Millisecond
)

// sign is a node's sign of life.
type sign struct {
	Node    string   `json:"node"`
	Epoch   uint64   `json:"epoch"` // of the broker process
	Began   int64    `json:"began"` // when it began, Unix ns
	Workers []string `json:"workers"`
	Ask     bool     `json:"ask,omitempty"` // it is new here: speak up
}

// neighbour is what another node has said last.
type neighbour struct {
	workers []string
	heard   time.Time
}

// nodes knows the workers of all nodes. Its methods may be called by any
// goroutine.
type nodes struct {
	c       *Client
	changed func(all []string) // called with mu held
	usurped func(error)        // another process has this node's name, and had it first
	sub     *nats.Subscription
	quit    chan struct{}
	gone    chan struct{} // closed: the name is another one's
	done    sync.WaitGroup

	mu     sync.Mutex
	me     sign
	others map[string]*neighbour
	taken  bool // gone is closed
}

func newNodes(c *Client, changed func([]string), usurped func(error)) *nodes {
	return &nodes{
		c: c, changed: changed, usurped: usurped, quit: make(chan struct{}), gone: make(chan struct{}), others: map[string]*neighbour{},
		me: sign{Node: c.o.Node, Epoch: c.id, Began: time.Now().UnixNano(), Workers: []string{}},
	}
}

// rosterOf is the Worker of a Host's answer to a gathering. No worker has that
// name: they have slots.
func rosterOf(node string) string {
	if node == "" {
		return "roster"
	}
	return node + "/roster"
}

// join makes this node one of them, unless there is one of its name. On a bus of
// its own a node is alone and says nothing.
func (n *nodes) join() (err error) {
	if n.me.Node == "" {
		return nil
	}
	if n.sub, err = n.c.link.nc.Subscribe(n.c.subjects.nodes, n.onSign); err != nil {
		return fmt.Errorf("%s: %w", n.c.subjects.nodes, err)
	}
	n.say(true)
	select {
	case <-n.gone:
		return n.conflict()
	case <-time.After(meetNodes):
	}
	n.done.Go(n.run)
	return nil
}

func (n *nodes) conflict() error {
	return fmt.Errorf("another pushd on this NATS is the node %q: give each its own name by [cluster] node", n.me.Node)
}

func (n *nodes) run() {
	t := time.NewTicker(signEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.say(false)
			n.sweep(time.Now())
		case <-n.quit:
			return
		}
	}
}

// say sends a sign of life. One that is lost is followed by the next.
func (n *nodes) say(ask bool) {
	n.mu.Lock()
	me := n.me
	n.mu.Unlock()
	me.Ask = ask
	if raw, err := json.Marshal(me); err == nil {
		_ = n.c.put(item{subject: n.c.subjects.nodes, raw: raw, queued: time.Now(), size: len(raw)})
	}
}

// set names the workers of this node, as the master calls them, and returns
// their names on the bus.
func (n *nodes) set(workers []string) []string {
	own := make([]string, 0, len(workers))
	for _, w := range workers {
		if id, ok := control.ParseIdentity(w); ok {
			own = append(own, id.On(n.me.Node).String())
		}
	}
	n.mu.Lock()
	n.me.Workers = own
	n.changed(n.all())
	n.mu.Unlock()
	if n.sub != nil {
		n.say(false)
	}
	return own
}

// all is the roster of all nodes; mu is held.
func (n *nodes) all() []string {
	all := slices.Clone(n.me.Workers)
	for _, o := range n.others {
		all = append(all, o.workers...)
	}
	return all
}

// onSign runs on the subscription's goroutine.
func (n *nodes) onSign(m *nats.Msg) {
	var s sign
	if json.Unmarshal(m.Data, &s) != nil || s.Node == "" {
		return
	}
	n.mu.Lock()
	if s.Node == n.me.Node {
		usurped := s.Epoch != n.me.Epoch && !n.taken && s.Began < n.me.Began
		n.taken = n.taken || usurped
		n.mu.Unlock()
		if usurped {
			close(n.gone)
			n.usurped(n.conflict())
		} else if s.Epoch != n.me.Epoch {
			n.say(false) // the other one has to hear of us
		}
		return
	}
	o := n.others[s.Node]
	if o == nil {
		o = &neighbour{}
		n.others[s.Node] = o
		n.c.o.Logger.Info("another node is here", "node", s.Node, "workers", len(s.Workers))
	}
	o.heard = time.Now()
	if !slices.Equal(o.workers, s.Workers) {
		o.workers = s.Workers
		n.changed(n.all())
	}
	n.mu.Unlock()
	if s.Ask {
		n.say(false)
	}
}

// sweep forgets nodes that have been silent for too long.
func (n *nodes) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, o := range n.others {
		if now.Sub(o.heard) > lostAfter {
			delete(n.others, name)
			n.changed(n.all())
			n.c.o.Logger.Warn("a node is silent: its workers are waited for no more", "node", name)
		}
	}
}

func (n *nodes) leave() {
	if n.sub == nil {
		return
	}
	close(n.quit)
	n.done.Wait()
	_ = n.sub.Unsubscribe()
	n.sub = nil
}
