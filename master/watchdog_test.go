package master

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// replying is a worker that gets on, and answers questions
// while it has time for them.
type replying struct {
	*process
	busy             bool
	pings, questions int
}

func newReplying() *replying {
	return &replying{process: &process{
		readySince: time.Now(), out: make(chan outgoing, outMax), gone: make(chan struct{}), asked: map[uint64]chan control.Message{},
		unit: &unit{role: control.RoleWorker}, slot: &slot{}, log: slog.New(slog.DiscardHandler),
	}}
}

func (r *replying) obey() {
	for o := range r.out {
		switch o.msg.Type {
		case control.TypePing:
			r.pings++
			r.receive(control.Message{Type: control.TypePong, ID: o.msg.ID})
		case control.TypeQuery:
			if r.questions++; !r.busy {
				r.receive(control.Message{Type: control.TypeAnswer, ID: o.msg.ID, Body: []byte(`{"opened":1}`)})
			}
		}
	}
}

// TestOneQuestionASecond: who answers the question for numbers is not pinged besides;
// who is late with it is, since busy is not dead.
func TestOneQuestionASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaster(Options{}, defaultTiming)
		m.log = slog.New(slog.DiscardHandler)
		m.plan.WatchdogMS = 5000
		r := newReplying()
		r.isReady.Store(true)
		m.live[r.process] = true
		go r.obey()
		defer close(r.out)
		w := newWatch()
		defer w.timer.Stop()
		watched := func(seconds int) (pings, questions int) {
			pings, questions = r.pings, r.questions
			for range seconds {
				<-w.timer.C
				m.patrol(w)
				synctest.Wait()
			}
			return r.pings - pings, r.questions - questions
		}
		watched(1) // it has answered nothing yet
		if pings, questions := watched(60); pings != 0 || questions != 60 {
			t.Errorf("a worker that answers was pinged %d times and asked %d times in 60 s", pings, questions)
		}
		r.busy = true
		watched(1) // as if it would answer
		if pings, _ := watched(60); pings != 60 || r.aborted {
			t.Errorf("a busy worker was pinged %d times in 60 s; taken for dead: %v", pings, r.aborted)
		}
		r.busy = false
		watched(1)
		if pings, questions := watched(60); pings != 0 || questions != 60 {
			t.Errorf("afterwards it was pinged %d times and asked %d times in 60 s", pings, questions)
		}
	})
}
