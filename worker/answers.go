package worker

import "time"

// lateAnswer is the answer to a publication that came during a hand-over: some
// of the connections that it is for may still be on their way.
type lateAnswer struct {
	d  *delivery
	at time.Duration
}

// lateBy is how long an answer waits for connections on their way.
const lateBy = 60 * time.Millisecond

// answerFor tells whoever asked how many connections a publication reached.
func (l *loop) answerFor(d *delivery) {
	if l.fan.journal.on && !l.phase.moving() {
		l.late = append(l.late, lateAnswer{d, l.now + lateBy})
		if len(l.late) == 1 {
			l.after(lateBy, l.answerLate)
		}
		return
	}
	l.broker.Answer(d.pub.Reply, Answer{Worker: l.identity, Reached: d.reached})
}

// answerLate sends the answers whose time has come.
func (l *loop) answerLate() {
	for len(l.late) > 0 && (l.late[0].at <= l.now || !l.fan.journal.on) {
		d := l.late[0].d
		l.late = l.late[1:]
		l.broker.Answer(d.pub.Reply, Answer{Worker: l.identity, Reached: d.reached})
	}
	if len(l.late) > 0 {
		l.after(max(l.late[0].at-l.now, time.Millisecond), l.answerLate)
	}
}

// credit adds a connection that was reached after the fact.
func (l *loop) credit(p *Publication, n int) {
	for i := range l.late {
		if q := &l.late[i].d.pub; q.Publisher == p.Publisher && q.Shard == p.Shard && q.Seq == p.Seq {
			l.late[i].d.reached += n
			return
		}
	}
}
