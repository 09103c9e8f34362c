package worker

import "github.com/pushd/pushd/worker/hub"

// maxListed bounds the bytes of uids in what one process tells of the members.
const maxListed = 512 << 10

// A Member is a connection that has joined a channel.
type Member struct {
	ID  string // Conn.ID
	UID string // "" = bound to none
}

// MembersAll lists members of channel in all worker processes, in no order and
// none twice, and how many there are in total. limit is 1 to 1,000; anything else
// is 1,000. Of a channel with more, or whose uids have over 512 KiB in one process,
// it lists some, and len(members) is below total. Everything else, errors too, is
// as in CountAll.
func (w *Worker) MembersAll(channel string, limit int, fn func(members []Member, total int, complete bool)) error {
	if limit <= 0 || limit > MaxSurvey {
		limit = MaxSurvey
	}
	var members []Member
	total, seen := 0, map[string]bool{}
	return survey(w.loop, "members", membersQuery{[]byte(channel), limit}, func(a membersAnswer) {
		total += a.Total
		for _, m := range a.Members {
			if len(members) < limit && !seen[m.ID] { // one that moves may be told twice
				seen[m.ID] = true
				members = append(members, Member{m.ID, string(m.UID)})
			}
		}
	}, func(complete bool) { fn(members, total, complete) })
}

type membersQuery struct {
	Channel []byte `json:"channel"`
	Limit   int    `json:"limit"`
}

type membersAnswer struct {
	Total   int          `json:"total"`
	Members []memberInfo `json:"members"`
}

type memberInfo struct {
	ID  string `json:"id"`
	UID []byte `json:"uid,omitempty"`
}

// listMembers answers "members".
func (l *loop) listMembers(q membersQuery) (a membersAnswer) {
	g := l.hub.Group(hub.Channel, string(q.Channel))
	if g == nil {
		return a
	}
	all, size := g.Members(), 0
	a.Total = len(all)
	for _, c := range all[:min(len(all), max(q.Limit, 0), MaxSurvey)] {
		uid := c.UID()
		if size += len(uid); size > maxListed {
			break
		}
		a.Members = append(a.Members, memberInfo{c.ID(), []byte(uid)})
	}
	return a
}

// SessionOf tells the session value that the connection with that id has under
// key (Conn.Get), whichever worker process it is in; "" is none. found says that
// a process has the connection: without found and with complete there is no such
// connection. A connection on its way during a reload may not be found; ask again.
// Everything else, errors too, is as in CountAll.
func (w *Worker) SessionOf(id, key string, fn func(value string, found, complete bool)) error {
	var value string
	found := false
	return survey(w.loop, "session", sessionQuery{id, []byte(key)}, func(a sessionAnswer) {
		if a.Found {
			value, found = string(a.Value), true
		}
	}, func(complete bool) { fn(value, found, complete) })
}

type sessionQuery struct {
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

type sessionAnswer struct {
	Found bool   `json:"found"`
	Value []byte `json:"value,omitempty"`
}

// sessionValue answers "session".
func (l *loop) sessionValue(q sessionQuery) (a sessionAnswer) {
	id, ok := ParseID(q.ID)
	if !ok {
		return a
	}
	if c := l.conns.find(&id); c != nil {
		a = sessionAnswer{true, []byte(c.Get(string(q.Key)))}
	}
	return a
}
