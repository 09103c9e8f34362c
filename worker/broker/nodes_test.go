package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/nodes"
)

// cluster is a NATS server of somebody else.
func cluster(t testing.TB) (url string) {
	t.Helper()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: MaxEnvelope})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	return ns.ClientURL()
}

// node is one machine's host, and a worker of it.
type node struct {
	t      testing.TB
	name   string
	url    string
	tenure *control.Tenure
	host   *Host
	diary  *diary
	in     inbox
	worker *Client
	lost   atomic.Pointer[error]
}

func (n *node) client(id string, in worker.Inbox) *Client {
	n.t.Helper()
	c, err := NewClient(Options{ID: id, Node: n.name, URL: n.url, Logger: quiet()})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := c.Start(in); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	return c
}

func (n *node) start() error {
	n.t.Helper()
	err := n.serve()
	if err == nil {
		n.host.SetRoster([]string{"push/0/1"})
	}
	return err
}

// serve is start before the master has said anything.
func (n *node) serve() (err error) {
	n.t.Helper()
	n.diary = &diary{notes: make(chan string, 4096)}
	theDiary = n.diary
	n.host, err = StartHost(HostOptions{
		Client: n.client("api", nil), Logger: quiet(), Tenure: n.tenure,
		OnConflict: func(err error) { n.lost.Store(&err) },
	})
	if err == nil {
		n.t.Cleanup(n.host.Close)
	}
	return err
}

func newNode(t testing.TB, url, name string) *node {
	t.Helper()
	n := &node{t: t, name: name, url: url, tenure: &control.Tenure{Token: rand.Uint64() | 1, Held: true}}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	id := name + "/push/0/1"
	ready := make(chan struct{})
	n.in.onQuery = func(q worker.BusQuery) {
		<-ready
		n.worker.Answer(q.Reply, worker.Answer{Worker: id, Data: json.RawMessage("1")})
	}
	n.worker = n.client(id, &n.in)
	close(ready)
	return n
}

func (n *node) knows(all ...string) {
	n.t.Helper()
	testkit.Eventually(n.t, fmt.Sprintf("%s knows %v", n.name, all), func() bool {
		got, _ := n.host.o.Client.roster.get()
		return slices.Equal(slices.Sorted(slices.Values(got)), all)
	})
}

// TestEverywhereOnNodes: all workers, and the broker process of each node.
func TestEverywhereOnNodes(t *testing.T) {
	url := cluster(t)
	a, b := newNode(t, url, "a"), newNode(t, url, "b")
	both := []string{"a/push/0/1", "b/push/0/1"}
	a.knows(both...)
	b.knows(both...)
	for _, n := range []*node{a, b} {
		all := make(chan bool, 1)
		if err := n.worker.Everywhere(time.Minute, func(complete bool) { all <- complete }); err != nil || !<-all {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	_ = b.host.query.Unsubscribe()
	all := make(chan bool, 1)
	if err := a.worker.Everywhere(300*time.Millisecond, func(complete bool) { all <- complete }); err != nil || <-all {
		t.Errorf("the broker process of b has not answered: %v", err)
	}
}

// TestNodesOfOneCluster: processes of the same names on two nodes are told apart,
// whoever asks waits for all of them, and services are the node's own.
func TestNodesOfOneCluster(t *testing.T) {
	url := cluster(t)
	a, b := newNode(t, url, "a.example.org"), newNode(t, url, "b")
	both := []string{"a.example.org/push/0/1", "b/push/0/1"}
	a.knows(both...)
	b.knows(both...)
	for _, n := range []*node{a, b} {
		got := make(chan []string, 1)
		if err := n.worker.Gather(worker.BusQuery{What: "x"}, time.Minute, func(answers []worker.Answer, complete bool) {
			var from []string
			for _, a := range answers {
				from = append(from, a.Worker)
			}
			if !complete {
				t.Errorf("%s: not complete: %v", n.name, from)
			}
			slices.Sort(from)
			got <- from
		}); err != nil {
			t.Fatal(err)
		}
		if from := <-got; !slices.Equal(from, both) {
			t.Errorf("%s heard %v", n.name, from)
		}
	}

	// Publications reach all nodes, words and what services publish one.
	patient(t, a.worker, message("room", "to all"))
	testkit.Eventually(t, "both have it", func() bool { return a.in.count() == 1 && b.in.count() == 1 })
	a.diary.want(t, "[a.example.org/push/0/1]")
	b.diary.want(t, "[b/push/0/1]")
	if err := a.worker.Tell("diary", both[0], []byte("publish local")); err != nil {
		t.Fatal(err)
	}
	a.diary.want(t, both[0]+": publish local")
	testkit.Eventually(t, "the own worker has both", func() bool { return a.in.count() == 3 })
	patient(t, a.worker, message("room", "last"))
	testkit.Eventually(t, "the other has what is not local", func() bool { return b.in.count() == 2 })
	if err := b.worker.TellAll("diary", both[1], []byte("to every service")); err != nil {
		t.Fatal(err)
	}
	a.diary.want(t, both[1]+": to every service")
	b.diary.want(t, both[1]+": to every service")
	if got := strings.Join(b.in.texts(), ","); got != "to all,last" || a.in.missing()+b.in.missing() != 0 {
		t.Errorf("the other got %q; gaps %d and %d", got, a.in.missing(), b.in.missing())
	}

	// A process that is replaced is a node that goes on; one that leaves is missed
	// soon after.
	b.host.Close()
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	a.knows(both...)
	b.host.Part()
	testkit.Eventually(t, "b says that it leaves", func() bool { return a.stateOf("b") == nodes.Leaving })
	b.host.Close()
	a.knows(both[0])
}

func (n *node) stateOf(name string) nodes.State {
	for _, o := range n.host.Nodes() {
		if o.Name == name {
			return o.State
		}
	}
	return ""
}

// TestASuccessorHasTheWorkers: until the master says who lives, a broker process goes by
// whom its tenure names, in what it tells the others and in whom it waits for itself.
func TestASuccessorHasTheWorkers(t *testing.T) {
	for _, r := range []struct {
		named []string
		own   []string // of both, as each of them knows it
		knows bool     // the successor, by itself
	}{
		{[]string{"push/0/1", "push/1/1"}, []string{"b/push/0/1", "b/push/1/1"}, true},
		{[]string{}, nil, true},
		{nil, nil, false}, // the master is of the version before
	} {
		url := cluster(t)
		a, b := newNode(t, url, "a"), newNode(t, url, "b")
		a.knows("a/push/0/1", "b/push/0/1")
		b.knows("a/push/0/1", "b/push/0/1")
		b.host.Close()
		b.tenure.Workers = r.named
		if err := b.serve(); err != nil {
			t.Fatal(err)
		}
		epoch := b.host.o.Client.id
		testkit.Eventually(t, "a has heard the successor", func() bool {
			return slices.ContainsFunc(a.host.Nodes(), func(n nodes.Node) bool { return n.Epoch == epoch })
		})
		both := append([]string{"a/push/0/1"}, r.own...)
		a.knows(both...)
		if r.knows {
			b.knows(both...)
		} else if all, _ := b.host.o.Client.roster.get(); all != nil {
			t.Errorf("with %v named, b knows %v", r.named, all)
		}
	}
}

// TestPeers: services of one name hear of the other nodes, and each other.
func TestPeers(t *testing.T) {
	url := cluster(t)
	a, b := newNode(t, url, "a"), newNode(t, url, "b")
	peers := func(n *node) []nodes.Node { return *n.diary.peers.Load() }
	if err := b.diary.env.Say([]byte("7")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a hears b's word", func() bool {
		p := peers(a)
		return len(p) == 1 && p[0].Name == "b" && p[0].State == nodes.Ready && string(p[0].Words["diary"]) == "7"
	})
	if err := b.diary.env.Say(make([]byte, nodes.MaxWord+1)); !errors.Is(err, worker.ErrTooLarge) {
		t.Errorf("a long word: %v", err)
	}
	a.diary.want(t, "[a/push/0/1]")
	b.diary.want(t, "[b/push/0/1]")
	if a.diary.env.Node != "a" {
		t.Error(a.diary.env.Node)
	}
	for i := range 100 {
		if err := errors.Join(a.diary.env.TellPeers(fmt.Append(nil, i)), a.diary.env.TellPeer("b", []byte("you"))); err != nil {
			t.Fatal(err)
		}
	}
	_ = b.diary.env.TellPeer("a", []byte("back"))
	for i := range 100 {
		b.diary.want(t, fmt.Sprintf("peer a: %d", i))
		b.diary.want(t, "peer a: you")
	}
	a.diary.want(t, "peer b: back") // and nothing of its own
	if err := a.host.o.Client.link.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	a.diary.want(t, "the bus is back")
	epoch := peers(a)[0].Epoch
	b.host.Close()
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a hears of the successor", func() bool {
		p := peers(a)
		return len(p) == 1 && p[0].Epoch != epoch && p[0].State == nodes.Ready && p[0].Words == nil
	})
}

// TestTwoNodesOfOneName: the later one does not serve, and says why.
func TestTwoNodesOfOneName(t *testing.T) {
	url := cluster(t)
	first := newNode(t, url, "same")
	second := &node{t: t, name: "same", url: url}
	if err := second.start(); err == nil || !strings.Contains(err.Error(), `the node "same"`) || !strings.Contains(err.Error(), "[cluster] node") {
		t.Errorf("the second of a name: %v", err)
	}
	if p := first.lost.Load(); p != nil {
		t.Errorf("the first one gives up: %v", *p)
	}
}

// TestAloneThereIsNoNode: on a bus of its own nothing has another name than it
// had before there were nodes.
func TestAloneThereIsNoNode(t *testing.T) {
	s := newSubjects("pushd", "", 1)
	if s.shard[7] != "pushd.s.7" || s.local[7] != "pushd.s.7" || s.stream != "pushd.s.*" || s.query != "pushd.q" ||
		s.serviceOf("x") != "pushd.v.78" || s.allOf("x") != s.serviceOf("x") || s.foreign("pushd.s.l7") {
		t.Errorf("%+v", s)
	}
	if rosterOf("") != "roster" {
		t.Error(rosterOf(""))
	}
}
