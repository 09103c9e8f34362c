package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker/handover"
)

// What the two workers of a hand-over say to each other of questions, beside the
// connections. It runs on the goroutines of the hand-over.

// questionsVersion is the record version of a reader that knows of questions.
const questionsVersion = 8

// passedQuestion is the body of a handover.Question.
type passedQuestion struct {
	Query BusQuery `json:"query"`
	Reply string   `json:"reply"`
}

// introduce says that questions will be passed on, and returns when the new worker has
// answered all that this one may have answered by then.
func (x *export) introduce() error {
	if x.reads < questionsVersion {
		return nil
	}
	if err := x.l.do(func() { x.l.questions.passes = true }); err != nil {
		return err
	}
	if err := x.k.Send(handover.Question, nil, nil); err != nil {
		return err
	}
	_, err := x.k.Expect(handover.Question, 0)
	return err
}

// passOn sends questions to the new worker.
func (x *export) passOn(list []BusQuery) error {
	for _, q := range list {
		body, err := json.Marshal(passedQuestion{q, q.Reply})
		if err == nil {
			err = x.k.Send(handover.Question, body, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// question takes what the old worker says of questions. The first time nothing has
// moved yet: what has reached the broker by then is answered, as it may be by the old
// one without being passed on; what comes later waits.
func (m *imports) question(body []byte) error {
	l := m.l
	if len(body) > 0 {
		var p passedQuestion
		if err := json.Unmarshal(body, &p); err != nil || p.Reply == "" || !m.holds {
			return fmt.Errorf("the other worker passed on a question that is none: %.100q", body)
		}
		p.Query.Reply = p.Reply
		return l.do(func() { l.passed(p.Query) })
	}
	if m.holds {
		return errors.New("the other worker has said twice that it passes on questions")
	}
	m.sure = m.allArrived()
	if err := l.do(l.holdBegins); err != nil {
		return err
	}
	m.holds = true
	return m.k.Send(handover.Question, nil, nil)
}

// arriveWithin is how long a process may be behind the bus, for its questions to be
// answered without a doubt; the hand-over waits for that, and nobody is frozen yet.
const arriveWithin = 250 * time.Millisecond

// allArrived waits until all questions that had reached the broker are with the loop.
func (m *imports) allArrived() bool {
	arrived := make(chan struct{}, 1)
	if m.l.broker.Barrier(true, func() { arrived <- struct{}{} }) != nil {
		return false
	}
	select {
	case <-arrived:
		return true
	case <-time.After(arriveWithin):
		return false
	}
}
