package worker

import (
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Whoever asks how many connections a publication has reached adds up what all
// processes say, and a hand-over must not make the sum wrong. A connection counts
// where it was when the publication came to it:
//
//   - the old worker does not answer while connections are between the two, and says
//     which process has to be heard as well, since who asks may not know it yet;
//   - the new one counts what it gives to those that come later (replay). Its answer
//     waits a little for them: old workers of the version before do not. What comes
//     after that is a further answer, which reaches the broker before the old worker
//     hears that they have landed.

// lateAnswer is the answer to a publication that came during a hand-over: some
// of the connections that it is for may still be on their way here.
type lateAnswer struct {
	d  *delivery
	at time.Duration
}

// lateBy is how long an answer waits for connections on their way here.
const lateBy = 60 * time.Millisecond

// underway is what the old worker of a hand-over says of its part.
type underway struct {
	heir    string      // who counts what has left; "" = nothing has, or the master is of a version before
	frozen  bool        // some are with neither of the two
	told    bool        // it has answered something
	waiting []*delivery // their answers, until that is over
}

// answerFor tells whoever asked how many connections a publication reached.
func (l *loop) answerFor(d *delivery) {
	switch {
	case l.underway.frozen:
		l.underway.waiting = append(l.underway.waiting, d)
	case l.importing > 0 && !l.phase.moving():
		l.late = append(l.late, lateAnswer{d, l.now + lateBy})
		if len(l.late) == 1 {
			l.after(lateBy, l.answerLate)
		}
	default:
		l.answer(d)
	}
}

func (l *loop) answer(d *delivery) {
	l.underway.told = l.underway.told || l.phase.moving()
	l.broker.Answer(d.pub.Reply, Answer{Worker: l.identity, Reached: d.reached, Heir: l.underway.heir})
}

// answerLate sends the answers whose time has come.
func (l *loop) answerLate() {
	for len(l.late) > 0 && (l.late[0].at <= l.now || l.importing == 0) {
		d := l.late[0].d
		l.late = l.late[1:]
		l.answer(d)
	}
	if len(l.late) > 0 {
		l.after(max(l.late[0].at-l.now, time.Millisecond), l.answerLate)
	}
}

// allLanded sends what has waited for connections that were frozen here: they are
// in the other process now, or here again.
func (l *loop) allLanded() {
	u := &l.underway
	u.frozen = false
	for _, d := range u.waiting {
		l.answer(d)
	}
	u.waiting = nil
	l.replyWaiting()
}

// neighbour is the name on the bus of a worker of this node.
func (l *loop) neighbour(name string) string {
	own, _ := control.ParseIdentity(l.identity)
	id, ok := control.ParseIdentity(name)
	if !ok {
		return ""
	}
	return id.On(own.Node).String()
}

// credit adds connections that were reached after the fact. It reports whether that
// took a further answer.
func (l *loop) credit(p *Publication, n int) (further bool) {
	if n == 0 || p.Reply == "" {
		return false
	}
	for _, a := range l.late {
		if a.d.pub.Reply == p.Reply {
			a.d.reached += n
			return false
		}
	}
	for _, d := range l.underway.waiting {
		if d.pub.Reply == p.Reply {
			d.reached += n
			return false
		}
	}
	l.broker.Answer(p.Reply, Answer{Worker: l.identity, Reached: n})
	return true
}
