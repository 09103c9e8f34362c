package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/channel"
)

// stuck is a worker with one client that does not read: its socket is full and
// the rest of a large message waits.
type stuck struct {
	*server
	t       *testing.T
	bus     *testBus
	client  *client
	publish func(...Publication)
	last    int
}

const (
	stuckBytes = 8 << 20
	stuckRoom  = 64 << 10 // in its queue
)

func newStuck(t *testing.T, w *Worker) *stuck {
	b := &testBus{}
	w.OnConnect = func(c *Conn) {
		for _, name := range []string{"price.x", "price.y", "log", "chat"} {
			c.Join(name)
		}
	}
	x := &stuck{server: launch(t, w, b, nil), t: t, bus: b}
	x.client = stall(t, x.addrs[0])
	x.eventually("its socket is full", func() bool {
		if w.CountConnections() == 0 {
			return false
		}
		c := w.loop.conns.all[0]
		if c.open() && c.out == nil {
			must(t, c.SendText(strings.Repeat("-", stuckBytes)))
		}
		return c.out != nil
	})
	x.on(func() { w.Limits.MaxQueue = w.loop.conns.all[0].out.bytes + stuckRoom })
	x.publish = b.service()
	return x
}

// say publishes and waits until all is delivered.
func (x *stuck) say(channel string, texts ...string) {
	x.t.Helper()
	for _, text := range texts {
		x.publish(Publication{Kind: KindMessage, Scope: ScopeChannel, Target: channel, Data: []byte(text)})
	}
	x.last++
	mark := fmt.Sprint("mark ", x.last)
	seen := make(chan struct{})
	x.on(func() { x.w.loop.syncs[mark] = func() { close(seen) } })
	x.publish(Publication{Kind: kindSync, Scope: ScopeConn, Target: mark})
	<-seen
}

func (x *stuck) info() (c ConnInfo) {
	x.t.Helper()
	var page ConnPage
	x.query("connections", ConnQuery{}, &page)
	if len(page.Connections) != 1 {
		x.t.Fatalf("%d connections\n%s", len(page.Connections), x.log)
	}
	return page.Connections[0]
}

// reads has the client read the large message and then these.
func (x *stuck) reads(texts ...string) {
	x.t.Helper()
	if _, p, err := x.client.frame(); err != nil || len(p) != stuckBytes {
		x.t.Fatalf("%d bytes, %v", len(p), err)
	}
	for _, text := range texts {
		x.client.want(text)
	}
}

func numbers(prefix string, from, to int) (texts []string) {
	for i := from; i <= to; i++ {
		texts = append(texts, fmt.Sprint(prefix, i))
	}
	return texts
}

func TestLatestOfEachChannel(t *testing.T) {
	make1 := func() *Worker {
		w := New(anyWS)
		w.Limits.MaxQueue = 2 * stuckBytes
		w.SlowChannels = []ChannelSlow{{Match: "price.*", Slow: SlowLatest}}
		return w
	}
	x := newStuck(t, make1())
	x.say("chat", "one")
	for i := 1; i <= 100; i++ {
		x.say("price.x", fmt.Sprint("x ", i))
		x.say("price.y", fmt.Sprint("y ", i))
	}
	x.say("chat", "two")
	if got := x.stats().SendFailuresBy["superseded"]; got != 198 || x.info().Dropped != 198 {
		t.Errorf("%d are superseded, the connection missed %d", got, x.info().Dropped)
	}
	next, report := x.replace(make1(), x.bus) // with what waits
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	x.server = next
	x.say("price.x", numbers("x ", 101, 110)...)
	if got := x.info().Dropped; got != 208 {
		t.Errorf("the connection missed %d after the hand-over", got)
	}
	x.reads("one", "y 100", "two", "x 110")
}

// The rules of the whole server come behind those of the group.
func TestSlowOfTheServer(t *testing.T) {
	w := New(anyWS)
	w.SlowChannels = []ChannelSlow{{Match: "price.a", Slow: SlowClose}}
	w.ChannelRules = channel.Rules{{Match: "price.*", Slow: SlowLatest}, {Match: "*", History: new(10)}}
	for name, want := range map[string]mark{
		"price.a": {"price.a", SlowClose, false}, "price.b": {"price.b", SlowLatest, false}, "chat": {},
	} {
		if got := w.markOf(&Publication{Kind: KindMessage, Scope: ScopeChannel, Target: name}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// What a service says of a channel neither supersedes its messages, nor is
// superseded.
func TestLatestSparesMembership(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxQueue = 2 * stuckBytes
	w.SlowChannels = []ChannelSlow{{Match: "price.*", Slow: SlowLatest}}
	x := newStuck(t, w)
	x.say("price.x", "x 1")
	of := func(texts ...string) {
		x.publish(Publication{Kind: KindMessages, Scope: ScopeChannel, Target: "price.x", Data: several(texts...)})
	}
	of("ann comes", "bob comes")
	x.say("price.x", "x 2")
	of("ann goes")
	x.say("chat", "end")
	x.reads("ann comes", "bob comes", "x 2", "ann goes", "end")
}

func TestOldestOfSomeChannels(t *testing.T) {
	w := New(anyWS)
	w.SlowChannels = []ChannelSlow{{Match: "log", Slow: SlowDropOldest}}
	x := newStuck(t, w)
	pad := strings.Repeat(".", 1000)
	for i := range 50 {
		x.say("log", numbers(pad, 10*i, 10*i+9)...)
	}
	x.say("chat", strings.Repeat("c", 30<<10)) // the group would close; the log makes room
	x.say("log", strings.Repeat("l", 10<<20))  // finds none and is lost itself
	info := x.info()
	if got := x.stats().SendFailuresBy["dropped"]; got == 0 || info.Dropped != got || info.SendQueue > w.Limits.MaxQueue {
		t.Fatalf("%d are dropped, the connection missed %d and has %d bytes to be sent", got, info.Dropped, info.SendQueue)
	}
	x.on(func() {
		if n := len(w.loop.conns.all[0].out.frames); n < 20 || n > 60 {
			t.Errorf("%d frames wait", n)
		}
	})
	if _, p, err := x.client.frame(); err != nil || len(p) != stuckBytes {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	last := 0
	for {
		_, p, err := x.client.frame()
		must(t, err)
		if p[0] == 'c' {
			break
		}
		n := 0
		if _, err := fmt.Sscan(string(p[len(pad):]), &n); err != nil || last != 0 && n != last+1 {
			t.Fatalf("%d after %d: %v", n, last, err)
		}
		last = n
	}
	if last != 499 {
		t.Errorf("the newest is %d", last)
	}
}

func TestCloseForSomeChannels(t *testing.T) {
	w := New(anyWS)
	w.Slow = SlowDropOldest
	w.SlowChannels = []ChannelSlow{{Match: "chat", Slow: SlowClose}, {Match: "*", Slow: SlowLatest}}
	x := newStuck(t, w)
	x.say("log", numbers(strings.Repeat(".", 1000), 0, 200)...)
	if got := x.info().Dropped; got != 200 {
		t.Errorf("%d of the log are superseded", got)
	}
	x.say("chat", numbers(strings.Repeat("c", 1000), 0, 200)...)
	x.eventually("it is closed", func() bool { return w.loop.counts.failuresBy["slow"] == 1 })
}
