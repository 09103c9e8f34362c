package mercure

import (
	"encoding/json"
	"maps"
	"strings"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// subscriber is a stream of this process.
type subscriber struct {
	*profile
	conn *worker.Conn
	id   string // what others know it by
	end  int64  // Unix seconds, 0 = none

	ahead  int  // times that its position had not been reached here, see catchUp
	lacked bool // it was told of a loss there
}

// profile is what streams have in common that have asked for the same and may read
// the same. It is made once, and an event is judged once for all of them.
type profile struct {
	key     string
	sub     wire.Subscription
	grants  wire.Grants
	members map[*worker.Conn]*subscriber

	event *wire.Event // the last that was judged
	gets  bool        // what was found
}

// judge reports whether an event is for the streams of the profile: one of its
// topics was asked for, and of what is private one is granted.
func (p *profile) judge(e *wire.Event, topics []wire.Topic) bool {
	if p.event != e {
		p.event, p.gets = e, p.sub.Selects(topics) && (!e.Private || p.grants.MayRead(topics))
	}
	return p.gets
}

// subscribers finds those of this process by topic. Patterns that are the same are
// tried once.
type subscribers struct {
	of       map[*worker.Conn]*subscriber
	profiles map[string]*profile
	exact    map[string]map[*profile]struct{}
	patterns map[string]*group // by type and text
}

// group are the profiles with one pattern.
type group struct {
	matcher  wire.Matcher
	profiles map[*profile]struct{}
}

// subscriberOf returns the subscriber that a connection is, nil if it is none. One
// that has come from another process is made of its session value.
func (h *Handler) subscriberOf(c *worker.Conn) *subscriber {
	if s := h.subs.of[c]; s != nil {
		return s
	}
	var v session
	if json.Unmarshal([]byte(c.Get(sessionKey)), &v) != nil {
		return nil
	}
	p := h.profileOf(&v)
	if p == nil {
		return nil
	}
	s := &subscriber{profile: p, conn: c, id: v.Subscriber, end: v.End}
	if h.subs.of == nil {
		h.subs.of = map[*worker.Conn]*subscriber{}
	}
	h.subs.of[c], p.members[c] = s, s
	return s
}

// profileOf returns the profile of a session, nil if it is damaged.
func (h *Handler) profileOf(v *session) *profile {
	key := v.Query + "\n" + string(v.Details)
	if v.Legacy {
		key = "0.x\n" + key
	}
	if p := h.subs.profiles[key]; p != nil {
		return p
	}
	p := &profile{key: strings.Clone(key), members: map[*worker.Conn]*subscriber{}}
	var err error
	if p.sub, err = h.hub.ParseQuery(v.Query); err != nil {
		return nil
	}
	if v.Legacy {
		p.grants, err = h.hub.ParseLegacy(v.Details)
	} else {
		p.grants, err = h.hub.ParseGrants(v.Details)
	}
	if err != nil {
		return nil
	}
	h.subs.add(p)
	return p
}

func (l *subscribers) add(p *profile) {
	if l.profiles == nil {
		l.profiles, l.exact, l.patterns = map[string]*profile{}, map[string]map[*profile]struct{}{}, map[string]*group{}
	}
	l.profiles[p.key] = p
	for i := range p.sub.Matchers {
		m := &p.sub.Matchers[i]
		if m.IsExact() {
			if l.exact[m.Match] == nil {
				l.exact[m.Match] = map[*profile]struct{}{}
			}
			l.exact[m.Match][p] = struct{}{}
			continue
		}
		key := m.Type + " " + m.Match
		if l.patterns[key] == nil {
			l.patterns[key] = &group{*m, map[*profile]struct{}{}}
		}
		l.patterns[key].profiles[p] = struct{}{}
	}
}

// forget takes a connection out and returns what it was, nil if nothing.
func (l *subscribers) forget(c *worker.Conn) *subscriber {
	s := l.of[c]
	if s == nil {
		return nil
	}
	delete(l.of, c)
	if delete(s.members, c); len(s.members) == 0 {
		l.remove(s.profile)
	}
	return s
}

func (l *subscribers) remove(p *profile) {
	delete(l.profiles, p.key)
	for i := range p.sub.Matchers {
		m := &p.sub.Matchers[i]
		if m.IsExact() {
			if delete(l.exact[m.Match], p); len(l.exact[m.Match]) == 0 {
				delete(l.exact, m.Match)
			}
			continue
		}
		key := m.Type + " " + m.Match
		if delete(l.patterns[key].profiles, p); len(l.patterns[key].profiles) == 0 {
			delete(l.patterns, key)
		}
	}
}

// keep forgets all that are gone.
func (l *subscribers) keep(alive func(*worker.Conn) bool) {
	for c := range maps.Clone(l.of) {
		if !alive(c) {
			l.forget(c)
		}
	}
}

// audience returns the connections that an event is for.
func (l *subscribers) audience(e *wire.Event, topics []wire.Topic) (list []*worker.Conn) {
	seen := map[*profile]struct{}{}
	take := func(profiles map[*profile]struct{}) {
		for p := range profiles {
			if _, twice := seen[p]; twice || !p.judge(e, topics) {
				continue
			}
			seen[p] = struct{}{}
			for c := range p.members {
				list = append(list, c)
			}
		}
	}
	for i := range topics {
		take(l.exact[topics[i].Name])
	}
	for _, g := range l.patterns {
		for i := range topics {
			if g.matcher.Matches(&topics[i]) {
				take(g.profiles)
				break
			}
		}
	}
	return list
}
