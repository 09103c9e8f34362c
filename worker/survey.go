package worker

import (
	"encoding/json"
	"errors"

	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/survey"
)

// ErrTooMany: a question over all processes has more names than MaxSurvey; it
// was not put.
var ErrTooMany = errors.New("a question takes at most 1,000 names: ask several times")

// CountAll counts the members of channel over all worker processes of all groups
// and nodes. It does not wait: fn is called once on the loop, at the latest a
// quarter of a second later, with the members in the processes that have answered.
// complete says that every process that lives has; without it n is too small.
// While a reload moves connections each counts once, unless they come from a
// program of an earlier version. To be called on the loop or any other goroutine. Errors: ErrBrokerBusy,
// ErrBrokerAway, ErrNoServices, ErrTooLarge for a name of several 100 KiB; then fn is not
// called, nor when this process is replaced before the answers are there.
func (w *Worker) CountAll(channel string, fn func(n int, complete bool)) error {
	total := 0
	return surveyAll(w.loop, "count", []byte(channel),
		func(n int) { total += n },
		func(complete bool) { fn(total, complete) })
}

// OnlineAll tells which users are online, and with how many connections in all
// worker processes together, by one question for up to 1,000 of them. One who is
// not in the map has no connection in a process that has answered: offline, if
// complete. Everything else is as in CountAll. Errors: as there, and ErrTooMany;
// ErrTooLarge when the ids together have several 100 KiB.
func (w *Worker) OnlineAll(uids []string, fn func(online map[string]int, complete bool)) error {
	if len(uids) > MaxSurvey {
		return ErrTooMany
	}
	q := survey.NewOnlineQuery(uids)
	online := make(map[string]int)
	return surveyAll(w.loop, "online", q,
		func(counts []int) { q.Add(online, counts) },
		func(complete bool) { fn(online, complete) })
}

// surveyAll puts a built-in question to all processes. take is called for each
// answer, then done once on the loop.
func surveyAll[A any](l *loop, what string, args any, take func(A), done func(complete bool)) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	return l.broker.Gather(BusQuery{What: what, Args: raw}, askTimeout, func(answers []Answer, complete bool) {
		l.later(func() {
			for i := range answers {
				var a A
				if answers[i].Error != "" || json.Unmarshal(answers[i].Data, &a) != nil {
					complete = false // of a version that does not know the question
					continue
				}
				take(a)
			}
			done(complete)
		})
	})
}

// countMembers answers "count".
func (l *loop) countMembers(channel []byte) int { return l.size(hub.Channel, string(channel)) }

// countOnline answers "online".
func (l *loop) countOnline(q survey.OnlineQuery) []int {
	counts := make([]int, len(q))
	for i, uid := range q {
		counts[i] = l.size(hub.UID, string(uid))
	}
	return counts
}

// size returns how many connections of this process have the name.
func (l *loop) size(k hub.Kind, name string) int {
	if g := l.hub.Group(k, name); g != nil {
		return len(g.Members())
	}
	return 0
}
