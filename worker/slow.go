package worker

import "github.com/pushd/pushd/worker/channel"

// mark says of a frame whose channel it is and what may be done with it. The
// zero mark leaves that to the group.
type mark struct {
	channel string
	slow    Slow
	kept    bool // of a history from which nothing may be missing in silence
}

// loose reports whether the frame may be forgotten for another one's sake.
func (m mark) loose() bool { return m.slow.Loose() }

// markOf returns the mark of a publication: the first rule of the group that
// matches, else what the config says of the channel.
// KindMessages are what a service says of the channel, as who has come and
// gone: no news about what is said in it, nor out of date because of that.
func (w *Worker) markOf(p *Publication) mark {
	if p.Kind == KindRecovery && w.keeps(p.Target) {
		return mark{p.Target, SlowClose, true}
	}
	if p.Scope != ScopeChannel || p.Kind == KindMessages {
		return mark{}
	}
	slow, rule := w.SlowOf(p.Target)
	if rule < 0 {
		slow = w.ChannelRules.Of(p.Target).Slow
	}
	m := mark{channel: p.Target, slow: slow}
	if p.Stamp != nil && w.keeps(p.Target) {
		m.slow, m.kept = SlowClose, true
	}
	if m.slow == "" {
		return mark{}
	}
	return m
}

// keeps reports whether a client must have all messages of a channel, or know
// that it has not. One that reads too slowly is closed, and comes back with its
// position.
func (w *Worker) keeps(name string) bool {
	p := w.ChannelRules.Of(name)
	return p.History > 0 && p.Mode != channel.Latest
}

// room makes room for n more bytes of that mark, by the policies of the
// channels and the group. A message that is alone in an empty queue always has
// room.
func (l *loop) room(c *Conn, n int, m mark) error {
	if m.slow == SlowLatest {
		l.supersede(c, m.channel)
	}
	l.uncorkFor(c, n)
	if l.fits(c, n) {
		return nil
	}
	limit := l.w.Limits.MaxQueue
	if m.loose() && c.out.firm()+n > limit {
		l.dropped(c, "dropped")
		return ErrQueueFull
	}
	if l.dropLoose(c, limit-n); l.fits(c, n) {
		return nil
	}
	slow := m.slow
	if slow == "" {
		slow = l.w.Slow
	}
	if c.transport.whole {
		slow = SlowClose
	}
	switch slow {
	case SlowDropOldest:
		l.dropOldest(c, limit-n)
	case SlowLatest:
		l.dropOldest(c, 0)
	default:
		l.failSend("slow")
		l.closeConn(c, 1013, "reads too slowly", ErrSlow)
		return ErrSlow
	}
	if !c.open() {
		return ErrClosed // by OnError
	}
	return nil
}

// uncorkFor sends what is corked for c if it would not fit together with n more
// bytes: what the cork holds has not been asked room for yet.
func (l *loop) uncorkFor(c *Conn, n int) {
	limit := l.w.Limits.MaxQueue
	if corked := len(l.cork.buf); l.cork.c == c && corked > 0 && limit > 0 && c.out.len()+corked+n > limit {
		l.uncork()
		l.holdFor(c)
	}
}

// fits reports whether n more bytes do not exceed max_queue.
func (l *loop) fits(c *Conn, n int) bool {
	limit := l.w.Limits.MaxQueue
	return limit == 0 || c.out == nil || c.out.bytes+n <= limit || !c.sock.Valid()
}

// dropOldest forgets frames, whoever's they are, until at most keep bytes wait.
func (l *loop) dropOldest(c *Conn, keep int) {
	q, kept := c.out, false
	n := q.drop(l, c, "dropped", func(i int) bool {
		over := q.bytes > keep
		kept = kept || over && q.mark(i).kept
		return over && !q.mark(i).kept
	})
	switch {
	case kept:
		l.failSend("slow")
		l.closeConn(c, 1013, "reads too slowly", ErrSlow)
	case n > 0:
		c.route.failed(c, ErrQueueFull)
	}
}

// dropLoose forgets the oldest frames of channels that allow it, until at most
// keep bytes wait.
func (l *loop) dropLoose(c *Conn, keep int) {
	q := c.out
	if len(q.marks) > 0 {
		q.drop(l, c, "dropped", func(i int) bool { return q.bytes > keep && q.mark(i).loose() })
	}
}

// supersede forgets what waits of a channel.
func (l *loop) supersede(c *Conn, channel string) {
	if q := c.out; q != nil && len(q.marks) > 0 {
		q.drop(l, c, "superseded", func(i int) bool {
			m := q.mark(i)
			return m.slow == SlowLatest && m.channel == channel
		})
	}
}

// drop forgets the whole frames that which names, from the oldest on; not the
// one that is partly sent. It returns how many messages that were.
func (q *queue) drop(l *loop, c *Conn, cause string, which func(i int) bool) (n int) {
	kept := 0
	for i, f := range q.frames {
		if (i > 0 || q.off == 0) && which(i) {
			q.bytes -= len(f)
			l.counts.queueBytes -= int64(len(f))
			if !q.mark(i).control() {
				l.dropped(c, cause)
				n++
			}
			continue
		}
		q.frames[kept] = f
		if len(q.marks) > 0 {
			q.marks[kept] = q.marks[i]
		}
		kept++
	}
	clear(q.frames[kept:])
	q.frames = q.frames[:kept]
	if len(q.marks) > 0 {
		clear(q.marks[kept:])
		q.marks = q.marks[:kept]
	}
	return n
}

// dropped counts a message that the client will not get.
func (l *loop) dropped(c *Conn, cause string) {
	l.failSend(cause)
	c.extra().dropped++
}

// mark returns the mark of frame i.
func (q *queue) mark(i int) mark {
	if i < len(q.marks) {
		return q.marks[i]
	}
	return mark{}
}

// firm returns how many bytes of the queue may not be forgotten for another
// message's sake.
func (q *queue) firm() int {
	n := q.bytes
	for i := range q.marks {
		if q.marks[i].loose() && (i > 0 || q.off == 0) {
			n -= len(q.frames[i])
		}
	}
	return n
}

// push appends a frame. Marks are kept from the first one that is not zero.
func (q *queue) push(frame []byte, m mark) {
	if m != (mark{}) && len(q.marks) == 0 {
		q.marks = make([]mark, len(q.frames))
	}
	q.frames = append(q.frames, frame)
	if len(q.marks) > 0 || m != (mark{}) {
		q.marks = append(q.marks, m)
	}
}

// pop forgets the first frame.
func (q *queue) pop() {
	q.frames[0], q.off = nil, 0
	q.frames = q.frames[1:]
	if len(q.marks) > 0 {
		q.marks = q.marks[1:]
	}
}
