package broker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// cable is a way from one NATS server to another, which can be out.
type cable struct {
	addr  string
	to    string
	ln    net.Listener
	slow  sync.RWMutex // hold it to keep what is on its way
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
			_, _ = io.Copy(slowly{c, way[0]}, way[1])
			way[0].Close()
		})
	}
}

// slowly waits for whoever holds the cable.
type slowly struct {
	c *cable
	io.Writer
}

func (s slowly) Write(p []byte) (int, error) {
	s.c.slow.RLock()
	defer s.c.slow.RUnlock()
	return s.Writer.Write(p)
}

// lead says where the cable leads.
func (c *cable) lead(to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
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
	between.lead(first.ClusterAddr().String())
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

// TestAnHeirThatHeardTooLate: what it began behind is told at once, when it is told where
// the process before it stood.
func TestAnHeirThatHeardTooLate(t *testing.T) {
	b := newBus(t)
	b.serve()
	var old, late inbox
	pub := b.client("push/1/1", nil)
	b.client("push/0/1", &old)
	for i := range 3 {
		patient(t, pub, message("room", fmt.Sprint(i+1)))
	}
	testkit.Eventually(t, "the old one has all", func() bool { return old.count() == 3 })
	heir := b.client("push/0/2", &late)
	patient(t, pub, message("room", "4"))
	testkit.Eventually(t, "the heir has the next", func() bool { return late.count() == 1 })
	heir.Expect(pub.id, worker.Shard(worker.ScopeChannel, "room"), 1)
	if n := late.missing(); n != 2 {
		t.Errorf("%d are missing, want 2", n)
	}
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

// TestEverywhere: what one server has, the processes on another may hear behind what is
// sent by a third, and so much later; but not behind what is sent when all have answered.
func TestEverywhere(t *testing.T) {
	slow := newCable(t)
	// Servers tell each other of the third: by what they advertise there is one way only.
	join := func(advertise string, to ...string) *server.Server {
		return serverAt(t, "127.0.0.1:-1", fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:-1\", no_advertise: true, advertise: %q, routes: [%s] }\n", advertise, strings.Join(to, ", ")))
	}
	first := join(slow.addr)
	slow.lead(first.ClusterAddr().String())
	slow.set(false)
	second := join("127.0.0.1:1", fmt.Sprintf("%q", "nats://"+slow.to))
	third := join("127.0.0.1:1", fmt.Sprintf("%q", "nats://"+slow.addr), fmt.Sprintf("%q", "nats://"+second.ClusterAddr().String()))
	url := func(s *server.Server) string { return "nats://" + s.Addr().String() }
	var in inbox
	there := at(t, url(third), "n/push/1/1", &in)
	in.onQuery = func(q worker.BusQuery) {
		there.Answer(q.Reply, worker.Answer{Worker: "n/push/1/1"})
		there.Answer(q.Reply, worker.Answer{Worker: rosterOf("n")})
	}
	old, heir := at(t, url(first), "n/push/0/1", new(inbox)), at(t, url(second), "n/push/0/2", new(inbox))
	if old.Server() == "" || old.Server() == heir.Server() || heir.Server() != at(t, url(second), "x", new(inbox)).Server() {
		t.Errorf("the servers are %q and %q", old.Server(), heir.Server())
	}
	for _, c := range []*Client{old, heir} { // all ways are open, and nothing is under way
		testkit.Eventually(t, "it is heard", func() bool {
			patient(t, c, message("room", "0"))
			return in.heard(c.id, "0")
		})
		patient(t, c, message("room", "open"))
		testkit.Eventually(t, "it is heard", func() bool { return in.heard(c.id, "open") })
	}
	settled := in.count()
	old.SetRoster([]string{"n/push/1/1"})
	slow.slow.Lock()
	patient(t, old, message("room", "1"))
	all := make(chan bool, 1)
	if err := old.Everywhere(time.Minute, func(complete bool) { all <- complete }); err != nil {
		t.Fatal(err)
	}
	patient(t, heir, message("room", "2"))
	testkit.Eventually(t, "the second comes first", func() bool { return in.count() == settled+1 })
	if len(all) != 0 {
		t.Error("all are said to have answered")
	}
	slow.slow.Unlock()
	if !<-all {
		t.Error("not all have answered")
	}
	patient(t, heir, message("room", "3"))
	testkit.Eventually(t, "all have come", func() bool { return in.count() == settled+3 })
	if texts := in.texts()[settled:]; !slices.Equal(texts, []string{"2", "1", "3"}) {
		t.Errorf("in the order %v", texts)
	}
}

// TestAServerThatGoesSilentAtTheStart: it shakes hands and then says nothing more. A process
// that starts does not wait for it, but takes the next one.
func TestAServerThatGoesSilentAtTheStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, `INFO {"server_id":"S","max_payload":1048576}`+"\r\n")
				in := bufio.NewScanner(conn)
				for shaken := false; in.Scan(); {
					if !shaken && in.Text() == "PING" {
						shaken = true
						fmt.Fprint(conn, "PONG\r\n")
					}
				}
			}()
		}
	}()
	second := serverAt(t, "127.0.0.1:-1", "")
	var in inbox
	c := at(t, "nats://"+ln.Addr().String()+",nats://"+second.Addr().String(), "n/push/0/1", &in)
	if got := c.link.hung(); got != second.Addr().String() {
		t.Errorf("it hangs on %s", got)
	}
	patient(t, c, message("room", "x"))
	testkit.Eventually(t, "it is subscribed there", func() bool { return in.count() == 1 })
}
