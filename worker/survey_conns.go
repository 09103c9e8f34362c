package worker

import (
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/survey"
)

// MembersAll lists members of channel in all worker processes, in no order and
// none twice, and how many there are in total. limit is 1 to 1,000; anything else
// is 1,000. Of a channel with more, or whose uids have over 512 KiB in one process,
// it lists some, and len(members) is below total. Everything else, errors too, is
// as in CountAll.
func (w *Worker) MembersAll(channel string, limit int, fn func(members []Member, total int, complete bool)) error {
	if limit <= 0 || limit > MaxSurvey {
		limit = MaxSurvey
	}
	m := survey.Members{Limit: limit}
	return surveyAll(w.loop, "members", survey.MembersQuery{Channel: []byte(channel), Limit: limit}, m.Add,
		func(complete bool) { fn(m.List, m.Total, complete) })
}

// listMembers answers "members".
func (l *loop) listMembers(q survey.MembersQuery) (a survey.MembersAnswer) {
	g := l.hub.Group(hub.Channel, string(q.Channel))
	if g == nil {
		return a
	}
	all, size := g.Members(), 0
	a.Total = len(all)
	for _, c := range all[:q.Room(len(all))] {
		if !a.Add(c.ID(), c.UID(), &size) {
			break
		}
	}
	return a
}

// SessionOf tells the session value that the connection with that id has under
// key (Conn.Get), whichever worker process it is in; "" is none. found says that
// a process has the connection: without found and with complete there is no such
// connection.
// Everything else, errors too, is as in CountAll.
func (w *Worker) SessionOf(id, key string, fn func(value string, found, complete bool)) error {
	var value string
	found := false
	return surveyAll(w.loop, "session", survey.SessionQuery{ID: id, Key: []byte(key)}, func(a survey.SessionAnswer) {
		if a.Found {
			value, found = string(a.Value), true
		}
	}, func(complete bool) { fn(value, found, complete) })
}

// sessionValue answers "session".
func (l *loop) sessionValue(q survey.SessionQuery) (a survey.SessionAnswer) {
	id, ok := ParseID(q.ID)
	if !ok {
		return a
	}
	if c := l.conns.find(&id); c != nil {
		a = survey.SessionAnswer{Found: true, Value: []byte(c.Get(string(q.Key)))}
	}
	return a
}
