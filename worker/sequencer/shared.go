package sequencer

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// With the store "jetstream" the order of messages is not this service's: all
// nodes share a log, and each node's service follows it into the same rings, and
// publishes to its own node what comes. Recovery is the same then, and so is all
// else that workers see.
//
// After the service has been away its workers learn from the stands what they
// have missed, and their members join again where they were: nothing is
// published a second time.
type shared struct {
	log   worker.SharedLog
	full  int           // messages of a channel that the log keeps at most
	epoch history.Epoch // 0 = the log has not been reached yet
	live  bool          // all that there was before has come
	away  string        // why it takes nothing; "" = it does
	ahead []ahead
}

// ahead is who has come with a position that has not been reached here: from
// another node, most likely.
type ahead struct {
	want  history.Want
	until time.Time
}

// aheadWait is how long they are kept waiting until they are told that there is
// no such position.
const aheadWait = 2 * time.Second

// askWait is that of who asks for messages: his answer has to come in the time
// that he waits for it.
const askWait = 1500 * time.Millisecond

// maxAhead bounds them. Those beyond ask again after a while, as all do who get
// no answer.
const maxAhead = 64 << 10

// follow opens the log.
func (s *Sequencer) follow(o options, fresh func() *history.Store) (err error) {
	s.store, s.fresh = fresh(), fresh
	s.keep.off = true // the log keeps it
	s.shared.full = s.env.Channels.Most()
	s.begun = true
	if s.env.OpenLog == nil {
		return errors.New(`store = "jetstream": there is no bus that keeps messages`)
	}
	s.shared.log, err = s.env.OpenLog(worker.SharedLogOptions{
		Replicas: o.Replicas, Channel: s.shared.full, MinAge: s.env.Channels.MinAge(),
		Begin: s.follows, Entry: s.entry, Live: s.caughtUp, Away: s.setAway,
	})
	return err
}

// follows begins with nothing, at a place of the log.
func (s *Sequencer) follows(at worker.LogStart) {
	s.shared.epoch, s.shared.live, s.shared.full = at.Epoch, false, at.Channel
	s.store = s.fresh()
	s.shards = map[string]*[worker.Shards]uint64{}
	s.store.Follow("", at.Last, at.Forgotten)
	for app := range s.env.Apps {
		s.store.Follow(app, at.Last, at.Forgotten)
	}
}

// setAway tells the workers whether messages can be numbered.
func (s *Sequencer) setAway(reason string) {
	s.shared.away = reason
	s.stand()
}

// caughtUp tells the workers where the log is.
func (s *Sequencer) caughtUp() {
	s.shared.live = true
	s.stand()
}

// entry keeps what comes from the log, and publishes what is new.
func (s *Sequencer) entry(e *worker.LogEntry) {
	app := s.env.Apps.Of(e.Target)
	if e.Purge {
		if e.What == 0 {
			s.store.Purge(app, e.Target)
		} else {
			s.store.PurgeOne(app, e.Target, e.What)
		}
		return
	}
	if !s.env.Channels.HasHistory(e.Target) {
		return // another node's config has it
	}
	kind := history.Text
	if e.Binary {
		kind = history.Binary
	}
	last := &s.shardsOf(app)[worker.Shard(e.Scope, e.Target)]
	st := &worker.Stamp{Stamp: s.store.Take(app, e.Target, e.Offset, kind, e.Data, e.Time, s.shared.full), Before: *last}
	*last = max(*last, e.Offset)
	if s.shared.live {
		s.publish(worker.Publication{
			Kind: e.Kind, Scope: e.Scope, Target: e.Target, Binary: e.Binary, Except: e.Except, Data: e.Data, Reply: e.Reply, Stamp: st,
		})
	}
}

// add gives a message to the log.
func (s *Sequencer) add(p *worker.Publication) {
	if s.shared.away != "" || s.shared.epoch == 0 {
		s.answer(p, worker.Numbered{Failed: worker.ErrUnavailable.Error() + ": " + s.shared.away})
		return
	}
	out := *p
	if p.Code == worker.CodeNumberOnly {
		out.Reply = ""
	}
	s.shared.log.Append(&out, s.env.Channels.Of(p.Target).Age, func(at history.Position, repeated bool, err error) {
		n := worker.Numbered{Position: history.Position{Epoch: s.shared.epoch, Offset: at.Offset}, Repeated: repeated}
		switch {
		case errors.Is(err, worker.ErrOutdated):
			s.counts.outdated++
			n = worker.Numbered{Outdated: true}
		case err != nil:
			n = worker.Numbered{Failed: err.Error()}
		case repeated:
			s.counts.repeated++
		}
		s.answer(p, n)
	})
}

// sharedPurge has messages taken away on all nodes.
func (s *Sequencer) sharedPurge(q *worker.HistoryPurge, answer func([]byte, error)) {
	app := s.env.Apps.Of(q.Channel)
	n := s.store.Holds(app, q.Channel, q.Offset, s.now())
	s.shared.log.Purge(q.Channel, q.Offset, func(err error) {
		if err != nil {
			answer(nil, err)
			return
		}
		answer(json.Marshal(worker.HistoryPurged{Purged: n}))
	})
}

// early keeps back who comes before his position has been reached here.
func (s *Sequencer) early(w history.Want) bool {
	if s.shared.log == nil || s.shared.live && !s.ahead(w.Channel, w.After) {
		return false
	}
	if len(s.shared.ahead) == maxAhead {
		return true
	}
	s.shared.ahead = append(s.shared.ahead, ahead{w, s.env.Now().Add(aheadWait)})
	if len(s.shared.ahead) == 1 {
		s.env.After(joinPause, s.lookAhead)
	}
	return true
}

// ahead reports whether a position has not been reached here.
func (s *Sequencer) ahead(channel string, p history.Position) bool {
	now := s.store.Now(s.env.Apps.Of(channel))
	return p.Epoch == now.Epoch && p.Offset > now.Offset
}

// lookAhead lets those join whose position has been reached, or who have waited
// long enough. Whoever comes while the log is read from its beginning waits.
func (s *Sequencer) lookAhead() {
	list, now := s.shared.ahead, s.env.Now()
	s.shared.ahead = nil
	for _, a := range list {
		if !s.shared.live || s.ahead(a.want.Channel, a.want.After) && now.Before(a.until) {
			s.shared.ahead = append(s.shared.ahead, a)
		} else {
			s.joins.add(s, a.want)
		}
	}
	if len(s.shared.ahead) > 0 {
		s.env.After(joinPause, s.lookAhead)
	}
}

// pageOnce reads what is kept of a channel once the position has been reached.
func (s *Sequencer) pageOnce(q *worker.HistoryQuery, until time.Time, answer func([]byte, error)) {
	if (!s.shared.live || s.ahead(q.Channel, q.After)) && s.env.Now().Before(until) {
		s.env.After(joinPause, func() { s.pageOnce(q, until, answer) })
		return
	}
	if !s.shared.live {
		answer(nil, errors.New(worker.ErrUnavailable.Error()+": "+s.shared.away))
		return
	}
	answer(json.Marshal(s.page(q)))
}
