package broker

import (
	"slices"
	"time"
)

// The stream keeps so many messages of a channel, and drops the oldest for the
// next one, whoever has read it. So no node may be far ahead of those who read:
// each has no more than a share of what is kept of a channel under way, counted
// until it has read them itself, and holds the next ones back, in their order.
//
// All of it is of the service's goroutine.
type lanes struct {
	limit int               // messages of a channel under way, at least one
	read  uint64            // the stream has been read up to here
	of    map[string]*lane  // channels with messages under way
	send  func(*logRequest) // to the stream
	after func(func())      // runs a function when nothing can be under way any more that was
}

// lane is a channel with messages under way.
type lane struct {
	asked   int      // that the stream has not answered
	unread  []uint64 // offsets that it has given and that were not read; they rise
	waiting []*logRequest
	watched bool   // see watch
	moved   uint64 // messages that came to their end; tells whether it stands still
}

const (
	keptTwice = 2   // times what a channel keeps the stream keeps
	keptMore  = 2   // and so many more, for channels that keep one
	keptShare = 4   // of what the stream keeps of a channel may be under way from a node: one of so many
	laneLimit = 256 // messages of a channel under way, at most
)

// kept is how many messages of a channel the stream keeps for those that recovery needs.
func kept(channel int) int64 { return int64(keptTwice*channel + keptMore) }

// keeps says how many messages of a channel the stream keeps.
func (a *lanes) keeps(n int64) {
	a.limit = int(min(max(n/keptShare, 1), laneLimit))
}

// enter sends a message, or has it wait for those of its channel before it.
func (a *lanes) enter(r *logRequest) {
	if r.channel == "" {
		a.send(r)
		return
	}
	l := a.of[r.channel]
	if l == nil {
		l = &lane{}
		a.of[r.channel] = l
	}
	l.waiting = append(l.waiting, r)
	a.next(r.channel, l)
	if len(l.waiting) > 0 && !l.watched {
		a.watch(r.channel, l)
	}
}

// next sends what may be sent.
func (a *lanes) next(channel string, l *lane) {
	for len(l.waiting) > 0 && l.asked+len(l.unread) < a.limit {
		r := l.waiting[0]
		l.waiting[0], l.waiting = nil, l.waiting[1:]
		l.asked++
		a.send(r)
	}
	if l.asked+len(l.unread) == 0 {
		delete(a.of, channel)
	}
}

// answered notes that the stream has taken a message there; 0 = it has not.
func (a *lanes) answered(r *logRequest, offset uint64) {
	l := a.of[r.channel]
	if l == nil {
		return
	}
	l.asked--
	if offset > a.read {
		i, _ := slices.BinarySearch(l.unread, offset)
		l.unread = slices.Insert(l.unread, i, offset)
		return
	}
	l.moved++
	a.next(r.channel, l)
}

// passed notes that the stream has been read up to a message of a channel.
func (a *lanes) passed(channel string, offset uint64) {
	a.read = offset
	if l := a.of[channel]; l != nil {
		l.passed(offset)
		a.next(channel, l)
	}
}

func (l *lane) passed(offset uint64) {
	n, _ := slices.BinarySearch(l.unread, offset+1)
	l.unread = l.unread[n:]
	l.moved += uint64(n)
}

// skipped notes that all up to there was read, or never will be.
func (a *lanes) skipped(offset uint64) {
	a.read = offset
	for channel, l := range a.of {
		l.passed(offset)
		a.next(channel, l)
	}
}

// watch opens a lane that has stood still: what it waits for was answered, and
// went from the stream before it was read.
func (a *lanes) watch(channel string, l *lane) {
	moved := l.moved
	l.watched = true
	a.after(func() {
		if l.moved == moved {
			l.unread = nil
			a.next(channel, l)
		}
		if l.watched = len(l.waiting) > 0; l.watched {
			a.watch(channel, l)
		}
	})
}

// refuse takes out all that wait.
func (a *lanes) refuse() (list []*logRequest) {
	for channel, l := range a.of {
		list = append(list, l.waiting...)
		l.waiting = nil
		a.next(channel, l)
	}
	return list
}

// laneWait is after which nothing can be under way any more that was.
const laneWait = 2 * ackTimeout

func afterLaneWait(post func(func())) func(func()) {
	return func(fn func()) { time.AfterFunc(laneWait, func() { post(fn) }) }
}
