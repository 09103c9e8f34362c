package broker

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// TestNoRoom: a store that is full answers, so it is not away; what is published is
// refused, and says why, as the state does until there is room for somebody's message.
func TestNoRoom(t *testing.T) {
	ns := jetStream(t, t.TempDir(), server.RANDOM_PORT, func(o *server.Options) { o.JetStreamMaxStore = 256 << 10 })
	a, b := follow(t, ns.ClientURL(), "a"), follow(t, ns.ClientURL(), "b")
	a.isLive()
	b.isLive()
	js, err := jetstream.New(a.c.link.nc)
	if err != nil {
		t.Fatal(err)
	}
	says := func(f *follower) string { _, away := f.State(); return away }
	fill := func() {
		testkit.Eventually(t, "it is full", func() bool { return a.say("room", strings.Repeat("x", 16<<10), nil).err != nil })
	}
	empty := func() {
		s, err := js.Stream(t.Context(), "pushd_history")
		if err == nil {
			err = s.Purge(t.Context(), jetstream.WithPurgeSubject("pushd.hist."+token("room")+".m"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	log := a.SharedLog.(*sharedLog)
	key := &worker.Order{Key: "k"}
	a.must("other", "with a key", key)
	fill()
	for range 10 { // whatever the stream itself answers meanwhile
		if got := a.say("room", "more", nil); !errors.Is(got.err, worker.ErrUnavailable) || !strings.Contains(got.err.Error(), "no room") {
			t.Fatalf("%+v", got)
		}
		if s := says(a); !strings.Contains(s, "no room") {
			t.Fatalf("it says %q", s)
		}
	}
	if got := a.must("other", "with a key", key); !got.repeated || says(a) == "" {
		t.Errorf("a repeat, which needs no room: %+v, it says %q", got, says(a))
	}
	if s := says(b); s != "" {
		t.Errorf("one that publishes nothing says %q", s)
	}
	log.setAway(byWriting, "no answer")
	if s := says(a); !strings.Contains(s, "no answer") || !strings.Contains(s, "no room") {
		t.Errorf("without an answer either it says %q", s)
	}
	log.setAway(byWriting, "")
	empty()
	a.must("room", "there is room", nil)
	if s := says(a); s != "" {
		t.Errorf("with room it says %q", s)
	}
	fill()
	empty()
	testkit.Eventually(t, "one hears that there is room for others", func() bool {
		b.must("room", "by another", nil)
		return says(a) == ""
	})
}

// TestWhatIsNoRoom: what is wrong with one message says nothing of the others.
func TestWhatIsNoRoom(t *testing.T) {
	for want, errs := range map[bool][]error{
		true: {&jetstream.APIError{ErrorCode: 10023}, &jetstream.APIError{ErrorCode: 10002}},
		false: {
			nil, nats.ErrNoResponders, nats.ErrTimeout, worker.ErrOutdated,
			&jetstream.APIError{ErrorCode: 10054, Description: "message size exceeds maximum allowed"},
			&jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence},
		},
	} {
		for _, err := range errs {
			if got := noRoom(err) != ""; got != want {
				t.Errorf("%v: %v", err, got)
			}
		}
	}
}
