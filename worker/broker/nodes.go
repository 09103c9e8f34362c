package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/nodes"
)

const (
	// askAgain is how often a process that asks for its name does so.
	askAgain = 100 * time.Millisecond
	// meetNodes is how long a node that has its name waits for the others to
	// speak up, so that the first gathering knows them.
	meetNodes = 50 * time.Millisecond
	// nameBound is how long a new node waits for one of its name that is leaving.
	nameBound = 7 * time.Second
)

// signs is what the broker process says of its node, and hears of the others.
// What it knows is in the table. Its methods may be called by any goroutine.
type signs struct {
	c       *Client
	changed func()      // the table has; called with mu held
	usurped func(error) // another process has this node's name, and had it first
	// rejoined: the bus is back, after so long. Called by run.
	rejoined func(time.Duration)
	sub      *nats.Subscription
	talks    atomic.Bool // from join to close
	quit     chan struct{}
	gone     chan struct{} // closed: the name is another one's
	done     sync.WaitGroup

	keep  func(json.RawMessage)
	kept  json.RawMessage // what keep got last; of run
	well  time.Time       // when the bus was there last; of run
	joins int64           // that it had by then

	mu    sync.Mutex
	table *nodes.Table
	own   []string // workers of this node, by their names on the bus
	taken bool     // gone is closed
}

func newSigns(o *HostOptions) *signs {
	c := o.Client
	self := nodes.Self{Name: c.o.Node, Epoch: c.id, Version: o.Version, Apps: o.AppsHash, Rules: o.RulesHash}
	if t := o.Tenure; t != nil {
		self.Token, self.Age, self.Held = t.Token, time.Duration(t.AgeMS)*time.Millisecond, t.Held
	}
	n := &signs{
		c: c, keep: o.Keep, quit: make(chan struct{}), gone: make(chan struct{}),
		table: nodes.New(self, o.Times, time.Now()),
	}
	var known []nodes.Sign
	if o.Tenure != nil && json.Unmarshal(o.Tenure.Kept, &known) == nil {
		n.table.Restore(known, time.Now())
	}
	return n
}

// rosterOf is the Worker of a Host's answer to a gathering. No worker has that
// name: they have slots.
func rosterOf(node string) string {
	if node == "" {
		return "roster"
	}
	return node + "/roster"
}

// isRoster reports whether the name is one of rosterOf.
func isRoster(name string) bool { return name == "roster" || strings.HasSuffix(name, "/roster") }

// alone reports whether this node has a bus of its own. Then it says nothing.
func (n *signs) alone() bool { return n.c.o.Node == "" }

// join makes this node one of them, unless there is one of its name.
func (n *signs) join() (err error) {
	if n.alone() {
		return nil
	}
	if n.sub, err = n.c.link.nc.Subscribe(n.c.subjects.nodes, n.onSign); err != nil {
		return fmt.Errorf("%s: %w", n.c.subjects.nodes, err)
	}
	if err := n.take(); err != nil {
		return err
	}
	n.say(true)
	select {
	case <-n.gone:
		return n.conflict()
	case <-time.After(meetNodes):
	}
	n.talks.Store(true)
	n.well, n.joins = time.Now(), n.c.link.joins.Load()
	n.done.Go(n.run)
	return nil
}

// take waits until nobody else has this node's name.
func (n *signs) take() error {
	begin := time.Now()
	for {
		n.mu.Lock()
		left := n.table.FreeIn(begin, time.Now())
		if left == 0 {
			n.table.Serve()
		}
		n.mu.Unlock()
		if left == 0 {
			return nil
		}
		if time.Since(begin) > nameBound {
			return fmt.Errorf("%w; it is being stopped, but is not gone after %s", n.conflict(), nameBound)
		}
		n.say(true)
		select {
		case <-n.gone:
			return n.conflict()
		case <-time.After(min(left, askAgain)):
		}
	}
}

func (n *signs) conflict() error {
	return nameTaken(n.c.o.Node)
}

// watchLink notices a bus that was away, be it only for a moment.
func (n *signs) watchLink(now time.Time) {
	l := n.c.link
	if !l.up() {
		return
	}
	if joins := l.joins.Load(); joins != n.joins {
		n.rejoined(now.Sub(n.well))
		n.joins = joins
	}
	n.well = now
}

func (n *signs) run() {
	t := time.NewTicker(nodes.Beat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.watchLink(time.Now())
			if n.c.link.up() { // else it is this node that hears nobody
				n.sweep(time.Now())
			}
			n.say(false)
			n.remember()
		case <-n.quit:
			return
		}
	}
}

// remember has the nodes of now kept for the process after this one. Only run calls
// it.
func (n *signs) remember() {
	if n.keep == nil {
		return
	}
	n.mu.Lock()
	known := n.table.Known()
	n.mu.Unlock()
	for i := range known {
		known[i].N = 0 // it grows with each, and counts for nothing
	}
	raw, err := json.Marshal(known)
	if err != nil || len(raw) > control.MaxKept || bytes.Equal(raw, n.kept) {
		return
	}
	n.kept = raw
	n.keep(raw)
}

// say sends a sign of life. One that is lost is followed by the next.
func (n *signs) say(ask bool) {
	at := n.c.link.nc.ConnectedAddr()
	n.mu.Lock()
	n.table.SetAt(at)
	s := n.table.Sign(ask, time.Now())
	n.mu.Unlock()
	if raw, err := json.Marshal(s); err == nil {
		_ = n.c.put(item{subject: n.c.subjects.nodes, raw: raw, queued: time.Now(), size: len(raw)})
	}
}

// update changes what this node says of itself, and says it.
func (n *signs) update(change func(*nodes.Table)) {
	n.mu.Lock()
	change(n.table)
	n.changed()
	n.mu.Unlock()
	if n.talks.Load() {
		n.say(false)
	}
}

// set names the workers of this node, as the master calls them.
func (n *signs) set(workers []string) {
	own := make([]string, 0, len(workers))
	for _, w := range workers {
		if id, ok := control.ParseIdentity(w); ok {
			own = append(own, id.On(n.c.o.Node).String())
		}
	}
	n.update(func(t *nodes.Table) {
		t.SetWorkers(own)
		n.own = own
	})
}

// ownWorkers are those that set was told of; nil = it was not.
func (n *signs) ownWorkers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clip(n.own)
}

// all returns the table.
func (n *signs) all() []nodes.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.table.Nodes(time.Now())
}

// refused counts what came in the place of signs of life.
func (n *signs) refused() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.table.Refused()
}

// onSign runs on the subscription's goroutine.
func (n *signs) onSign(m *nats.Msg) {
	var s nodes.Sign
	if json.Unmarshal(m.Data, &s) != nil {
		s = nodes.Sign{} // which is refused, and counted
	}
	n.mu.Lock()
	verdict := n.table.Hear(&s, time.Now())
	usurped := verdict == nodes.Taken && !n.taken
	n.taken = n.taken || usurped
	if verdict == nodes.News || verdict == nodes.Met {
		n.changed()
	}
	n.mu.Unlock()
	if verdict == nodes.Met {
		n.c.o.Logger.Info("another node is here", "node", s.Node, "workers", len(s.Workers), "version", s.Version)
	}
	switch {
	case usurped:
		close(n.gone)
		n.usurped(n.conflict())
	case verdict == nodes.Rival, s.Ask && verdict.Counts():
		n.say(false)
	}
}

// sweep draws the conclusions from silence.
func (n *signs) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes := n.table.Sweep(now)
	for _, c := range changes {
		switch c.To {
		case nodes.Lost:
			n.c.o.Logger.Warn("a node is lost: its workers are waited for no more", "node", c.Name)
		case "":
			n.c.o.Logger.Info("a node has left", "node", c.Name, "was", c.From)
		}
	}
	if len(changes) > 0 {
		n.changed()
	}
}

// leave tells the others that the clients of this node are being closed.
func (n *signs) leave() {
	n.update(func(t *nodes.Table) { t.Leave() })
}

// close ends it. A process that has not said that it leaves is replaced by
// another one of the same node.
func (n *signs) close() {
	if n.talks.CompareAndSwap(true, false) {
		close(n.quit)
		n.done.Wait()
	}
	if n.sub != nil {
		_ = n.sub.Unsubscribe()
	}
}
