package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

// full reports whether the long form is wanted.
func full() bool { return os.Getenv("PUSHD_TEST_FULL") != "" }

const config = `
drain = "100ms"
[cluster]
lost = "2s"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
ping_interval = "0s" # the clients of a long test do not read until its end
routes = { "/echo" = "echo" }
`

// patient is config where no node that lives is ever lost, however busy the machine.
var patient = strings.Replace(config, `"2s"`, `"60s"`, 1)

type object = map[string]any

// client is one of a node's.
type client struct {
	*pushdtest.Client
	id   string
	node *Node
}

// get asks the API until it does not say that it cannot answer now.
func (n *Node) get(path string, answer any) {
	n.t.Helper()
	pushdtest.Eventually(n.t, n.Name+" answers "+path, func() bool { return n.try(path, answer) })
}

func (n *Node) try(path string, answer any) (answered bool) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+n.API+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.Key)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}
	res, err := c.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusGatewayTimeout {
		return false
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil || res.StatusCode != http.StatusOK {
		n.t.Fatalf("%s: %s, %v", path, res.Status, err)
	}
	return true
}

// stateOf is what the node thinks of another one, "" = nothing.
func (n *Node) stateOf(other string) string {
	n.t.Helper()
	var st struct {
		Nodes []struct{ Node, State string }
	}
	n.get("/v1/stats", &st)
	for _, o := range st.Nodes {
		if o.Node == other {
			return o.State
		}
	}
	return ""
}

// reply is what most of the API answers.
type reply struct {
	Reached, Closed int
	Online          bool
	Complete        bool
	Missing         []string
	Connections     []struct{ ID, Node string }
	Channels        []struct{ Members int }
	Cursor          string
	Position        string
}

func (n *Node) post(path string, body object) (status int, r reply) {
	n.t.Helper()
	status, answer := n.Post(path, body)
	raw, _ := json.Marshal(answer)
	if err := json.Unmarshal(raw, &r); err != nil {
		n.t.Fatal(err)
	}
	return status, r
}

// await asks until the answer is right.
func await(t testing.TB, what string, ask func() (reply, bool)) {
	t.Helper()
	var last reply
	defer func() {
		if t.Failed() {
			t.Logf("%s: the last answer was %+v", what, last)
		}
	}()
	pushdtest.Eventually(t, what, func() (ok bool) { last, ok = ask(); return ok })
}

// crowd has n clients on each node, all in the channel "room".
func (c *Cluster) crowd(t testing.TB, n int) (all []*client) {
	t.Helper()
	for _, node := range c.Nodes {
		for range n {
			all = append(all, &client{Client: node.Dial("/echo"), node: node})
		}
	}
	total := n * len(c.Nodes)
	var list reply
	await(t, "all clients are listed", func() (reply, bool) {
		list = reply{}
		c.Nodes[0].get("/v1/connections?limit=1000", &list)
		return list, list.Complete && len(list.Connections) == total
	})
	for _, k := range all { // any of its node's that is left
		at := slices.IndexFunc(list.Connections, func(x struct{ ID, Node string }) bool { return x.Node == k.node.Name })
		if at < 0 {
			t.Fatalf("no connection of %s in %+v", k.node.Name, list.Connections)
		}
		k.id = list.Connections[at].ID
		list.Connections = slices.Delete(list.Connections, at, at+1)
	}
	for i, k := range all {
		await(t, "it joins", func() (reply, bool) {
			status, r := c.Nodes[i%len(c.Nodes)].post("/v1/join", object{"connection": k.id, "channel": "room"})
			return r, status == 200
		})
	}
	return all
}

// publish sends one message to the room, whose text is the number.
func (n *Node) publish(number int) reply {
	n.t.Helper()
	status, r := n.post("/v1/publish", object{"channel": "room", "data": fmt.Sprint(number)})
	if status != 200 {
		n.t.Fatalf("publish by %s: %d", n.Name, status)
	}
	return r
}

// walk lists all connections by pages of n.
func (n *Node) walk(page int, filter url.Values) (ids []string, complete bool) {
	n.t.Helper()
	complete = true
	for cursor := ""; ; {
		filter.Set("cursor", cursor)
		filter.Set("limit", fmt.Sprint(page))
		if cursor == "" {
			filter.Del("cursor")
		}
		var r reply
		n.get("/v1/connections?"+filter.Encode(), &r)
		for _, c := range r.Connections {
			ids = append(ids, c.ID)
		}
		complete = complete && r.Complete
		if cursor = r.Cursor; cursor == "" {
			return ids, complete
		}
	}
}

// wantSame fails unless both lists have the same ids, each once.
func wantSame(t testing.TB, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %s, want %s", what, strings.Join(got, " "), strings.Join(want, " "))
	}
}

// contains reports whether text has all of these.
func contains(text string, all ...string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !strings.Contains(text, s) })
}

// wantNodes waits until the node shows these: name, state, workers, connections.
func (n *Node) wantNodes(want ...string) {
	n.t.Helper()
	var got []string
	defer func() {
		if n.t.Failed() {
			n.t.Logf("%s shows %q, want %q", n.Name, got, want)
		}
	}()
	pushdtest.Eventually(n.t, n.Name+" shows the nodes", func() bool {
		var st struct {
			Nodes []struct {
				Node, State          string
				Workers, Connections int
				Self                 bool
				RTT                  float64 `json:"rtt_ms"`
			}
		}
		n.get("/v1/stats", &st)
		got = nil
		measured := true
		for _, o := range st.Nodes {
			line := fmt.Sprintf("%s %s %d %d", o.Node, o.State, o.Workers, o.Connections)
			if o.Self {
				line += " this"
			}
			got = append(got, line)
			measured = measured && (o.Self || o.State != "ready" || o.RTT > 0)
		}
		return slices.Equal(got, want) && measured
	})
}
