package broker

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// cable is a way from one NATS server to another, which can be out.
type cable struct {
	addr  string
	to    string
	ln    net.Listener
	mu    sync.Mutex
	out   bool
	conns []net.Conn
	done  sync.WaitGroup
}

func newCable(t *testing.T) *cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: ln.Addr().String(), ln: ln, out: true}
	c.done.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			c.join(in)
		}
	})
	t.Cleanup(func() { ln.Close(); c.set(true); c.done.Wait() })
	return c
}

func (c *cable) join(in net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, err := net.Dial("tcp", c.to)
	if c.out || err != nil {
		in.Close()
		if err == nil {
			out.Close()
		}
		return
	}
	c.conns = append(c.conns, in, out)
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		c.done.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			way[0].Close()
		})
	}
}

// set plugs the cable in, or out.
func (c *cable) set(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out = out; out {
		for _, conn := range c.conns {
			conn.Close()
		}
		c.conns = nil
	}
}

// twoServers are two NATS servers, and the cable between them, which is out.
func twoServers(t *testing.T) (a, b string, between *cable) {
	t.Helper()
	between = newCable(t)
	first := serverAt(t, "127.0.0.1:-1", "cluster { name: c, listen: \"127.0.0.1:-1\", no_advertise: true }\n")
	between.to = first.ClusterAddr().String()
	second := serverAt(t, "127.0.0.1:-1", fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:-1\", no_advertise: true, routes: [%q] }\n", "nats://"+between.addr))
	return "nats://" + first.Addr().String(), "nats://" + second.Addr().String(), between
}

func at(t *testing.T, url, id string, in *inbox) *Client {
	t.Helper()
	c, err := NewClient(Options{ID: id, Node: "n", URL: url, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(in); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestAnHeirOnAnotherServer: of two processes of one node that follow each other one
// has fled to the second server, and the other begins at the first, from where the
// second cannot be heard yet. What neither gives to the clients that move is a gap.
func TestAnHeirOnAnotherServer(t *testing.T) {
	first, second, between := twoServers(t)
	var old, heir, none inbox
	pub := at(t, second, "n/pub/0/1", &none)
	before := at(t, second, "n/push/0/1", &old)
	after := at(t, first, "n/push/0/2", &heir)
	for _, text := range []string{"1", "2"} {
		patient(t, pub, message("room", text))
	}
	testkit.Eventually(t, "the old one has both", func() bool { return old.count() == 2 })
	stood := map[source]uint64{}
	before.Heard(func(publisher uint64, shard uint8, seq uint64) { stood[source{publisher, shard}] = seq })
	for _, text := range []string{"3", "4"} { // the clients are on their way
		patient(t, pub, message("room", text))
	}
	for src, seq := range stood {
		after.Expect(src.Publisher, src.Shard, seq)
	}
	between.set(false)
	last := 4
	testkit.Eventually(t, "the heir hears the publisher", func() bool {
		last++
		patient(t, pub, message("room", fmt.Sprint(last)))
		return heir.count() > 0
	})
	testkit.Eventually(t, "each is heard, or missing", func() bool { return heir.count()+int(heir.missing()) == last-2 })
}

// TestAPublisherThatBeganBehindACut: all that it has sent to those who were there is
// missing to them, the first included.
func TestAPublisherThatBeganBehindACut(t *testing.T) {
	first, second, between := twoServers(t)
	var old, fresh, none inbox
	there := at(t, first, "n/push/0/1", &old)
	at(t, first, "n/push/1/1", &fresh) // came at the same time: it may not know better
	there.receiver.mu.Lock()
	there.receiver.since = time.Now().Add(-time.Hour)
	there.receiver.mu.Unlock()
	pub := at(t, second, "n/pub/0/1", &none)
	for _, text := range []string{"1", "2"} {
		patient(t, pub, message("room", text))
	}
	testkit.Eventually(t, "they are sent", func() bool { return none.count() == 2 })
	between.set(false)
	testkit.Eventually(t, "both are missing", func() bool { return old.missing() == 2 })
	if fresh.missing() != 0 || old.count() != 0 {
		t.Errorf("%d missing to the other; %q", fresh.missing(), old.texts())
	}
}
