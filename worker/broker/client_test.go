package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// patient publishes p again while the broker is busy.
func patient(t testing.TB, c *Client, p *worker.Publication) {
	for {
		err := c.Publish(p)
		if err == nil {
			return
		}
		if !errors.Is(err, worker.ErrBrokerBusy) && !errors.Is(err, worker.ErrBrokerAway) {
			t.Errorf("publish: %v", err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestExactlyOnceInOrderPerPublisher(t *testing.T) {
	const publishers, subscribers, each, channels = 3, 2, 20000, 100
	b := newBus(t)
	b.serve()
	var ins [subscribers]inbox
	for i := range ins {
		b.client(fmt.Sprintf("sub/%d/1", i), &ins[i])
	}
	var wg sync.WaitGroup
	for n := range publishers {
		c := b.client(fmt.Sprintf("pub/%d/1", n), nil)
		wg.Go(func() {
			for i := range each {
				patient(t, c, message(fmt.Sprintf("c%d", i%channels), fmt.Sprintf("%d %d", n, i)))
			}
		})
	}
	wg.Wait()
	for i := range ins {
		in := &ins[i]
		testkit.Eventually(t, "all delivered or lost", func() bool { return in.count()+int(in.missing()) >= publishers*each })
		if n := in.missing(); n != 0 {
			t.Errorf("subscriber %d: %d counted as lost", i, n)
		}
		var next [publishers]int // one order for all channels, as one server gives
		for _, text := range in.texts() {
			publisher, number, _ := strings.Cut(text, " ")
			p, _ := strconv.Atoi(publisher)
			if want := strconv.Itoa(next[p]); number != want {
				t.Fatalf("subscriber %d: publisher %d: got %s, want %s", i, p, number, want)
			}
			next[p]++
		}
	}
}

func TestPublicationArrivesWhole(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	b.client("push/0/1", &in)
	c := b.client("api", nil)
	r := c.replies(1)
	defer r.close()
	sent := worker.Publication{
		Kind: worker.KindKick, Scope: worker.ScopeConn, Target: "12.34", Binary: true, Code: 4000,
		Except: []string{"1.2", "3.4"}, Data: []byte("bye"), Reply: r.subject(0),
	}
	if err := c.Publish(&sent); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "delivery", func() bool { return in.count() == 1 })
	got := in.got[0]
	want := sent
	want.Publisher, want.Shard, want.Seq = c.id, worker.Shard(sent.Scope, sent.Target), 1
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnswersAndQueries(t *testing.T) {
	b := newBus(t)
	b.serve()
	var ins [2]inbox
	for i := range ins {
		id := fmt.Sprintf("push.x/%d/1", i)
		var c *Client
		ready := make(chan struct{})
		ins[i].onQuery = func(q worker.BusQuery) {
			<-ready
			c.Answer(q.Reply, worker.Answer{Worker: id, Data: q.Args})
		}
		c = b.client(id, &ins[i])
		close(ready)
	}
	asker := b.client("api", nil)
	asker.SetRoster([]string{"push.x/0/1", "push.x/1/1"})
	ask := func(group string, want ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		var from []string
		all, err := asker.Collect(ctx, worker.BusQuery{What: "stats", Args: []byte(`{"x":1}`)}, Who{Group: group}, func(a worker.Answer) {
			if string(a.Data) != `{"x":1}` {
				t.Errorf("answer %+v", a)
			}
			from = append(from, a.Worker)
		})
		slices.Sort(from)
		if err != nil || !all.Complete || !slices.Equal(from, want) {
			t.Errorf("group %q: answers of %v, %+v, %v", group, from, all, err)
		}
	}
	ask("", "push.x/0/1", "push.x/1/1")
	ask("push.x", "push.x/0/1", "push.x/1/1")
	ask("others") // who has none needs not wait
}

func TestInboxOverflowIsCounted(t *testing.T) {
	const sent = 5000
	b := newBus(t)
	b.serve()
	var in inbox
	sub := b.client("slow/0/1", &in, func(o *Options) { o.InboxItems = 100 })
	pub := b.client("pub/0/1", nil)
	patient(t, pub, message("c", "first"))
	testkit.Eventually(t, "first", func() bool { return in.count() == 1 })

	in.gate.Lock()
	for i := range sent {
		patient(t, pub, message("c", strconv.Itoa(i)))
	}
	testkit.Eventually(t, "all sent", func() bool { return pub.Stats().Published == sent+1 })
	// The loss is at the end, where only the announced position can show it.
	testkit.Eventually(t, "all handled by nats.go", func() bool { return sub.link.nc.Stats().InMsgs >= sent+1 })
	in.gate.Unlock()

	testkit.Eventually(t, "every publication delivered or counted as lost", func() bool {
		return in.count()+int(in.missing()) == sent+1
	})
	st := sub.Stats()
	if st.Gaps == 0 || st.Gaps != in.missing() || st.Received != uint64(in.count()) {
		t.Errorf("stats %+v; inbox got %d, missed %d", st, in.count(), in.missing())
	}
}

func TestQueueFullAndTooLarge(t *testing.T) {
	b := newBus(t)
	b.serve()
	c := b.client("pub/0/1", nil, func(o *Options) { o.QueueItems = 10 })
	ps := make([]worker.Publication, 11)
	for i := range ps {
		ps[i] = *message("c", "x")
	}
	if err := c.PublishAll(ps); !errors.Is(err, worker.ErrBrokerBusy) {
		t.Errorf("11 into a queue of 10: %v", err)
	}
	if err := c.PublishAll(ps[:10]); err != nil {
		t.Errorf("10 into a queue of 10: %v", err)
	}
	testkit.Eventually(t, "queue drained", c.queue.empty)
	if st := c.Stats(); st.Published != 10 || st.Refused != 11 {
		t.Errorf("stats %+v, want 10 published and 11 refused", st)
	}
	if err := c.query(worker.BusQuery{What: "big", Args: []byte(`"` + strings.Repeat("x", MaxEnvelope) + `"`)}); !errors.Is(err, worker.ErrTooLarge) {
		t.Errorf("a question over the limit: %v", err)
	}
	if err := c.Publish(message("c", string(make([]byte, MaxEnvelope)))); !errors.Is(err, worker.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	var in inbox
	b.client("sub/0/1", &in)
	if err := c.Publish(message("c", string(make([]byte, 1<<20)))); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	testkit.Eventually(t, "1 MiB delivered", func() bool { return in.count() == 1 && len(in.got[0].Data) == 1<<20 })
}

func TestExternalCluster(t *testing.T) {
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		Username: "pushd", Password: "hunter2", MaxPayload: 4096,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(testkit.Patience) {
		t.Fatal("external server not ready")
	}
	var out testkit.Log
	o := Options{
		ID: "push/0/1", Prefix: "other",
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	start := func(url string, in worker.Inbox) (*Client, error) {
		o := o
		o.URL = url
		c, err := NewClient(o)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return c, c.Start(in)
	}
	addr := ns.Addr().String()
	var in inbox
	c, err := start("nats://pushd:hunter2@"+addr, &in)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(message("c", "hello")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "delivery", func() bool { return in.count() == 1 })
	if err := c.Publish(message("c", string(make([]byte, 5000)))); !errors.Is(err, worker.ErrTooLarge) {
		t.Errorf("over the cluster's max_payload: %v", err)
	}
	o.StartTimeout = 300 * time.Millisecond // nobody lets it in
	for _, url := range []string{
		"nats://pushd:wrong-hunter2@" + addr, "nats://u:hunter2@127.0.0.1:1", "http://u:hunter2@" + addr, "nats://u:hunter2@%zz",
	} {
		_, err := start(url, nil)
		if err == nil {
			t.Errorf("%s: no error", url)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error quotes the password: %v", err)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("log quotes the password: %s", &out)
	}
}

func TestOptionsNeedOneBroker(t *testing.T) {
	for _, o := range []Options{{}, {Path: "x", URL: "nats://127.0.0.1"}, {Path: "x", Prefix: "a b"}} {
		if _, err := NewClient(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestGarbageOnTheBusIsIgnored(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	var out testkit.Log
	sub := b.client("sub/0/1", &in, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	pub := b.client("pub/0/1", nil)
	for _, raw := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{0xff}, 100)} {
		pub.put(item{subject: sub.subjects.shard[3], raw: raw, queued: time.Now()})
		pub.put(item{subject: sub.subjects.query, raw: raw, queued: time.Now()})
	}
	patient(t, pub, message("c", "fine"))
	testkit.Eventually(t, "delivery after garbage", func() bool { return in.count() == 1 })
	testkit.Eventually(t, "the log says so", func() bool { return strings.Contains(out.String(), "ignored") }) // of another subject, which may come later
}

func BenchmarkPublish(b *testing.B) {
	for _, subscribers := range []int{1, 2} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			bus := newBus(b)
			bus.spawn()
			ins := make([]counting, subscribers)
			for i := range ins {
				bus.client(fmt.Sprintf("sub/%d/1", i), &ins[i])
			}
			c := bus.client("pub/0/1", nil)
			p := message("channel", string(make([]byte, 128)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				patient(b, c, p)
			}
			for i := range ins {
				testkit.Eventually(b, "delivery", func() bool { return ins[i].n.Load() == uint64(b.N) })
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publications/s")
		})
	}
}

// TestMomentsRise: of two messages of a client the later one has the later moment,
// whatever the clock does.
func TestMomentsRise(t *testing.T) {
	c := mute(t)
	for last, n := uint64(time.Now().UnixMicro())-1, 0; n < 1000; n++ {
		m := c.moment()
		if m <= last {
			t.Fatalf("%d after %d", m, last)
		}
		last = m
	}
	ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
	c.lastMoment.Store(ahead)
	if m := c.moment(); m != ahead+1 {
		t.Errorf("%d after %d", m, ahead)
	}
}
