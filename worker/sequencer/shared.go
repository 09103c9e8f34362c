package sequencer

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// sharedStore follows a log that gives messages their order, on all nodes, into
// the rings of this process, and publishes to its own node what comes. Recovery is
// the same then, and so is all else that workers see.
//
// After the service has been away its workers learn from the stands what they
// have missed, and their members join again where they were: nothing is
// published a second time.
type sharedStore struct {
	s       *Sequencer
	log     worker.SharedLog
	full    int           // messages of a channel that the log keeps at most
	epoch   history.Epoch // 0 = the log has not been reached yet
	former  history.Epoch // the one before, 0 = none in this process
	live    bool          // all that there was before has come
	why     string        // it takes nothing; "" = it does
	waiting []ahead
	held    []*worker.Publication // that came before the log was reached
	reached bool                  // the log, by this process, or nobody waits for it any more
	strays  strays
	// switched are the apps in which other channels have a history than in the process before.
	switched map[string]bool
	seen     uint64           // offset of the last entry, of the process before at first; see pass
	since    int64            // ms by the log's clock: the workers wait for what comes from then on
	stood    *stood           // where the sequences were then; nil = nothing has come since
	opened   time.Time        // by this machine's clock
	last     uint64           // that the log had when it began to be read
	here     func() time.Time // this machine's clock, for waits
	apart    time.Duration    // by which the log's clock is ahead of it
}

// stood is where the sequences were.
type stood struct {
	shards
	offset uint64 // of the log
}

// stands is where the log is that was live until now.
func (h *sharedStore) stands(at shards) *stood { return &stood{at, h.seen} }

// open opens the log. What another store has left is of before what the log has
// and will have, so nobody must go on with it later.
func (h *sharedStore) open(o options) (err error) {
	s := h.s
	if s.env.DataDir != "" {
		old := folder{dir: filepath.Join(s.env.DataDir, folderName)}
		if err := old.clear(); err != nil {
			return fmt.Errorf("the history of before cannot be removed: %w", err)
		}
		old.tidy(len(old.old))
	}
	h.here, h.opened = s.env.Now, s.env.Now()
	h.followClock()
	s.rings = s.newRings(h.draw)
	h.full = s.env.Channels.Most()
	if s.env.OpenLog == nil {
		return errors.New(`store = "jetstream": there is no bus that keeps messages`)
	}
	most := h.full
	if !h.keeps() {
		most = 0
	}
	h.log, err = s.env.OpenLog(worker.SharedLogOptions{
		Replicas: o.Replicas, Channel: most, MinAge: s.env.Channels.MinAge(),
		Begin: h.follows, Lost: h.lost, Entry: h.entry, Live: h.caughtUp, Away: h.setAway,
	})
	s.env.After(askWait, h.gaveUp)
	return err
}

// followClock has messages grow old by the log's clock, which stamps them and takes them
// away. What this machine's is set to meanwhile counts for nothing.
func (h *sharedStore) followClock() {
	env, start := *h.s.env, h.here()
	env.Now = func() time.Time { return start.Add(h.here().Sub(start) + h.apart) }
	h.s.env = &env
}

// draw is the epoch of all nodes.
func (h *sharedStore) draw(app string) history.Epoch {
	if h.epoch != 0 {
		return h.epoch
	}
	return drawn(app)
}

func (h *sharedStore) ready()                     {}
func (h *sharedStore) note(func(b []byte) []byte) {}
func (h *sharedStore) keeps() bool                { return h.s.env.Channels.Ordered() != nil }
func (h *sharedStore) begins() bool               { return !h.reached }
func (h *sharedStore) away() bool                 { return h.keeps() && (!h.live || h.why != "") }
func (h *sharedStore) refuses() bool {
	_, away := h.log.State()
	return h.keeps() && away != "" || h.away()
}
func (h *sharedStore) disk() diskCounts { return diskCounts{} }
func (h *sharedStore) leave()           { h.release(); h.log.Close(); h.end() }

// end leaves to the next process what no log knows.
func (h *sharedStore) end() {
	if h.live {
		h.tellNext(h.seen, 0)
	} else {
		h.tellNext(0, h.since)
	}
}

// farBehind is how many messages may be on their way from the log before that is worth
// a word.
const farBehind = 1000

func (h *sharedStore) behind() uint64 {
	n, _ := h.log.State()
	return n
}

func (h *sharedStore) says() string {
	switch n, away := h.log.State(); {
	case !h.keeps():
	case away != "":
		return "away, so nothing can be published into channels with history: " + away
	case !h.live:
		return fmt.Sprintf("being read, %d messages are to come; who comes back with a position waits", n)
	case n > farBehind:
		return fmt.Sprintf("%d messages behind what NATS has", n)
	}
	return ""
}

// follows begins with nothing, at a place of the log.
func (h *sharedStore) follows(at worker.LogStart) {
	s := h.s
	switch {
	case h.epoch == 0 || at.Epoch == h.epoch && !h.live:
	case at.Epoch == h.epoch:
		h.stood = h.stands(s.shards)
	default:
		h.stood = &stood{shards: shards{}}
	}
	if at.Epoch != h.epoch {
		h.former, h.epoch = h.epoch, at.Epoch
	}
	h.live, h.full, h.last = false, at.Channel, at.Last
	if !at.Now.IsZero() {
		h.apart += at.Now.Sub(s.env.Now())
	}
	if h.since == 0 {
		h.since = h.opened.Add(h.apart).UnixMilli()
	}
	s.rings = s.newRings(h.draw)
	s.shards = shards{}
	s.rings.Follow("", at.Last, at.Forgotten)
	for app := range s.env.Apps {
		s.rings.Follow(app, at.Last, at.Forgotten)
	}
	h.seen = h.doubts(at)
	for channel := range h.strays.by {
		h.doubt(channel)
	}
}

// lost takes in what is left, in silence; the stands tell the workers then what
// they have not had.
func (h *sharedStore) lost(at worker.LogStart) {
	s := h.s
	if h.live {
		h.stood = h.stands(s.shards.clone())
	}
	h.live, h.full, h.last = false, at.Channel, at.Last
	s.rings.Lost("", at.Last, at.Forgotten)
	s.lostUpTo("", at.Forgotten)
	for app := range s.env.Apps {
		s.rings.Lost(app, at.Last, at.Forgotten)
		s.lostUpTo(app, at.Forgotten)
	}
}

// lostUpTo has each channel of an app looked at again by who was there before an offset.
func (s *Sequencer) lostUpTo(app string, offset uint64) {
	shards := s.shardsOf(app)
	for i, last := range shards {
		shards[i] = max(last, offset)
	}
}

// setAway tells the workers whether messages can be numbered.
func (h *sharedStore) setAway(reason string) {
	s := h.s
	h.why = reason
	if reason == "" && h.live {
		h.release()
	}
	s.stand()
}

// caughtUp tells the workers where the log was and where it is. Who has become a member in
// a process that knew of no place has what came in between from its worker then, as a
// worker that knew one has its members ask for what it has missed.
func (h *sharedStore) caughtUp() {
	s := h.s
	h.live, h.seen = true, max(h.seen, h.last)
	if h.why == "" {
		h.release()
	}
	if h.stood != nil {
		s.standsAt(h.stood.shards, func(string) uint64 { return h.stood.offset })
		h.stood = nil
	}
	s.stand()
}

// entry keeps what comes from the log, and publishes what is new.
func (h *sharedStore) entry(e *worker.LogEntry) {
	s := h.s
	app, fresh := s.env.Apps.Of(e.Target), h.live || h.seen > 0 && e.Offset > h.seen
	if fresh {
		h.seen = e.Offset
	}
	if e.Purge {
		if e.What == 0 {
			s.rings.Purge(app, e.Target)
		} else {
			s.rings.PurgeOne(app, e.Target, e.What)
		}
		return
	}
	if !s.env.Channels.HasHistory(e.Target) {
		if fresh {
			h.pass(e) // another node's config has it
		}
		return
	}
	if !h.live && h.stood == nil && e.Time >= h.since {
		h.stood = &stood{s.shards.clone(), e.Offset - 1}
	}
	kind := history.Text
	if e.Binary {
		kind = history.Binary
	}
	last := &s.shardsOf(app)[worker.Shard(e.Scope, e.Target)]
	st := &worker.Stamp{Stamp: s.rings.Take(app, e.Target, e.Offset, kind, e.Data, e.Time, h.full), Before: *last}
	*last = max(*last, e.Offset)
	if fresh && !h.live && h.switched[app] {
		h.pass(e) // to who was there before, and has no position to ask from; with one he is told
	}
	if h.live {
		s.publish(worker.Publication{
			Kind: e.Kind, Scope: e.Scope, Target: e.Target, Binary: e.Binary, Except: e.Except, Data: e.Data, Reply: e.Reply, Stamp: st,
		})
	}
}

// pass publishes a message of a channel that has no history here. Nobody can ask for it
// later, so a process goes on where the one before has left.
func (h *sharedStore) pass(e *worker.LogEntry) {
	h.s.publish(worker.Publication{
		Kind: e.Kind, Scope: e.Scope, Target: e.Target, Binary: e.Binary, Except: e.Except, Data: e.Data, Reply: e.Reply,
	})
}

// maxHeld bounds what waits for the log to be reached, as the log does what waits there.
const maxHeld = 4096

// add gives a message to the log. A process that takes the place of another reaches it
// after a moment, for which messages wait.
func (h *sharedStore) add(p *worker.Publication) {
	if h.reached || len(h.held) == maxHeld {
		h.give(p)
		return
	}
	h.held = append(h.held, p)
}

// gaveUp no longer waits for the log to be reached.
func (h *sharedStore) gaveUp() {
	if !h.reached {
		h.release()
		h.s.stand()
	}
}

// release gives to the log what has waited, in its order.
func (h *sharedStore) release() {
	list := h.held
	h.held, h.reached = nil, true
	for _, p := range list {
		h.give(p)
	}
}

func (h *sharedStore) give(p *worker.Publication) {
	s := h.s
	if h.why != "" || h.epoch == 0 {
		s.answer(p, worker.Numbered{Failed: worker.ErrUnavailable.Error() + ": " + h.why})
		return
	}
	out := *p
	if p.Code == worker.CodeNumberOnly {
		out.Reply = ""
	}
	h.log.Append(&out, s.env.Channels.Of(p.Target).Age, func(at history.Position, repeated bool, err error) {
		n := worker.Numbered{Position: history.Position{Epoch: h.epoch, Offset: at.Offset}, Repeated: repeated}
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

// purge has messages taken away on all nodes.
func (h *sharedStore) purge(q *worker.HistoryPurge, answer func([]byte, error)) {
	s := h.s
	app := s.env.Apps.Of(q.Channel)
	n := s.rings.Holds(app, q.Channel, q.Offset, s.now())
	h.log.Purge(q.Channel, q.Offset, func(err error) {
		if err != nil {
			answer(nil, err)
			return
		}
		answer(json.Marshal(worker.HistoryPurged{Purged: n}))
	})
}
