package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// burst publishes n messages in a channel at once, and waits for what became of them.
func (f *follower) burst(channel string, n int) (failed []error) {
	f.t.Helper()
	got := make(chan error, n)
	for i := range n {
		p := &worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel, Data: fmt.Append(nil, i)}
		f.mail <- func() {
			f.Append(p, time.Hour, func(_ history.Position, _ bool, err error) { got <- err })
		}
	}
	for range n {
		if err := <-got; err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// TestBurstOfAChannel: more messages than the stream keeps of a channel come at once, and
// the node that publishes them reads each. Another one does too, or is told.
func TestBurstOfAChannel(t *testing.T) {
	defer func(n int) { depth = n }(depth)
	for _, depth = range []int{1, 3, 100} {
		ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
		a, b := follow(t, ns.ClientURL(), "a"), follow(t, ns.ClientURL(), "b")
		a.isLive()
		b.isLive()
		a.whole, b.whole = true, true
		const n = 3000
		if failed := a.burst("room", n); len(failed) > 0 {
			t.Fatalf("%d failed: %v", len(failed), failed[0])
		}
		last := fmt.Sprint("room ", n-1)
		for _, f := range []*follower{a, b} {
			f.until("the last one", func() bool { return len(f.texts) > 0 && f.texts[len(f.texts)-1] == last && f.live })
		}
		a.mu.Lock()
		if len(a.texts) != n || a.losses != 0 || !slices.IsSortedFunc(a.texts, byNumber) {
			t.Errorf("of %d: it has read %d of its own, %d losses", depth, len(a.texts), a.losses)
		}
		a.mu.Unlock()
		b.mu.Lock()
		if len(b.texts) != n && b.losses == 0 {
			t.Errorf("of %d: the other has read %d, and was told nothing", depth, len(b.texts))
		}
		b.mu.Unlock()
	}
}

func byNumber(a, b string) int {
	var i, j int
	fmt.Sscan(strings.TrimPrefix(a, "room "), &i)
	fmt.Sscan(strings.TrimPrefix(b, "room "), &j)
	return i - j
}

// TestLossIsTold: a node that stands still while the stream drops what it has not read
// is told so, once, and reads on.
func TestLossIsTold(t *testing.T) {
	defer func(n int) { depth = n }(depth)
	depth = 3
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT)
	a, b := follow(t, ns.ClientURL(), "a"), follow(t, ns.ClientURL(), "b")
	a.isLive()
	b.isLive()
	b.whole = true
	hold := make(chan struct{})
	b.mail <- func() { <-hold }
	a.must("other", "x", nil)
	const n = 3000 // twice: more than may be on its way to b
	failed := append(a.burst("room", n), a.burst("room", n)...)
	close(hold)
	if len(failed) > 0 {
		t.Fatalf("%d failed: %v", len(failed), failed[0])
	}
	last := fmt.Sprint("room ", n-1)
	b.until("what is left", func() bool { return b.live && len(b.texts) > 0 && b.texts[len(b.texts)-1] == last })
	a.must("other", "y", nil)
	b.until("what comes then", func() bool { return b.live && b.texts[len(b.texts)-1] == "other y" })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.losses == 0 || b.begins != 1 || len(b.texts) >= 2*n {
		t.Errorf("told %d times, begun %d times, of %d it has %d", b.losses, b.begins, 2*n, len(b.texts))
	}
}

// TestHoles: what a reading has missed is noticed at once, but for what goes while it
// loads: then it looks once more how far the stream is before it is done, and before it
// takes in what lies behind its target.
func TestHoles(t *testing.T) {
	for _, c := range []struct {
		name    string
		at      reading
		offsets []uint64
		want    string // of each: ! = looks before it, ? = behind it, r = reached
	}{
		{"no hole", reading{last: 4, target: 2}, []uint64{5, 6, 7}, "r r r"},
		{"a hole", reading{last: 4, target: 2}, []uint64{5, 9, 10}, "r !- r"},
		{"loading", reading{last: 4, target: 8, loading: true}, []uint64{5, 6, 7, 8}, "- - - r"},
		{"a hole while loading", reading{last: 4, target: 8, loading: true}, []uint64{7, 8, 9, 10}, "- ?- r r"},
		{"a hole over the target", reading{last: 4, target: 8, loading: true}, []uint64{7, 11, 12, 13}, "- !- r r"},
		{"loading in vain, miscounted", reading{last: 4, target: 8, loading: true}, []uint64{7, 8}, "- ?r"},
	} {
		var got []string
		for i, offset := range c.offsets {
			what, newest := "", c.offsets[min(i+1, len(c.offsets)-1)]
			look := func(sign string) {
				what += sign
				c.at.gone, c.at.loading, c.at.target = false, true, newest
			}
			if c.at.hole(offset) {
				look("!")
			}
			c.at.last = offset
			if c.at.doubtful() {
				look("?")
			}
			if c.at.reached() {
				what += "r"
				c.at.loading, c.at.gone = false, false
			} else {
				what += "-"
			}
			got = append(got, what)
		}
		if all := strings.Join(got, " "); all != c.want {
			t.Errorf("%s: %s, want %s", c.name, all, c.want)
		}
	}
}

// lanesOf are lanes that send into a list; tick runs what was put off.
func lanesOf(limit int) (a *lanes, sent *[]string, tick func()) {
	sent = new([]string)
	var later []func()
	a = &lanes{limit: limit, of: map[string]*lane{}}
	a.send = func(r *logRequest) { *sent = append(*sent, r.key) }
	a.after = func(fn func()) { later = append(later, fn) }
	return a, sent, func() {
		now := later
		later = nil
		for _, fn := range now {
			fn()
		}
	}
}

func TestLanes(t *testing.T) {
	a, sent, tick := lanesOf(2)
	wants := func(what, want string) {
		t.Helper()
		if got := strings.Join(*sent, " "); got != want {
			t.Errorf("%s: sent %q, want %q", what, got, want)
		}
		*sent = nil
	}
	list := map[string]*logRequest{}
	for _, key := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "b1", ""} {
		r := &logRequest{key: key}
		if key != "" {
			r.channel = key[:1]
		}
		list[key] = r
		a.enter(r)
	}
	wants("at first", "a1 a2 b1 ")
	a.answered(list["a2"], 12)
	a.answered(list["a1"], 11)
	a.answered(list[""], 13)
	wants("answered, not read", "")
	a.passed("b", 10)
	a.passed("a", 11)
	wants("one was read", "a3")
	a.answered(list["a3"], 0)
	wants("one has failed", "a4")
	a.answered(list["a4"], 12)
	wants("two are there still", "")
	a.skipped(12)
	wants("what is not there was read", "a5 a6")
	a.answered(list["b1"], 9)
	if len(a.of) != 1 {
		t.Errorf("%d lanes are left", len(a.of))
	}

	more := &logRequest{channel: "a", key: "a7"}
	a.enter(more)
	a.answered(list["a5"], 20)
	a.answered(list["a6"], 21)
	tick() // a look at a3 to a6, which have moved
	wants("it may still come", "")
	tick()
	wants("it stands still", "a7")
	a.enter(&logRequest{channel: "a", key: "a8"})
	a.enter(&logRequest{channel: "a", key: "a9"})
	*sent = nil
	if refused := a.refuse(); len(refused) != 1 || refused[0].key != "a9" {
		t.Errorf("refused: %v", refused)
	}
	a.answered(more, 0)
	a.answered(&logRequest{channel: "a"}, 0)
	tick()
	tick()
	if wants("at last", ""); len(a.of) != 0 {
		t.Errorf("%d lanes are left", len(a.of))
	}
}

// TestWaitingIsRefused: who waits for others of its channel hears at once that the
// stream is away.
func TestWaitingIsRefused(t *testing.T) {
	defer func(n int) { depth = n }(depth)
	depth = 1
	ns := jetStream(t, t.TempDir(), -1)
	f := follow(t, ns.ClientURL(), "a")
	f.isLive()
	const n = 1000
	got := make(chan error, n)
	f.mail <- func() {
		for range n {
			p := &worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: "room", Data: []byte("x")}
			f.Append(p, time.Hour, func(_ history.Position, _ bool, err error) { got <- err })
		}
		go f.SharedLog.(*sharedLog).setAway(byReading, "so says a test")
	}
	refused := 0
	for range n {
		if err := <-got; errors.Is(err, worker.ErrUnavailable) && strings.Contains(err.Error(), "so says a test") {
			refused++
		}
	}
	if refused < n/2 {
		t.Errorf("%d of %d were refused", refused, n)
	}
}

// TestAllIsGone: a node comes back to a stream from which all is gone that it had not read.
func TestAllIsGone(t *testing.T) {
	ns := jetStream(t, t.TempDir(), -1)
	f := follow(t, ns.ClientURL(), "a")
	f.isLive()
	one, two := f.must("room", "one", nil), f.must("room", "two", nil)
	f.has("room one", "room two")
	l := f.SharedLog.(*sharedLog)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	s, err := l.js.Stream(ctx, l.name)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(l.base+token("room")+".*"))
	}
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	late := &sharedLog{c: l.c, log: quiet(), js: l.js, name: l.name, base: l.base, post: func(fn func()) { fn() }}
	late.ctx, late.cancel = context.WithCancel(ctx)
	late.o = worker.SharedLogOptions{
		Channel: depth, Replicas: replicas, MinAge: time.Minute,
		Begin: func(worker.LogStart) { told = append(told, "begins") },
		Lost:  func(at worker.LogStart) { told = append(told, fmt.Sprint("lost up to ", at.Last)) },
		Live:  func() { told = append(told, "live"); late.cancel() },
		Away:  func(string) {},
	}
	depth, err := late.depth(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	late.at = reading{epoch: f.start.Epoch, drawn: 1, depth: depth, last: one.offset}
	if err := late.read(); !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		t.Error(err)
	}
	want := []string{fmt.Sprint("lost up to ", two.offset), "live"}
	if !slices.Equal(told, want) || late.at.clear != two.offset {
		t.Errorf("told %q, want %q; it is at %d", told, want, late.at.clear)
	}
}
