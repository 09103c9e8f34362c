package broker

import (
	"errors"
	"slices"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// TestStrays: the history is told of messages without a position where there should be
// one, again after each that has one, and of no others.
func TestStrays(t *testing.T) {
	var told []string
	var err error
	s := strays{kept: func(name string) bool { return name != "plain" }, told: map[string]bool{}}
	s.tell = func(word []byte) error {
		if err == nil {
			_ = history.EachWant(word, func(w history.Want) { told = append(told, w.Conn+w.Channel) })
		}
		return err
	}
	of := func(channel string) *worker.Publication {
		return &worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel}
	}
	numbered, unkept, kick, user := of("a"), of("a"), of("a"), of("a")
	numbered.Stamp, unkept.Code, kick.Kind, user.Scope = &worker.Stamp{}, worker.CodeUnkept, worker.KindKick, worker.ScopeUID
	for _, p := range []*worker.Publication{unkept, kick, user, numbered, of("plain")} {
		s.look(p, false)
	}
	s.look(of("a"), true) // of this node's own service
	if len(told) > 0 {
		t.Errorf("told of %q", told)
	}
	err = errors.New("busy")
	s.look(of("a"), false)
	err = nil
	for _, p := range []*worker.Publication{of("a"), of("a"), of("b"), numbered, of("a")} {
		s.look(p, false)
	}
	if want := []string{"a", "b", "a"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}

// TestUnkeptIsNoStray: on the bus a message that is not to be kept says so, and the word
// of one that is none goes to this node's own history.
func TestUnkeptIsNoStray(t *testing.T) {
	b := newBus(t)
	b.serve()
	kept := func(o *Options) {
		o.SharedHistory = true
		o.Ordered = func(channel string) bool { return channel == "room" || channel == "hall" }
	}
	knows := b.client("knows", new(inbox), kept)
	words, err := knows.link.nc.SubscribeSync(knows.subjects.serviceOf(worker.HistoryService))
	if err == nil {
		err = knows.link.nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	unkept := message("room", "unkept")
	unkept.Unkept = true
	patient(t, knows, unkept)
	patient(t, b.client("knows not", nil), message("hall", "stray"))
	m, err := words.NextMsg(testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	_, word, _ := parseWord(m.Data)
	if err := history.EachWant(word, func(w history.Want) {
		if w != (history.Want{Channel: "hall"}) {
			t.Errorf("told %+v", w)
		}
	}); err != nil {
		t.Error(err)
	}
	in := knows.receiver.in.(*inbox)
	testkit.Eventually(t, "both came", func() bool { return in.count() == 2 })
	if n, _, _ := words.Pending(); n != 0 {
		t.Errorf("%d more words", n)
	}
}
