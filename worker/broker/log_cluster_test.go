package broker

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// natsCluster is three servers with JetStream that know each other.
type natsCluster struct {
	t       testing.TB
	options [3]*server.Options
	servers [3]*server.Server
}

func newNATSCluster(t testing.TB) *natsCluster {
	c := &natsCluster{t: t}
	var routes []*url.URL
	for i := range c.options {
		c.options[i] = &server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: pushdtest.FreePort(t), NoSigs: true, NoLog: true, MaxPayload: MaxEnvelope,
			JetStream: true, StoreDir: t.TempDir(), Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: pushdtest.FreePort(t)},
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", c.options[i].Cluster.Port)})
	}
	for i := range c.options {
		c.options[i].Routes = routes
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	testkit.Eventually(t, "the servers have a leader", func() bool {
		return slices.ContainsFunc(c.servers[:], func(s *server.Server) bool { return s.JetStreamIsLeader() })
	})
	return c
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	o := *c.options[i]
	s, err := server.NewServer(&o)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
}

func (c *natsCluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// url names all servers, the i-th first.
func (c *natsCluster) url(i int) string {
	var list []string
	for n := range c.options {
		list = append(list, fmt.Sprintf("nats://127.0.0.1:%d", c.options[(i+n)%3].Port))
	}
	return strings.Join(list, ",")
}

// leader is the server that leads the stream.
func (c *natsCluster) leader() int {
	lead := -1
	testkit.Eventually(c.t, "the stream has a leader", func() bool {
		lead = slices.IndexFunc(c.servers[:], func(s *server.Server) bool { return s.Running() && s.JetStreamIsStreamLeader("$G", "pushd_history") })
		return lead >= 0
	})
	return lead
}

// TestSharedLogLosesItsLeader: what was acknowledged is there, on each node, in
// one order and once, whatever server stops; and the epoch stays.
func TestSharedLogLosesItsLeader(t *testing.T) {
	if os.Getenv("PUSHD_TEST_FULL") == "" {
		t.Skip("three servers that elect: PUSHD_TEST_FULL=1")
	}
	c := newNATSCluster(t)
	replicas = 3
	defer func() { replicas = 1 }()
	a, b := follow(t, c.url(0), "a"), follow(t, c.url(1), "b")
	a.isLive()
	b.isLive()
	var acked []string
	refused := 0
	add := func(f *follower, n int) {
		text := fmt.Sprint(n)
		if f.say("room", text, nil).err == nil {
			acked = append(acked, "room "+text)
		} else {
			refused++
			time.Sleep(10 * time.Millisecond)
		}
	}
	n := 0
	for range 4 {
		lead := c.leader()
		for range 50 {
			add([]*follower{a, b}[n%2], n)
			n++
		}
		c.stop(lead)
		for end := len(acked) + 50; len(acked) < end; n++ {
			add([]*follower{a, b}[n%2], n)
		}
		c.start(lead)
		testkit.Eventually(t, "the server is back", func() bool { return c.servers[lead].JetStreamIsCurrent() })
	}
	for _, f := range []*follower{a, b} {
		f.until("all that was acknowledged", func() bool { return has(f.texts, acked) })
	}
	a.until("the same in both", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Equal(a.texts, b.texts)
	})
	if a.begins != 1 || b.begins != 1 {
		t.Errorf("begun %d and %d times", a.begins, b.begins)
	}
	seen := map[string]bool{}
	for _, text := range a.texts {
		if seen[text] {
			t.Errorf("%s twice", text)
		}
		seen[text] = true
	}
	t.Logf("%d acknowledged, %d refused, %d in the log", len(acked), refused, len(a.texts))
}

// has reports whether list has all of part, in its order.
func has(list, part []string) bool {
	for _, text := range list {
		if len(part) > 0 && text == part[0] {
			part = part[1:]
		}
	}
	return len(part) == 0
}
