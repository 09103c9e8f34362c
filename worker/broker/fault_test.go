package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// counting is an Inbox that only counts.
type counting struct{ n, lost atomic.Uint64 }

func (c *counting) Deliver(batch []worker.Publication) { c.n.Add(uint64(len(batch))) }
func (c *counting) Query(worker.BusQuery)              {}
func (c *counting) Gap(_ uint64, _ uint8, n uint64)    { c.lost.Add(n) }

func TestBrokerKilledAndRespawned(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	sub := b.client("sub/0/1", &in)
	pub := b.client("pub/0/1", nil)
	patient(t, pub, message("c", "before"))
	testkit.Eventually(t, "before", func() bool { return in.count() == 1 })

	b.kill()
	testkit.Eventually(t, "both notice", func() bool { return !pub.link.up() && !sub.link.up() })
	patient(t, pub, message("c", "waits"))
	b.serve()
	// The subscriber may be back later than the publisher: then "waits" is
	// lost, and must be counted.
	testkit.Eventually(t, "waits arrives or is counted", func() bool { return in.count()+int(in.missing()) == 2 })

	testkit.Eventually(t, "both are back", func() bool { return pub.link.up() && sub.link.up() })
	patient(t, pub, message("c", "after"))
	testkit.Eventually(t, "after", func() bool { return strings.HasSuffix(strings.Join(in.texts(), " "), "after") })
	if st := pub.Stats(); st.Expired != 0 || st.Published != 3 || !st.Connected {
		t.Errorf("publisher: %+v", st)
	}
}

// TestPublishersAreKnownAsAWhole: who listens from before a publisher begins, and
// who comes later, both learn that it has sent nothing in the other shards.
func TestPublishersAreKnownAsAWhole(t *testing.T) {
	b := newBus(t)
	b.serve()
	var early, talk, late inbox
	first := b.client("early/0/1", &early)
	pub := b.client("pub/0/1", &talk)
	patient(t, pub, message("c", "x"))
	last := b.client("late/0/1", &late)
	for _, c := range []*Client{first, last} {
		testkit.Eventually(t, "it knows the publisher", func() bool {
			c.receiver.mu.Lock()
			defer c.receiver.mu.Unlock()
			p := c.receiver.seqs.publishers[pub.id]
			return p != nil && p.whole && p.last[worker.Shard(worker.ScopeChannel, "c")] == 1
		})
	}
	if n := early.missing() + late.missing(); n != 0 {
		t.Errorf("%d count as lost", n)
	}
}

// TestLossAtTheEndOfABurst: a loop that stands while a burst and the
// announcement of its end come, learns of all that it has lost once it goes on.
func TestLossAtTheEndOfABurst(t *testing.T) {
	const sent = 5000
	b := newBus(t)
	b.serve()
	var in inbox
	sub := b.client("slow/0/1", &in, func(o *Options) { o.InboxItems = 100 })
	pub := b.client("pub/0/1", nil)
	patient(t, pub, message("c", "first"))
	testkit.Eventually(t, "first", func() bool { return in.count() == 1 })
	arrived := func() uint64 { return sub.link.nc.Stats().InMsgs }

	in.gate.Lock()
	for i := range sent {
		patient(t, pub, message("c", strconv.Itoa(i)))
	}
	testkit.Eventually(t, "all arrive", func() bool { return arrived() > sent && pub.queue.empty() })
	before := arrived()
	testkit.Eventually(t, "the end is announced", func() bool { return arrived() >= before+2 })
	in.gate.Unlock()

	testkit.Eventually(t, "each is delivered or counted", func() bool { return in.count()+int(in.missing()) == sent+1 })
	if in.missing() == 0 {
		t.Error("nothing was lost: the test shows nothing")
	}
	if n := sub.Stats().Gaps; n != in.missing() {
		t.Errorf("gaps %d, lost %d", n, in.missing())
	}
}

func TestBrokerAwayRefusesAfterASecond(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	b.client("sub/0/1", &in)
	pub := b.client("pub/0/1", nil)
	b.kill()
	testkit.Eventually(t, "noticed", func() bool { return !pub.link.up() })
	noticed := time.Now()
	patient(t, pub, message("c", "expires"))
	testkit.Eventually(t, "given up", func() bool { return pub.Stats().Expired == 1 })
	if waited := time.Since(noticed); waited < 900*time.Millisecond {
		t.Errorf("given up after %v, want about 1s", waited)
	}
	testkit.Eventually(t, "refused", func() bool { return errors.Is(pub.Publish(message("c", "no")), worker.ErrBrokerAway) })
	if st := pub.Stats(); st.Refused == 0 || st.Connected {
		t.Errorf("stats %+v", st)
	}
	b.serve()
	testkit.Eventually(t, "accepted again", func() bool { return pub.Publish(message("c", "yes")) == nil })
	testkit.Eventually(t, "back", pub.link.up)
	// "yes" may have met a subscriber still on its way back; the next cannot.
	testkit.Eventually(t, "delivered again", func() bool {
		pub.Publish(message("c", "yes"))
		return in.count() > 0
	})
}

func TestStoppedBrokerNeverBlocksTheLoop(t *testing.T) {
	b := newBus(t)
	b.spawn()
	var in counting
	b.client("sub/0/1", &in)
	pub := b.client("pub/0/1", nil)
	patient(t, pub, message("c", "first"))
	testkit.Eventually(t, "first", func() bool { return in.n.Load() == 1 })

	b.signal(syscall.SIGSTOP)
	p := message("c", string(make([]byte, 16<<10)))
	var slowest time.Duration
	var calls int
	refusals := map[error]int{}
	// Long before the write fails, it must show that nothing is taken.
	for deadline := time.Now().Add(writeTimeout / 2); refusals[worker.ErrBrokerAway] == 0 && time.Now().Before(deadline); {
		begin := time.Now()
		err := pub.Publish(p)
		slowest = max(slowest, time.Since(begin))
		calls++
		if err != nil {
			refusals[err]++
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("%d calls, slowest %v, refused %v", calls, slowest, refusals)
	if refusals[worker.ErrBrokerBusy] == 0 || refusals[worker.ErrBrokerAway] == 0 {
		t.Errorf("want both busy and away: %v", refusals)
	}
	if slowest > writeTimeout/4 { // microseconds, but for the scheduler
		t.Errorf("a Publish took %v", slowest)
	}
	b.signal(syscall.SIGCONT)
	seen := in.n.Load()
	testkit.Eventually(t, "delivery again", func() bool {
		pub.Publish(message("c", "again"))
		return in.n.Load() > seen && pub.Stats().Connected
	})
}

func TestCloseIsBoundedByAStoppedBroker(t *testing.T) {
	b := newBus(t)
	b.spawn()
	pub := b.client("pub/0/1", nil)
	b.signal(syscall.SIGSTOP)
	defer b.signal(syscall.SIGCONT)
	for range 256 { // 16 MiB: more than sockets and nats.go hold, so a write is blocked
		patient(t, pub, message("c", string(make([]byte, 64<<10))))
	}
	begin := time.Now()
	pub.Close()
	if took := time.Since(begin); took > writeTimeout/2 {
		t.Errorf("Close took %v, want about 1s", took)
	}
	if err := pub.Publish(message("c", "x")); err == nil {
		t.Error("a closed client publishes")
	}
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in counting
	b.client("sub/0/1", &in)
	for n := range 20 {
		pub := b.client(fmt.Sprintf("pub/%d/1", n), nil)
		for range 500 {
			patient(t, pub, message("c", "x"))
		}
		pub.Close()
	}
	testkit.Eventually(t, "all delivered", func() bool { return in.n.Load() == 20*500 })
	if in.lost.Load() != 0 {
		t.Errorf("%d lost", in.lost.Load())
	}
}

func TestStartWaitsForABrokerAndGivesUp(t *testing.T) {
	b := newBus(t) // the socket accepts, nobody serves
	o := Options{ID: "push/0/1", Path: b.path, Logger: quiet(), StartTimeout: 100 * time.Millisecond}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(&inbox{}); err == nil || !strings.Contains(err.Error(), b.path) {
		t.Errorf("error %v, want one that names %s", err, b.path)
	}
	c.Close()

	o.StartTimeout = 20 * time.Second
	if c, err = NewClient(o); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	started := make(chan error, 1)
	go func() { started <- c.Start(&inbox{}) }()
	b.serve()
	if err := <-started; err != nil {
		t.Error(err)
	}
}
