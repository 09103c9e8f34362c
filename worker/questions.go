package worker

import (
	"time"

	"github.com/pushd/pushd/protocol/control"
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

// maxKnown bounds the questions that are remembered as answered; beyond it they are not
// answered either. At 2,000 in a second that is a hand-over of three seconds.
const maxKnown = 16 << 10

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
	if l.questions.note(q.Reply) {
		l.reply(q)
	}
}

// note reports whether a question may still be answered; once asked, it has been.
func (s *questions) note(reply string) bool {
	if _, had := s.known[reply]; had || len(s.known) >= maxKnown {
		return false
	}
	if s.known != nil {
		s.known[reply] = struct{}{}
	}
	return true
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
	s := &l.questions
	delete(s.held, q.Reply)
	if s.note(q.Reply) && l.importing == 1 {
		l.reply(q)
	}
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
