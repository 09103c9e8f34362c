package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/master"
)

// Options say what to start.
type Options struct {
	Nodes  int    // default 3
	NATS   int    // servers; default 1
	Config string // of each node, as in pushdtest.Options; no [broker] url and no [cluster] node
	Env    []string
	Flags  []string // of `go build`

	Direct bool // no relay between nodes and their NATS: of what is measured it would be a part
	Wires  bool // each node is on a machine of its own with its NATS server; the test is skipped where that cannot be

	Program []byte // what each node runs from a file of its own, Node.Binary; default: what is built
}

// Cluster is some pushds on a NATS.
type Cluster struct {
	NATS  []*NATS
	Links []*Relay // between node i and its NATS, the first of its url; none with Wires or Direct
	Nodes []*Node  // n1, n2, …
	Wires *Wires   // nil without Options.Wires
}

// Node is one machine's pushd.
type Node struct {
	*pushdtest.Server
	Name  string
	Link  *Relay // nil with Wires or Direct
	t     testing.TB
	space *space // nil = that of the test
}

// Start starts all and waits until each node is ready, not until they know each
// other.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{}
	if o.Wires {
		var err error
		if c.Wires, err = NewWires(t, o.Nodes); err != nil {
			t.Skipf("no machines of their own: %v", err)
		}
		o.NATS = o.Nodes
	}
	c.NATS = startNATS(t, max(o.NATS, 1), c.Wires)
	for i := range o.Nodes {
		own := i % len(c.NATS)
		first := c.NATS[own].Addr
		var link *Relay
		if c.Wires == nil && !o.Direct {
			link = StartRelay(t, first)
			c.Links = append(c.Links, link)
			first = link.Addr
		}
		urls := []string{"nats://" + first} // its own first
		for j := range len(c.NATS) - 1 {
			urls = append(urls, "nats://"+c.NATS[(own+j+1)%len(c.NATS)].Addr)
		}
		n := &Node{Name: fmt.Sprintf("n%d", i+1), Link: link, t: t}
		env := append([]string{"PUSHD_BROKER_URL=" + strings.Join(urls, ","), "PUSHD_CLUSTER_NODE=" + n.Name}, o.Env...)
		n.Server = pushdtest.Start(t, pushdtest.Options{Config: o.Config, Manual: true, Flags: o.Flags, Env: env})
		if c.Wires != nil {
			n.space = c.Wires.machines[i]
			for _, addr := range []string{fmt.Sprint("127.0.0.1:", n.Port), n.API} { // clients come by its loopback
				startRelay(t, addr, addr, n.space.dial)
			}
		}
		if o.Program != nil {
			n.Binary = filepath.Join(n.Dir, "pushd")
			testkit.WriteProgram(t, n.Binary, o.Program, 0o755)
		}
		c.Nodes = append(c.Nodes, n)
	}
	c.startAll(t)
	return c
}

// startAll runs `start` of all nodes at the same time.
func (c *Cluster) startAll(t testing.TB) {
	t.Helper()
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
			defer cancel()
			errs[i] = n.space.in(func() error {
				out, err := n.Command(ctx, "start", "-d").CombinedOutput()
				if err != nil {
					err = fmt.Errorf("%s: %w: %s", n.Name, err, out)
				}
				return err
			})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Freeze makes all processes of the node stand still until Thaw.
func (n *Node) Freeze() {
	n.t.Helper()
	n.signal(syscall.SIGSTOP)
	pushdtest.Eventually(n.t, n.Name+" stands still", func() bool {
		return !slices.ContainsFunc(n.Processes(), func(p pushdtest.Process) bool { return !pushdtest.Stands(p.PID) })
	})
}

// Thaw ends Freeze.
func (n *Node) Thaw() { n.signal(syscall.SIGCONT) }

// Die kills all processes of the node, as a machine dies: none has time for a last
// word.
func (n *Node) Die() {
	n.t.Helper()
	n.Freeze()
	first := n.masterPID()
	for _, p := range n.Processes() { // the master last: its orphans would be woken, by SIGHUP and SIGCONT
		if p.PID != first {
			n.Kill(p.PID)
		}
	}
	n.signal(syscall.SIGKILL)
	pushdtest.Eventually(n.t, n.Name+" is gone", func() bool { return len(n.Processes()) == 0 })
}

// masterPID is that of the lock file: a frozen master says nothing.
func (n *Node) masterPID() int {
	n.t.Helper()
	pid, ok := master.MasterPID(filepath.Join(n.Dir, "run"))
	if !ok {
		n.t.Fatal(n.Name + " has no master")
	}
	return pid
}

func (n *Node) signal(sig syscall.Signal) {
	for _, p := range n.Processes() {
		_ = syscall.Kill(p.PID, sig) // it may be gone
	}
}
