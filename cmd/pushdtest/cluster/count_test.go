package cluster

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestWhatCountsIsOfAllNodes: whoever is asked, an answer that says it is complete
// is exact.
func TestWhatCountsIsOfAllNodes(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: patient})
	all := c.crowd(t, 2)
	calls := 36
	if full() {
		calls = 1000
	}
	sent := c.calls(t, all, calls)

	n1 := c.Nodes[0]
	n1.wantNodes("n1 ready 2 2 this", "n2 ready 2 2", "n3 ready 2 2")
	if out := n1.MustRun("nodes"); !contains(out, "NODE", "n1 (this)", "n3", c.NATS[0].Addr[:9]) {
		t.Errorf("nodes:\n%s", out)
	}
	for node, want := range map[string]int{"": 6, "n2": 2} {
		args := []string{"connections", "--json", "--channel", "room"}
		if node != "" {
			args = append(args, "--node", node)
		}
		await(t, "connections of all and of one", func() (r reply, ok bool) {
			_ = json.Unmarshal([]byte(n1.MustRun(args...)), &r)
			return r, r.Complete && len(r.Connections) == want && (node == "" || r.Connections[0].Node == node)
		})
	}
	if out := n1.MustRun("connections", "--wide"); !contains(out, "NODE", "n1 ", "n2 ", "n3 ") {
		t.Errorf("connections:\n%s", out)
	}
	if r := n1.Run("connections", "--node", "n9"); r.Code == 0 || !contains(r.Stderr, `no node "n9", but n1, n2, n3`) {
		t.Errorf("of a node that is not there: exit %d %s", r.Code, r.Stderr)
	}
	for _, k := range all {
		for i := range sent {
			k.WantText(fmt.Sprint(i))
		}
	}
}

// TestANodeThatIsSilent is missing by name until it is lost. One that stood still is
// back with all that it has not heard; one that has died stays lost.
func TestANodeThatIsSilent(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: config, Nodes: 2})
	all := c.crowd(t, 1)
	n1, n2 := c.Nodes[0], c.Nodes[1]
	sent := 0
	publish := func(n *Node) reply {
		sent++
		return n.publish(sent - 1)
	}
	back := func(n *Node) {
		await(t, n.Name+" knows both", func() (reply, bool) { r := publish(n); return r, r.Complete && r.Reached == 2 })
	}
	lost := func(why string) {
		await(t, "n2 is waited for no more", func() (reply, bool) {
			r := publish(n1)
			if (r.Complete || !slices.Contains(r.Missing, "n2")) && n1.stateOf("n2") != "lost" || r.Reached > 1 {
				t.Errorf("n2 %s: %+v, and n1 takes it for %q", why, r, n1.stateOf("n2"))
			}
			return r, r.Complete && r.Reached == 1
		})
	}
	back(n1)
	n2.Freeze()
	lost("stands still")
	n2.Thaw()
	back(n1)
	back(n2)
	for _, k := range all { // late is not lost
		for i := range sent {
			k.WantText(fmt.Sprint(i))
		}
	}
	n2.Die()
	lost("is dead")
	n1.wantNodes("n1 ready 2 1 this", "n2 lost 0 0")
}

// calls asks the nodes in turn and returns how many messages each client has to
// have got.
func (c *Cluster) calls(t *testing.T, all []*client, calls int) (sent int) {
	complete := 0
	var ids []string
	for _, k := range all {
		ids = append(ids, k.id)
	}
	for i := range calls {
		n, k := c.Nodes[i%len(c.Nodes)], all[(i/2)%len(all)]
		r := n.publish(sent)
		sent++
		if r.Complete {
			complete++
		}
		if r.Complete && r.Reached != len(all) || r.Reached > len(all) {
			t.Errorf("call %d, publish by %s: %+v", i, n.Name, r)
		}
		status, r := n.post("/v1/bind", object{"connection": k.id, "uid": fmt.Sprint("u", i)})
		if status == 404 {
			t.Errorf("call %d, bind by %s: %d", i, n.Name, status)
		}
		if status, r = n.post("/v1/kick", object{"uid": "nobody"}); status != 200 || r.Closed != 0 {
			t.Errorf("call %d, kick by %s: %d %+v", i, n.Name, status, r)
		}
		page := 1 + i%7
		got, whole := n.walk(page, url.Values{})
		if whole {
			wantSame(t, fmt.Sprintf("call %d, connections by %s in pages of %d", i, n.Name, page), got, ids)
		}
		if got, whole = n.walk(page, url.Values{"node": {k.node.Name}}); whole && len(got) != 2 {
			t.Errorf("call %d, connections of %s by %s: %v", i, k.node.Name, n.Name, got)
		}
		var list reply
		n.get("/v1/channels?prefix=room", &list)
		if list.Complete && (len(list.Channels) != 1 || list.Channels[0].Members != len(all)) {
			t.Errorf("call %d, channels by %s: %+v", i, n.Name, list)
		}
	}
	if complete == 0 {
		t.Errorf("of %d publishes none was complete", calls)
	}
	t.Logf("%d of %d publishes were complete", complete, calls)
	return sent
}

// TestASecondOfANameDoesNotServe: it fails at its start, by name, and disturbs
// nobody; one whose name is free again serves.
func TestASecondOfANameDoesNotServe(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: patient, Nodes: 2})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 1)
	twin := pushdtest.Start(t, pushdtest.Options{Config: config, Manual: true, Env: []string{
		"PUSHD_BROKER_URL=nats://" + c.NATS[0].Addr, "PUSHD_CLUSTER_NODE=n2",
	}})
	if r := twin.Run("start", "-d"); r.Code == 0 || !contains(r.Stderr+r.Stdout+twin.Log(), `the node "n2"`, "[cluster] node") {
		t.Errorf("a second n2: exit %d\n%s%s\n%s", r.Code, r.Stdout, r.Stderr, twin.Log())
	}
	await(t, "nobody was disturbed", func() (reply, bool) { r := n1.publish(0); return r, r.Complete && r.Reached == 2 })
	await(t, "nobody was disturbed", func() (reply, bool) { r := n2.publish(0); return r, r.Complete && r.Reached == 2 })
	all[0].WantText("0")
	n2.Die()
	twin.MustRun("start", "-d")
	twin.Dial("/echo")
	await(t, "the name is free", func() (reply, bool) {
		var r reply
		n1.get("/v1/connections?node=n2", &r)
		return r, r.Complete && len(r.Connections) == 1
	})
}

// TestABrokerProcessKnowsWhoWasThere: killed while another node stands still, the
// next one waits for that node from its first answer on.
func TestABrokerProcessKnowsWhoWasThere(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: patient, Nodes: 2})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	c.crowd(t, 1)
	senders := []*sender{{node: n1}, {node: n2}}
	whole(t, senders, 2)
	begin, asked := time.Now(), 0
	pushdtest.Eventually(t, "the master has been told", func() bool {
		n1.stateOf("n2") // it gets its turns
		asked++
		return asked >= 30 && time.Since(begin) > 3*time.Second
	})
	n2.Freeze()
	defer n2.Thaw()
	n1.Kill(n1.Status().Broker.PID)
	for answers := 0; answers < 3; {
		status, r := n1.post("/v1/publish", object{"channel": "room", "data": "x"})
		if status == 503 {
			continue
		}
		answers++
		if status != 200 || r.Complete || !slices.Contains(r.Missing, "n2") {
			t.Errorf("n2 stands still: %d %+v", status, r)
		}
	}
	n2.Thaw()
	whole(t, senders, 2)
}
