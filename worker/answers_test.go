package worker

import (
	"testing"
	"time"

	"github.com/pushd/pushd/worker/handover"
)

// halfway is a hand-over between two workers that a test takes through step by step.
type halfway struct {
	t        *testing.T
	old, new *server
	x        *export
	m        *imports
}

func begin(t *testing.T) *halfway {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	h := &halfway{t: t, old: launch(t, w1, b, nil)}
	for range 3 {
		c := connect(t, h.old.addrs[0], "/")
		c.text("hi")
		c.want("hi")
	}
	w2, _ := newEchoer(anyWS) // it accepts too
	h.new = launch(t, w2, b, h.old)
	h.x, h.m = newExport(w1.loop, nil), &imports{l: w2.loop}
	h.x.heir = "all/0/2"
	h.new.on(func() { w2.loop.journalBegins(); w2.loop.importing++ })
	must(t, h.x.start())
	return h
}

// ship freezes one connection and returns what brings it over.
func (h *halfway) ship() (land func()) {
	var s *shipment
	h.old.on(func() {
		h.old.w.loop.allLanded()
		h.x.freeze(1)
	})
	h.old.on(func() {
		body, fds, err := h.x.pack()
		must(h.t, err)
		s, err = h.m.read(handover.Parcel{Body: body, Files: fds})
		must(h.t, err)
	})
	return func() {
		must(h.t, h.x.release())
		h.m.landed = make(chan struct{})
		h.new.on(func() { h.m.admit(s) })
		<-h.m.landed
	}
}

// publish asks how many get it.
func (h *halfway) publish(text string) {
	h.old.on(func() {
		must(h.t, h.old.broker.Publish(&Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "all", Shard: Shard(ScopeChannel, "all"), Data: []byte(text), Reply: text}))
	})
}

func (h *halfway) answer(s *server, reached int, heir string) {
	h.t.Helper()
	select {
	case a := <-s.broker.answers:
		if a.Worker != s.w.loop.identity || a.Reached != reached || a.Heir != heir {
			h.t.Errorf("%+v, want %d and heir %q", a, reached, heir)
		}
	case <-time.After(patience):
		h.t.Fatal("no answer")
	}
}

func (h *halfway) silent(s *server) {
	h.t.Helper()
	s.on(func() {}) // it has seen what there is
	if n := len(s.broker.answers); n != 0 {
		h.t.Errorf("%d answers: %+v", n, <-s.broker.answers)
	}
}

// TestEachConnectionCountsOnce: however long connections are between two processes,
// what both say of a publication adds up, and the old one says it last.
func TestEachConnectionCountsOnce(t *testing.T) {
	h := begin(t)
	h.publish("before") // of three
	h.answer(h.old, 3, "")
	h.answer(h.new, 0, "")
	land := h.ship()
	h.publish("long")      // one is between the two, for longer than answers wait
	h.answer(h.new, 0, "") // has waited
	h.silent(h.old)
	land()
	if !h.m.told {
		t.Error("a further answer may come behind that of the old worker")
	}
	h.answer(h.new, 1, "")
	h.silent(h.old)
	land = h.ship()
	h.answer(h.old, 2, "all/0/2")
	land()
	if h.m.told {
		t.Error("it has told of a publication twice")
	}
	h.new.on(func() {
		l, d := h.new.w.loop, &delivery{pub: Publication{Reply: "short"}}
		if l.answerFor(d); l.credit(&d.pub, 1) {
			t.Error("an answer that waits needs none behind it")
		}
	})
	h.answer(h.new, 1, "")
	h.ship() // and is taken back
	h.publish("back")
	h.answer(h.new, 2, "")
	h.silent(h.old)
	h.old.on(h.x.resume)
	h.answer(h.old, 1, "")
	h.publish("after")
	h.answer(h.old, 1, "")
	h.answer(h.new, 2, "")
	h.silent(h.old)
	h.silent(h.new)
}
