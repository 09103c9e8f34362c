package worker

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// howMany asks how many are in "all"; the text names the question.
func howMany(text string) BusQuery {
	return BusQuery{What: "count", Args: json.RawMessage(`"YWxs"`), Reply: text}
}

// counted is the next answer to howMany.
func counted(t *testing.T, s *server) (n int, heir string) {
	t.Helper()
	select {
	case a := <-s.broker.answers:
		must(t, json.Unmarshal(a.Data, &n))
		return n, a.Heir
	case <-time.After(patience):
		t.Error("no answer")
	}
	return -1, ""
}

// counts says what the answer has to be.
func (h *halfway) counts(s *server, want int, heir string) {
	h.t.Helper()
	if n, got := counted(h.t, s); n != want || got != heir {
		h.t.Errorf("%d and heir %q, want %d and %q", n, got, want, heir)
	}
}

// passOn gives to the new worker what the old one has answered.
func (h *halfway) passOn() {
	var list []BusQuery
	h.old.on(func() { list = h.old.w.loop.questions.passOn() })
	h.new.on(func() {
		for _, q := range list {
			h.new.w.loop.passed(q)
		}
	})
}

// TestQuestionsDuringAHandOver: what the two processes say of a moment adds up, whenever
// the question comes to either of them.
func TestQuestionsDuringAHandOver(t *testing.T) {
	h := begin(t)
	old, next := h.old.w.loop, h.new.w.loop
	next.Query(howMany("before it waits"))
	h.new.on(func() { next.knowBegins() })
	next.Query(howMany("early"))
	h.counts(h.new, 0, "")
	h.counts(h.new, 0, "")
	h.old.on(func() { old.questions.passes = true })
	h.new.on(next.holdBegins)
	old.Query(howMany("early"))
	h.counts(h.old, 3, "")
	h.passOn() // of what has been answered
	next.Query(howMany("first"))
	old.Query(howMany("first"))
	h.counts(h.old, 3, "")
	h.silent(h.new)
	h.passOn()
	h.counts(h.new, 0, "")

	land := h.ship()
	old.Query(howMany("between"))
	next.Query(howMany("between"))
	next.Query(BusQuery{What: "stats", Reply: "stats"})
	if a := <-h.new.broker.answers; a.Error != "" || a.Heir != "" {
		t.Errorf("stats: %+v", a)
	}
	h.silent(h.old)
	land()
	h.silent(h.new)
	land = h.ship()
	h.counts(h.old, 2, "all/0/2")
	h.passOn()
	h.counts(h.new, 1, "")
	land()
	h.old.on(old.allLanded)
	old.Query(howMany("late"))
	h.counts(h.old, 1, "all/0/2")
	h.passOn()
	h.counts(h.new, 2, "")
	next.Query(howMany("late"))
	h.silent(h.new)

	h.ship() // and is taken back
	old.Query(howMany("back"))
	h.silent(h.old)
	h.old.on(h.x.resume)
	h.counts(h.old, 1, "")
	next.Query(howMany("back"))
	h.silent(h.new)
	h.new.on(func() { next.importing--; next.holdEnds(true); next.knowEnds() })
	h.counts(h.new, 2, "")
	next.Query(howMany("late"))
	next.Query(howMany("after"))
	h.counts(h.new, 2, "")
	h.silent(h.new)
	h.silent(h.old)
}

// TestQuestionsOfTwoHandOvers: there is no moment for three processes, so one of them
// does not answer.
func TestQuestionsOfTwoHandOvers(t *testing.T) {
	h := begin(t)
	next := h.new.w.loop
	h.new.on(func() { next.knowBegins(); next.holdBegins(); next.importing++; next.holdBegins() })
	next.Query(howMany("both"))
	next.Query(howMany("one"))
	h.new.on(func() {
		next.passed(howMany("both"))
		next.importing--
		next.holdEnds(true)
		next.passed(howMany("both"))
	})
	h.silent(h.new)
	h.new.on(func() { next.importing--; next.holdEnds(true) })
	h.counts(h.new, 0, "") // of "one"
	h.silent(h.new)
}

// TestQuestionsOfManyAreNotRemembered: beyond what can be remembered nobody answers, rather
// than both.
func TestQuestionsOfManyAreNotRemembered(t *testing.T) {
	h := begin(t)
	next := h.new.w.loop
	h.new.on(func() {
		next.knowBegins()
		for i := range maxKnown - 1 {
			next.questions.note(fmt.Sprint(i))
		}
	})
	next.Query(howMany("the last"))
	h.counts(h.new, 0, "")
	next.Query(howMany("one more"))
	h.new.on(func() { next.passed(howMany("passed on")) })
	h.silent(h.new)
	h.new.on(func() {
		if n := len(next.questions.known); n != maxKnown {
			t.Errorf("%d are remembered", n)
		}
	})
}

// TestQuestionsOfOneWhoLags: who does not know what the other has answered before, says
// nothing of what is not passed on.
func TestQuestionsOfOneWhoLags(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	connect(t, s1.addrs[0], "/")
	b.mu.Lock()
	b.hold = make(chan struct{})
	b.mu.Unlock()
	w2, _ := newEchoer(anyWS)
	s2 := launch(t, w2, b, s1)
	m := &imports{l: w2.loop}
	if m.allArrived() {
		t.Error("nothing has arrived")
	}
	s2.on(func() { w2.loop.knowBegins(); w2.loop.holdBegins() })
	w2.loop.Query(howMany("old or new"))
	s2.on(func() { w2.loop.holdEnds(false) })
	w2.loop.Query(howMany("new"))
	n, _ := counted(t, s2)
	if s2.on(func() {}); n != 0 || len(s2.broker.answers) != 0 {
		t.Errorf("%d, and %d further answers", n, len(s2.broker.answers))
	}
	close(b.hold)
	if !m.allArrived() {
		t.Error("all has arrived")
	}
	if report := s1.moveTo(s2); report.Moved != 1 || report.Error != "" {
		t.Errorf("%+v", report)
	}
}

// TestCountsThroughHandover asks all the time, while connections move again and again.
func TestCountsThroughHandover(t *testing.T) {
	b := &testBus{}
	w, _ := newEchoer(anyWS)
	s := launch(t, w, b, nil)
	const conns = 300
	for range conns {
		connect(t, s.addrs[0], "/")
	}
	s.eventually("all are in", func() bool { return w.CountConnections() == conns })
	for round := range 3 {
		next, _ := newEchoer(anyWS)
		fresh := launch(t, next, b, s)
		over, asked := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			for done := false; !done; n++ {
				select {
				case <-over:
					done = true
				default:
				}
				q, first, second := howMany(fmt.Sprint(round, "/", n)), s, fresh
				if n%2 == 1 {
					first, second = second, first
				}
				first.w.loop.Query(q)
				second.w.loop.Query(q)
				a, _ := counted(t, s)
				if c, _ := counted(t, fresh); a+c != conns {
					t.Errorf("question %d of round %d: %d and %d", n, round, a, c)
				}
			}
			asked <- n
		}()
		var report control.Exported
		if report = s.moveTo(fresh); report.Error != "" || report.Moved != conns {
			t.Errorf("%+v", report)
		}
		close(over)
		if n := <-asked; n < 2 {
			t.Errorf("%d questions", n)
		}
		s.stop()
		s.stopped = true
		s = fresh
	}
}
