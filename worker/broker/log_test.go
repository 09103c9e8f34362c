package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// jetStream is a NATS server of somebody else that keeps messages in dir.
func jetStream(t testing.TB, dir string, port int, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, MaxPayload: MaxEnvelope, JetStream: true, StoreDir: dir}
	for _, f := range change {
		f(o)
	}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	return ns
}

// replicas of the stream, and what it keeps of a channel.
var (
	replicas = 1
	depth    = 1000
)

// follower is a service that follows the log, as a test sees it.
type follower struct {
	worker.SharedLog
	t    testing.TB
	c    *Client
	mail chan func()
	end  chan struct{}

	mu     sync.Mutex
	start  worker.LogStart
	begins int
	losses int // how often it was told that something had gone
	live   bool
	away   string
	aways  int      // how often it has been away
	texts  []string // "offset channel text"
	last   uint64
	whole  bool // while it is live, each offset is one more than the one before
}

func follow(t testing.TB, url, node string) *follower {
	t.Helper()
	c, err := NewClient(Options{ID: "api", Node: node, URL: url, Logger: quiet()})
	if err == nil {
		err = c.Start(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, c: c, mail: make(chan func(), 64), end: make(chan struct{})}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case fn := <-f.mail:
				fn()
			case <-f.end:
				return
			}
		}
	}()
	f.SharedLog, err = c.OpenLog(worker.SharedLogOptions{
		Replicas: replicas, Channel: depth, MinAge: time.Minute,
		Begin: func(at worker.LogStart) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.start, f.begins, f.live, f.texts, f.last = at, f.begins+1, false, nil, 0
		},
		Lost: func(worker.LogStart) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.losses, f.live = f.losses+1, false
		},
		Entry: f.entry,
		Live:  func() { f.mu.Lock(); f.live = true; f.mu.Unlock() },
		Away: func(reason string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.away = reason
			if reason != "" {
				f.aways++
			}
		},
	}, func(fn func()) {
		select {
		case f.mail <- fn:
		case <-f.end:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sync.OnceFunc(func() { f.close(); <-stopped }))
	return f
}

func (f *follower) close() {
	close(f.end)
	f.Close()
	f.c.Close()
}

func (f *follower) entry(e *worker.LogEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Offset <= f.last {
		f.t.Errorf("offset %d comes after %d", e.Offset, f.last)
	}
	if f.whole && f.live && f.last != 0 && e.Offset != f.last+1 {
		f.t.Errorf("offset %d comes after %d, and nobody said so", e.Offset, f.last)
	}
	f.last = e.Offset
	if e.Purge {
		f.texts = append(f.texts, fmt.Sprintf("purge %s %d", e.Target, e.What))
		return
	}
	f.texts = append(f.texts, e.Target+" "+string(e.Data))
}

// until waits for what the follower must have been told.
func (f *follower) until(what string, ok func() bool) {
	f.t.Helper()
	testkit.Eventually(f.t, what, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return ok() })
}

func (f *follower) isLive() {
	f.t.Helper()
	f.until("live", func() bool { return f.live && f.away == "" })
}

func (f *follower) has(texts ...string) {
	f.t.Helper()
	f.until(fmt.Sprint(texts), func() bool { return slices.Equal(f.texts, texts) })
}

// told is what became of an append.
type told struct {
	offset   uint64
	repeated bool
	err      error
}

func (f *follower) say(channel, text string, o *worker.Order) told {
	f.t.Helper()
	got := make(chan told, 1)
	f.mail <- func() {
		f.Append(&worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel, Data: []byte(text), Order: o},
			time.Hour, func(at history.Position, repeated bool, err error) { got <- told{at.Offset, repeated, err} })
	}
	select {
	case a := <-got:
		return a
	case <-time.After(testkit.Patience):
		f.t.Fatal("no answer to an append")
		return told{}
	}
}

func (f *follower) must(channel, text string, o *worker.Order) told {
	f.t.Helper()
	a := f.say(channel, text, o)
	if a.err != nil {
		f.t.Fatal(a.err)
	}
	return a
}

// TestVersionsAskOnce: a publish with a version asks for the last one that had one,
// and for nothing else.
func TestVersionsAskOnce(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	a := follow(t, ns.ClientURL(), "a")
	a.isLive()
	a.must("room", "one", &worker.Order{Version: 1})
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard, err := nc.SubscribeSync("$JS.API.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	for i := range uint64(n) {
		a.must("room", "next", &worker.Order{Version: 2 + i})
	}
	if err := nc.Flush(); err != nil { // what was asked has come before its end
		t.Fatal(err)
	}
	asked := map[string]int{}
	for {
		m, err := heard.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		words := strings.Split(m.Subject, ".")
		asked[words[2]+" "+words[3]]++
	}
	if gets := asked["STREAM MSG"] + asked["DIRECT GET"]; gets != n || asked["STREAM INFO"] != 0 {
		t.Errorf("for %d versions it asked %v", n, asked)
	}
}

// TestSharedLog: two nodes see one order; keys and versions hold over both, and
// who comes later reads what there is.
func TestSharedLog(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	a, b := follow(t, ns.ClientURL(), "a"), follow(t, ns.ClientURL(), "b")
	a.isLive()
	b.isLive()
	one := a.must("room", "one", &worker.Order{Key: "k"})
	if two := b.must("room", "one", &worker.Order{Key: "k"}); two.offset != one.offset || !two.repeated {
		t.Errorf("the same key: %+v, first %+v", two, one)
	}
	if other := b.must("other", "one", &worker.Order{Key: "k"}); other.repeated {
		t.Error("a key holds in two channels")
	}
	v2 := a.must("room", "v2", &worker.Order{Version: 2, Key: "v"})
	if again := b.must("room", "v2", &worker.Order{Version: 2, Key: "v"}); !again.repeated || again.offset != v2.offset {
		t.Errorf("a version with its key: %+v", again)
	}
	b.must("room", "plain", nil)
	for _, v := range []uint64{1, 2} {
		if got := b.say("room", "old", &worker.Order{Version: v}); !errors.Is(got.err, worker.ErrOutdated) {
			t.Errorf("version %d after 2: %+v", v, got)
		}
	}
	b.must("room", "v3", &worker.Order{Version: 3})
	want := []string{"room one", "other one", "room v2", "room plain", "room v3"}
	a.has(want...)
	b.has(want...)
	c := follow(t, ns.ClientURL(), "c")
	c.isLive()
	c.has(want...)
	if c.start.Epoch != a.start.Epoch || c.start.Last != c.last {
		t.Errorf("%+v, the first %+v", c.start, a.start)
	}
	done := make(chan error, 1)
	a.mail <- func() { a.Purge("room", one.offset, func(err error) { done <- err }) }
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.has(append(want, fmt.Sprintf("purge room %d", one.offset))...)
	d := follow(t, ns.ClientURL(), "d")
	d.isLive()
	d.has("other one", "room v2", "room plain", "room v3", fmt.Sprintf("purge room %d", one.offset))
}

// TestSharedLogBeginsAnew: a stream that has lost what was read, that somebody
// has deleted, or that is full of other people's words.
func TestSharedLogBeginsAnew(t *testing.T) {
	dir, port := t.TempDir(), pushdtest.FreePort(t)
	ns := jetStream(t, dir, port)
	url := ns.ClientURL()
	f := follow(t, url, "a")
	f.isLive()
	f.must("room", "one", nil)
	f.has("room one")
	first := f.start.Epoch
	js, err := jetstream.New(f.c.link.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "pushd.hist.726f6f6d.m", []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	f.must("room", "two", nil)
	f.has("room one", "room two")
	if err := js.DeleteStream(t.Context(), "pushd_history"); err != nil {
		t.Fatal(err)
	}
	f.until("another epoch", func() bool { return f.begins == 2 && f.start.Epoch != first && f.live && f.away == "" })
	f.must("room", "three", nil)
	f.has("room three")
	second := f.start.Epoch

	// The server goes down, and comes back with a store of before.
	ns.Shutdown()
	ns.WaitForShutdown()
	if got := f.say("room", "lost", nil); !errors.Is(got.err, worker.ErrUnavailable) {
		t.Errorf("without a server: %+v", got)
	}
	jetStream(t, t.TempDir(), port)
	f.until("the third epoch", func() bool { return f.begins == 3 && f.start.Epoch != second && f.live && f.away == "" })
	f.must("room", "four", nil)
	f.has("room four")
}

// TestSomebodyChangesTheStream while it is followed, so that it takes nothing, or says
// nothing: publishing is refused, by a reason, until it is as it was, which takes nobody.
func TestSomebodyChangesTheStream(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	f := follow(t, ns.ClientURL(), "a")
	f.isLive()
	f.must("room", "one", nil)
	f.has("room one")
	js, err := jetstream.New(f.c.link.nc)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*jetstream.StreamConfig){
		"it answers nobody":        func(c *jetstream.StreamConfig) { c.NoAck = true },
		"it has other subjects":    func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.>"} },
		"it keeps messages of 9 B": func(c *jetstream.StreamConfig) { c.MaxMsgSize = 9 },
	} {
		s, err := js.Stream(t.Context(), "pushd_history")
		if err != nil {
			t.Fatal(err)
		}
		changed := s.CachedInfo().Config
		change(&changed)
		if _, err := js.UpdateStream(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		if got := f.say("room", "refused: "+what, nil); !errors.Is(got.err, worker.ErrUnavailable) {
			t.Errorf("%s: %+v", what, got)
		}
		testkit.Eventually(t, what+", and is set right", func() bool { return f.say("room", "again", nil).err == nil })
	}
	f.must("room", "last", nil)
	f.until("it goes on", func() bool { return f.texts[len(f.texts)-1] == "room last" && f.begins == 1 })
}

// TestSharedLogGoesOn: a server that comes back with all that it had, and one
// who was away meanwhile.
func TestSharedLogGoesOn(t *testing.T) {
	dir, port := t.TempDir(), pushdtest.FreePort(t)
	ns := jetStream(t, dir, port)
	url := ns.ClientURL()
	f := follow(t, url, "a")
	f.isLive()
	f.must("room", "one", nil)
	f.has("room one")
	ns.Shutdown()
	ns.WaitForShutdown()
	testkit.Eventually(t, "away", func() bool { return !f.c.link.up() })
	if got := f.say("room", "lost", nil); !errors.Is(got.err, worker.ErrUnavailable) {
		t.Errorf("without a server: %+v", got)
	}
	jetStream(t, dir, port)
	testkit.Eventually(t, "back", func() bool { return f.say("room", "two", nil).err == nil })
	f.has("room one", "room two")
	if f.begins != 1 {
		t.Errorf("it has begun %d times", f.begins)
	}
}

// noMessages is a stream that answers everything but what is asked for by its sequence.
type noMessages struct{ jetstream.Stream }

func (noMessages) GetMsg(context.Context, uint64, ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return nil, errors.New("no leader")
}

// TestSharedLogLostItsEnd: the stream is there, its epoch too, but the newest
// message is not.
func TestSharedLogLostItsEnd(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	f := follow(t, ns.ClientURL(), "a")
	f.isLive()
	f.must("room", "one", nil)
	f.has("room one")
	l := f.SharedLog.(*sharedLog)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	s, err := l.js.Stream(ctx, l.name)
	if err != nil {
		t.Fatal(err)
	}
	begun := 0
	probe := &sharedLog{c: l.c, o: worker.SharedLogOptions{Begin: func(worker.LogStart) { begun++ }}, log: quiet(), js: l.js, name: l.name, base: l.base, post: func(fn func()) { fn() }}
	resume := func() history.Epoch {
		t.Helper()
		if err := probe.resume(ctx, s); err != nil {
			t.Fatal(err)
		}
		return probe.at.epoch
	}
	first := resume()
	if again := resume(); again != first || begun != 1 || first != f.start.Epoch {
		t.Errorf("epoch %v, then %v, begun %d times", first, again, begun)
	}
	begun, probe.at = 0, reading{}
	if err := probe.resume(ctx, noMessages{s}); err != nil { // its leader goes just then
		t.Fatal(err)
	}
	if again := resume(); again != first || begun != 1 {
		t.Errorf("begun while no message could be had: epoch %v, then %v, begun %d times", first, again, begun)
	}
	probe.at.last += 1000
	second := resume()
	if second == first {
		t.Error("less than was read is there, and the epoch stays")
	}
	probe.at.time = probe.at.time.Add(1)
	if third := resume(); third == second || begun != 3 {
		t.Errorf("another message is there, and the epoch stays; begun %d times", begun)
	}
	f.until("the third epoch", func() bool { return f.start.Epoch == probe.at.epoch && f.live })
}

// lagging is JetStream of several servers, the first consumer of which is made on one that
// has come less far: it gives what is skip messages later than what was asked for, if at all,
// and of one subject only if that is set.
type lagging struct {
	jetstream.JetStream
	skip uint64
	only []string // subjects
}

func (j *lagging) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := j.JetStream.Stream(ctx, name)
	return laggingStream{s, j}, err
}

type laggingStream struct {
	jetstream.Stream
	j *lagging
}

func (s laggingStream) CreateConsumer(ctx context.Context, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c.OptStartSeq, c.FilterSubjects = c.OptStartSeq+s.j.skip, s.j.only
	s.j.skip, s.j.only = 0, nil
	return s.Stream.CreateConsumer(ctx, c)
}

// TestAServerThatLacksMessages: what it does not give has not gone.
func TestAServerThatLacksMessages(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	f := follow(t, ns.ClientURL(), "a")
	f.isLive()
	for _, m := range [][2]string{{"room", "one"}, {"room", "two"}, {"other", "three"}, {"room", "four"}, {"last", "five"}} {
		f.must(m[0], m[1], nil)
	}
	f.has("room one", "room two", "other three", "room four", "last five")
	l := f.SharedLog.(*sharedLog)
	for what, row := range map[string]struct {
		skip uint64
		read int      // messages that were read before
		only []string // channels
	}{
		"all, at the beginning": {100, 0, nil}, "some, at the beginning": {2, 0, nil}, "all, later": {100, 1, nil}, "some, later": {1, 1, nil},
		"one in between, later": {0, 1, []string{"room", "last"}}, "the newest, at the beginning": {0, 0, []string{"room", "other"}},
	} {
		t.Run(what, func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			note := func(text string) { mu.Lock(); seen = append(seen, text); mu.Unlock() }
			ctx, cancel := context.WithCancel(t.Context())
			js := &lagging{JetStream: l.js}
			probe := &sharedLog{c: l.c, log: quiet(), js: js, name: l.name, base: l.base, post: func(fn func()) { fn() }, ctx: ctx, done: make(chan struct{}), o: worker.SharedLogOptions{
				Replicas: replicas, Channel: depth,
				Begin: func(worker.LogStart) {},
				Lost:  func(worker.LogStart) { note("lost") },
				Entry: func(e *worker.LogEntry) { note(string(e.Data)) },
				Live:  func() { note("live") },
				Away:  func(string) {},
			}}
			probe.lanes = lanes{limit: 1, of: map[string]*lane{}}
			want := []string{"one", "two", "three", "four", "five", "live"}
			if row.read > 0 {
				s, err := js.Stream(ctx, l.name)
				if err == nil {
					err = probe.resume(ctx, s)
				}
				var m *jetstream.RawStreamMsg
				if err == nil {
					m, err = s.GetMsg(ctx, f.start.Last+uint64(row.read))
				}
				if err != nil {
					t.Fatal(err)
				}
				probe.at.last, probe.at.time, probe.at.loading = m.Sequence, m.Time, false
				want = want[row.read:5]
			}
			if js.skip = row.skip; row.only != nil {
				js.only = []string{l.base + "depth"}
			}
			for _, channel := range row.only {
				js.only = append(js.only, l.base+token(channel)+".m")
			}
			go probe.follow()
			defer func() { cancel(); <-probe.done }()
			testkit.Eventually(t, fmt.Sprint(want), func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(seen) >= len(want) || !slices.Equal(seen, want[:len(seen)])
			})
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(seen, want) {
				t.Errorf("%q, want %q", seen, want)
			}
		})
	}
}

func TestNoJetStream(t *testing.T) {
	c, err := NewClient(Options{ID: "api", Node: "a", URL: cluster(t), Logger: quiet()})
	if err == nil {
		err = c.Start(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.OpenLog(worker.SharedLogOptions{Channel: 1}, func(func()) {}); err != ErrNoJetStream {
		t.Error(err)
	}
	nothing := worker.SharedLogOptions{Away: func(string) {}} // is kept here
	if l, err := c.OpenLog(nothing, func(func()) {}); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}

// TestTheReasonIsTold: who waits for a stream that NATS does not make hears why,
// not that it takes long.
func TestTheReasonIsTold(t *testing.T) {
	ns := jetStream(t, t.TempDir(), -1)
	defer func(n int) { replicas = n }(replicas)
	replicas = 3 // of one server
	f := follow(t, ns.ClientURL(), "n1")
	f.until("the reason", func() bool { return strings.Contains(f.away, "replicas = 3") })
	if got := f.say("room", "x", nil); !errors.Is(got.err, worker.ErrUnavailable) || !strings.Contains(got.err.Error(), "replicas = 3") {
		t.Errorf("told: %v", got.err)
	}
}

// TestWhoKeepsNothingChangesNothing: a node without channels with history waits until
// there is a stream, and takes it as it is.
func TestWhoKeepsNothingChangesNothing(t *testing.T) {
	ns := jetStream(t, t.TempDir(), -1)
	defer func(n int) { depth = n }(depth)
	depth = 0
	reader := follow(t, ns.ClientURL(), "reader")
	reader.until("it has looked", func() bool { return strings.Contains(reader.away, "not found") })
	depth = 5
	f := follow(t, ns.ClientURL(), "n5")
	f.isLive()
	if f.start.Last != 2 {
		t.Errorf("there was a stream: %+v", f.start)
	}
	f.must("room", "x", nil)
	reader.has("room x")
	l := f.SharedLog.(*sharedLog)
	s, err := l.js.Stream(t.Context(), l.name)
	if err != nil {
		t.Fatal(err)
	}
	if is := s.CachedInfo().Config.MaxMsgsPerSubject; is != kept(5) {
		t.Errorf("the stream keeps %d", is)
	}
}

// TestADeeperStreamHasForgotten: what a stream has dropped while it kept less is
// not taken for kept when it keeps more, by those who read it then and by those
// who come back to it. Who reads on meanwhile goes on, and begins anew only if a
// machine that stands still has made it come back too.
func TestADeeperStreamHasForgotten(t *testing.T) {
	ns := jetStream(t, t.TempDir(), -1)
	defer func(n int) { depth = n }(depth)
	deep := func(n int) *follower {
		depth = n
		f := follow(t, ns.ClientURL(), "n"+fmt.Sprint(n))
		f.isLive()
		return f
	}
	small := deep(3)
	if small.start.Forgotten != 0 || small.start.Channel != int(kept(3)) {
		t.Errorf("a new stream: %+v", small.start)
	}
	small.mu.Lock()
	before := small.aways
	small.mu.Unlock()
	var last told
	for i := range 12 {
		last = small.must("room", fmt.Sprint(i), nil)
	}
	for _, n := range []int{10, 10} {
		if f := deep(n); f.start.Forgotten <= last.offset || f.start.Channel != int(kept(10)) {
			t.Errorf("behind %d: %+v", last.offset, f.start)
		}
	}
	for _, c := range []string{"a", "b"} {
		small.must(c, "x", nil)
	}
	small.until("who was there goes on", func() bool {
		n := len(small.texts)
		return n >= 2 && slices.Equal(small.texts[n-2:], []string{"a x", "b x"})
	})
	if small.mu.Lock(); small.aways == before && (small.begins != 1 || len(small.texts) != 14) {
		t.Errorf("it was never away, has begun %d times, and read %q", small.begins, small.texts)
	}
	small.mu.Unlock()
}
