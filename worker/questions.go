package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/handover"
)

// What all workers are asked of their connections (a list, a count, who is online) comes
// to the two processes of a hand-over at different moments, between which connections
// may have moved: then both would count them, or neither. So the old worker says which
// moment counts. It answers while nothing is between the two, and passes the question
// on ahead of the next connections; the new one answers it when that comes, and in its
// own time only what the old one has had no word of by the end.

// questions are those that are to be answered by two processes as one.
type questions struct {
	// Of the old worker.
	passes  bool       // the new one waits for what is passed on
	waiting []BusQuery // they have come while connections were frozen
	answer  []BusQuery // answered here, to be passed on

	// Of the new worker.
	holds int                 // hand-overs to this process whose old worker passes on
	held  map[string]BusQuery // by Reply: not passed on yet
	known map[string]struct{} // Replies: answered, or given up; nil = no hand-over
}

// maxHeld bounds the questions that wait; beyond it they are not answered, of which the
// asker tells.
const maxHeld = 1024

// knownFor is how long a question that was passed on may be behind on its own way.
const knownFor = 5 * time.Second

// ofConnections reports whether the answer depends on where connections are.
func ofConnections(what string) bool { return what != "stats" && what != control.QueryRecords }

// asked answers a question that has come by the bus, now or when its time has come.
func (l *loop) asked(q BusQuery) {
	s := &l.questions
	switch {
	case !ofConnections(q.What):
		l.reply(q)
	case l.underway.frozen:
		if len(s.waiting) < maxHeld {
			s.waiting = append(s.waiting, q)
		}
	case s.holds > 0:
		if _, had := s.known[q.Reply]; !had && len(s.held) < maxHeld {
			s.held[q.Reply] = q
		}
	default:
		l.replyOnce(q)
	}
}

// reply answers a question of now.
func (l *loop) reply(q BusQuery) {
	data, err := l.query(q.What, q.Args)
	a := AnswerOf(data, err)
	a.Worker = l.identity
	if ofConnections(q.What) {
		l.underway.told = l.underway.told || l.phase.moving()
		a.Heir = l.underway.heir
		if s := &l.questions; s.passes && len(s.answer) < maxHeld {
			s.answer = append(s.answer, q)
		}
	}
	l.broker.Answer(q.Reply, a)
}

// replyOnce is reply, unless the question has been answered.
func (l *loop) replyOnce(q BusQuery) {
	s := &l.questions
	if _, had := s.known[q.Reply]; had {
		return
	}
	if s.known != nil {
		s.known[q.Reply] = struct{}{}
	}
	l.reply(q)
}

// replyWaiting answers what has come while connections were frozen, with them.
func (l *loop) replyWaiting() {
	list := l.questions.waiting
	l.questions.waiting = nil
	for _, q := range list {
		l.reply(q)
	}
}

// passOn takes what the new worker is to answer before anything else moves.
func (s *questions) passOn() (list []BusQuery) {
	list, s.answer = s.answer, nil
	return list
}

// passed answers what the old worker has answered just now. With several hand-overs at
// once there is no moment for all of them, and it is not answered.
func (l *loop) passed(q BusQuery) {
	delete(l.questions.held, q.Reply)
	if l.importing == 1 {
		l.replyOnce(q)
		return
	}
	l.questions.known[q.Reply] = struct{}{}
}

// holdBegins and holdEnds are the bounds of a hand-over whose old worker passes on. Of
// what is left at the end the old worker had no word when it said the last ones. If
// this is not sure it may have answered some before it began to pass on, of which the
// moment is not known: nobody answers those.
func (l *loop) holdBegins() {
	s := &l.questions
	if s.holds++; s.held == nil {
		s.held = map[string]BusQuery{}
	}
}

func (l *loop) holdEnds(sure bool) {
	s := &l.questions
	if !sure {
		clear(s.held)
	}
	if s.holds--; s.holds > 0 {
		return
	}
	for _, q := range s.held {
		l.replyOnce(q)
	}
	s.held = nil
}

// knowBegins and knowEnds are the bounds of any hand-over to this process.
func (l *loop) knowBegins() {
	if l.questions.known == nil {
		l.questions.known = map[string]struct{}{}
	}
}

func (l *loop) knowEnds() {
	l.after(knownFor, func() {
		if l.importing == 0 {
			l.questions.known = nil
		}
	})
}

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
