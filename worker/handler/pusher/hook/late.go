package hook

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Where several nodes tell an endpoint, what has waited on one of them comes behind
// what another has told meanwhile of the same user or channel, and the endpoint takes
// for true what is not so any more. The queue says of what it was late with, and who
// opened it knows what is so.

// Late is told what an endpoint has been told late, of each user and channel the last,
// and when. It is called on a goroutine of the queue and must not block.
type Late func(app string, events []Event, at time.Time)

// lateAfter is how long an event has waited that was late.
const lateAfter = 250 * time.Millisecond

// finish takes the outcome of a POST.
func (q *Queue) finish(r result) {
	e, now := r.endpoint, time.Now()
	late := e.late(now)
	e.finish(r.err, now)
	if q.late == nil || r.err != nil || len(late) == 0 {
		return
	}
	q.take() // what is newer may have come just now
	for i := range e.queue {
		if s, ok := e.queue[i].event.state(); ok {
			delete(late, s) // the endpoint will be told
		}
	}
	if len(late) > 0 {
		q.late(e.app.ID, slices.Collect(maps.Values(late)), now)
	}
}

// late returns what the POST that was under way says last of each subject, if it was
// late. An endpoint that does not want the opposite cannot be put right.
func (e *endpoint) late(now time.Time) map[subject]Event {
	if age := now.Sub(e.queue[0].at); age >= 0 && age < lateAfter { // below 0: of a journal, and the clock was set back
		return nil
	}
	last := map[subject]Event{}
	for i := range e.queue[:e.sending] {
		ev := e.queue[i].event
		if s, ok := ev.state(); ok && e.hook.Wants(cmp.Or(undoes[ev.Name], undoneBy(ev.Name), ev.Name)) {
			last[s] = ev
		}
	}
	return last
}

// state returns the subject of an event that says how something is.
func (e *Event) state() (subject, bool) {
	switch e.Name {
	case "member_added", "member_removed":
		return subject{"member", e.Channel, e.UserID}, true
	case "channel_occupied", "channel_vacated":
		return subject{"channel", e.Channel, ""}, true
	case "subscription_count":
		return subject{e.Name, e.Channel, ""}, true
	}
	return subject{}, false
}
