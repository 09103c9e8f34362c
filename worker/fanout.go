package worker

import (
	"sync"

	"github.com/pushd/pushd/worker/delivered"
)

// fanout is the queue of publications that have arrived and the state of the
// one that is being delivered. A big one is delivered in chunks, between which
// other work gets its turn; those behind it wait, so that order is kept.
//
// All that a connection gets by the bus goes through here, in one order for the
// process. Only what mu guards is touched by others, the broker client's goroutine;
// it waits there while too much is queued, so that what is too much stays in that
// client's bounded queue, where a loss is counted.
//
// A publication counts as delivered (seen, journal) when its last member has had
// its turn, and no connection moves or arrives before: export and import finish the
// one under way first. So where a process stands can be said in one number for each
// source, and holds for all of its connections.
type fanout struct {
	queue   []Publication
	current *delivery
	begun   uint64  // deliveries
	scratch []byte  // for encoding
	members []*Conn // the snapshot of current, kept for reuse

	seen    delivered.Heard   // what has been delivered here
	journal delivered.Journal // of it, during a hand-over

	mu      sync.Mutex
	arrived []Publication // behind queue
	room    *sync.Cond
	bytes   int // of what is in arrived, queue and current; other goroutines wait for it
	shut    bool
}

const (
	chunk      = 512     // connections that are written to before others get a turn
	maxInbound = 8 << 20 // bytes of publications that wait for the loop
)

// Deliver implements Inbox; it runs on the broker client's goroutine and waits
// while too much is queued.
func (l *loop) Deliver(batch []Publication) {
	size := 0
	for i := range batch {
		size += batch[i].Weight()
	}
	f := &l.fan
	f.mu.Lock()
	for f.bytes > maxInbound && !f.shut {
		f.room.Wait()
	}
	f.bytes += size
	f.arrived = append(f.arrived, batch...)
	f.mu.Unlock()
	l.reactor.Wake()
}

// Gap implements Inbox. It comes in the order of what is delivered, but for the loop
// it is news of its own: who is to join again does so from where it stands.
func (l *loop) Gap(publisher uint64, shard uint8, missing uint64) {
	l.post(func() {
		l.counts.gaps += missing
		l.lostIn(shard)
		if l.counts.gapLog.allow(l.now) {
			l.log.Warn("publications were lost on the way to this process", "missing", missing, "shard", shard, "publisher", publisher)
		}
	})
}

// Query implements Inbox. Whether something has come here the client's queue knows, not
// the loop, which may be busy.
func (l *loop) Query(q BusQuery) {
	if q.What == EverywhereQuestion {
		l.broker.Answer(q.Reply, Answer{Worker: l.identity})
		return
	}
	l.post(func() { l.asked(q) })
}

// step delivers up to chunk messages and asks for another turn if there is more.
// What the program's own listeners do with a publication comes before its members,
// and counts as so many.
func (f *fanout) step(l *loop) {
	for budget := chunk; budget > 0; {
		if f.current == nil {
			if len(f.queue) == 0 {
				f.queue = f.take()
			}
			if len(f.queue) == 0 {
				return
			}
			reply := l.follow(&f.queue[0])
			budget -= l.hear(&f.queue[0])
			f.current = l.begins(f.queue[0])
			f.current.reply = reply
			f.current.tell(l)
			f.queue[0] = Publication{}
			f.queue = f.queue[1:]
		}
		budget -= f.current.run(l, budget) + 1
		if f.current.next == len(f.current.members) {
			f.finish(l)
		}
	}
	l.reactor.Wake()
}

// take returns what has arrived since the last call.
func (f *fanout) take() (arrived []Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	arrived, f.arrived = f.arrived, nil
	return arrived
}

// complete delivers the rest of the publication under way, so that no
// connection moves in the middle of one.
func (f *fanout) complete(l *loop) {
	if f.current != nil {
		f.current.run(l, len(f.current.members))
		f.finish(l)
	}
}

// finish answers whoever waits for the count, and gives back the room. The position
// is noted before the journal, both before anybody can begin a hand-over: it is one
// turn.
func (f *fanout) finish(l *loop) {
	d := f.current
	f.current = nil
	switch {
	case d.pub.Kind == kindSync: // nobody gets it, so there is nothing to remember
		l.synced(d.pub.Target)
	case d.pub.Seq > 0:
		f.seen.Note(&d.pub, l.now)
		f.journal.Note(d.pub)
	}
	if d.pub.Reply != "" && !d.told {
		l.answerFor(d)
	}
	clear(f.members)
	f.mu.Lock()
	f.bytes -= d.pub.Weight()
	f.room.Signal()
	f.mu.Unlock()
}
