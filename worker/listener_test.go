package worker

import (
	"fmt"
	"slices"
	"testing"
)

// listen makes w keep what it hears on the channel "news", from its start on.
func listen(w *Worker) (heard *[]string) {
	heard = new([]string)
	w.OnWorkerStart = func(w *Worker) error {
		w.On("news", func(m Message) { *heard = append(*heard, m.String()) })
		return nil
	}
	return heard
}

// TestOn: processes of two groups hear what either publishes, each once and in
// order; connections and counts are what they are without.
func TestOn(t *testing.T) {
	b := &testBus{}
	w1, w2, w3 := New(anyWS), New(anyWS), New(anyWS)
	w2.Name, w3.Name = "other", "deaf"
	heard1, heard2 := listen(w1), listen(w2)
	s1, s2, s3 := launch(t, w1, b, nil), launch(t, w2, b, nil), launch(t, w3, b, nil)
	var want []string
	s1.on(func() {
		for i := range 300 {
			want = append(want, fmt.Sprint(i))
			must(t, w1.Publish("news", Text(want[i])))
			must(t, w1.Publish("olds", Text("not heard")))
		}
		must(t, w1.SendToUID("news", Text("not heard")))
	})
	for s, heard := range map[*server]*[]string{s1: heard1, s2: heard2} {
		s.eventually("it has heard all", func() bool { return len(*heard) >= len(want) })
		s.on(func() {
			if !slices.Equal(*heard, want) {
				t.Errorf("heard %d: %q", len(*heard), *heard)
			}
		})
	}
	p := newPublication(KindMessage, ScopeChannel, "news", Text("how many?"))
	p.Reply = "r"
	must(t, s3.broker.Publish(&p))
	for _, s := range []*server{s1, s2, s3} {
		if a := <-s.broker.answers; a.Reached != 0 {
			t.Errorf("%d connections reached, there is none", a.Reached)
		}
	}
	s3.on(func() {
		if w3.loop.listeners != nil {
			t.Error("who does not listen pays for it")
		}
	})
}

// TestOnStopAndPanic: a listener may stop itself and others while one is called,
// and a panic ends neither the process nor the listening.
func TestOnStopAndPanic(t *testing.T) {
	w := New(anyWS)
	s := serve(t, w)
	var heard []string
	note := func(who string) func(Message) {
		return func(m Message) { heard = append(heard, who+m.String()) }
	}
	s.on(func() {
		var stops [4]func()
		stops[0] = w.On("news", note("a"))
		stops[1] = w.On("news", func(m Message) { note("b")(m); stops[1](); stops[2](); stops[1]() })
		stops[2] = w.On("news", note("c"))
		stops[3] = w.On("news", func(m Message) { note("d")(m); panic("on purpose") })
		for i := range 2 {
			must(t, w.Publish("news", Text(fmt.Sprint(i))))
		}
	})
	s.eventually("both are heard", func() bool { return len(heard) >= 5 })
	s.on(func() {
		if want := []string{"a0", "b0", "d0", "a1", "d1"}; !slices.Equal(heard, want) || w.loop.panics.Load() != 2 {
			t.Errorf("%q, %d panics", heard, w.loop.panics.Load())
		}
	})
}

// TestOnReload: the old process and the new one hear everything once while they
// live side by side, whatever the hand-over does with connections.
func TestOnReload(t *testing.T) {
	b := &testBus{}
	w1, w2 := New(anyWS), New(anyWS)
	heard1, heard2 := listen(w1), listen(w2)
	s1 := launch(t, w1, b, nil)
	for range 20 {
		connect(t, s1.addrs[0], "/")
	}
	stop, ended, sent := make(chan struct{}), make(chan struct{}), []string{}
	publisher := b.client()
	must(t, publisher.Start(silent{}))
	publish := func() {
		sent = append(sent, fmt.Sprint(len(sent)))
		p := newPublication(KindMessage, ScopeChannel, "news", Text(sent[len(sent)-1]))
		must(t, publisher.Publish(&p))
	}
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				if publish(); len(sent) > 20_000 {
					<-stop
					return
				}
			}
		}
	}()
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != 20 {
		t.Errorf("%+v", report)
	}
	close(stop)
	<-ended
	publish()
	for s, heard := range map[*server]*[]string{s1: heard1, s2: heard2} {
		last := sent[len(sent)-1]
		s.eventually("it has heard the last", func() bool { n := len(*heard); return n > 0 && (*heard)[n-1] == last })
		s.on(func() {
			if n := len(*heard); !slices.Equal(*heard, sent[len(sent)-n:]) {
				t.Errorf("%d of %d, not the last ones in order", n, len(sent))
			}
		})
	}
	s1.on(func() {
		if len(*heard1) != len(sent) {
			t.Errorf("the old one has heard %d of %d", len(*heard1), len(sent))
		}
	})
	must(t, publisher.Close())
}

// silent is an Inbox that wants nothing.
type silent struct{}

func (silent) Deliver([]Publication)     {}
func (silent) Query(BusQuery)            {}
func (silent) Gap(uint64, uint8, uint64) {}
