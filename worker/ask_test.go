package worker

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/bus"
)

// asking is a loopback that carries questions: to this process, and to a second
// one that answers for itself.
type asking struct {
	*loopback
	others []Answer
}

func (b *asking) Gather(q BusQuery, _ time.Duration, done func([]Answer, bool)) error {
	if b.fail != nil {
		return b.fail
	}
	q.Reply = "here"
	go func() {
		b.in.Query(q)
		done(append([]Answer{<-b.answers}, b.others...), true)
	}()
	return nil
}

func (b *asking) Tell(string, string, []byte) error    { return nil }
func (b *asking) TellAll(string, string, []byte) error { return nil }
func (b *asking) AskService(string, string, []byte, time.Duration, func(Answer, error)) error {
	return nil
}

func TestStatsAllGathersEveryProcess(t *testing.T) {
	w := New(anyWS)
	w.Name = "a"
	s := serve(t, w)
	connect(t, s.addrs[0], "/")
	s.eventually("the connection is counted", func() bool { return w.CountConnections() == 1 })
	other, err := json.Marshal(Stats{Connections: 5})
	must(t, err)
	b := &asking{loopback: s.broker, others: []Answer{
		{Worker: "a/10/1", Data: other},
		{Worker: "a/2/1", Data: other},
		{Worker: "a/1/1", Error: "not now"},
		{Worker: "nonsense", Data: other},
		{Worker: "a/x/1", Data: other},
		{Worker: "a/3/1", Data: json.RawMessage(`[]`)},
	}}
	got := make(chan []ProcessStats, 1)
	s.on(func() {
		w.loop.broker = bus.PartsOf(b)
		must(t, w.StatsAll(func(all []ProcessStats) { got <- all }))
	})
	all := <-got
	if len(all) != 3 || all[0].Slot != 0 || all[1].Slot != 2 || all[2].Slot != 10 {
		t.Fatalf("got %+v, want slots 0, 2 and 10", all)
	}
	if all[0].Name != "a" || all[0].Generation != 1 || all[0].Connections != 1 || all[1].Connections != 5 {
		t.Fatalf("got %+v", all)
	}
	s.on(func() {
		b.fail = ErrBrokerAway
		if err := w.StatsAll(nil); !errors.Is(err, ErrBrokerAway) {
			t.Errorf("broker away: %v", err)
		}
		b.fail = nil
		w.loop.broker = bus.PartsOf(b.loopback)
		if err := w.StatsAll(nil); !errors.Is(err, ErrNoServices) {
			t.Errorf("broker that cannot ask: %v", err)
		}
	})
}
