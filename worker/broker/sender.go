package broker

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/seldom"
)

// settleAfter is how long after a publication its position is announced, so
// that receivers notice when the last one of a burst was lost. As the
// announcement may go the same way, it is repeated after twice the time, and
// twice that, at last every settleMax, for as long as nothing new is published.
const (
	settleAfter = time.Second
	settleMax   = time.Minute
)

// sender is the one goroutine that calls nats.go's Publish. It may block there;
// the loop, which only fills the queue, never does.
type sender struct {
	c         *Client
	seq       [worker.Shards]uint64 // last number used
	unsettled [worker.Shards]bool   // numbers used since the last announcement
	unheard   bool                  // somebody may not know all positions
	news      bool                  // numbers used since quiet was set
	quiet     time.Duration         // from the last announcement, or the first number after it, to the next
	buf       []byte                // of the envelope; nats.go copies it
	failures  seldom.Limit

	epoch time.Time
	since atomic.Int64 // the call of nats.go under way began, ns after epoch; 0 = none

	turn   sync.Mutex  // held while nats.go is called, and during a pause
	paused atomic.Bool // by Pause, which holds turn
	limit  *time.Timer // of the pause

	finishing chan struct{} // closed: leave once the queue is empty
	abandoned chan struct{} // closed: give up what is queued and leave
	done      chan struct{} // closed by run
	once      sync.Once
}

func newSender(c *Client) *sender {
	return &sender{
		c:         c,
		epoch:     time.Now(),
		finishing: make(chan struct{}),
		abandoned: make(chan struct{}),
		done:      make(chan struct{}),
	}
}

func (s *sender) run() {
	defer close(s.done)
	s.greet()
	settle := time.NewTimer(settleAfter)
	defer settle.Stop()
	finishing := s.finishing
	for {
		batch := s.c.queue.take()
		for i := range batch {
			s.deliver(&batch[i])
			s.c.queue.done(&batch[i])
		}
		if s.news && s.quiet != settleAfter {
			s.quiet = settleAfter
			settle.Reset(s.quiet)
		}
		s.news = false
		if len(batch) > 0 {
			continue
		}
		if finishing == nil { // asked to finish, and the queue is empty
			s.settle()
			return
		}
		select {
		case <-s.c.queue.wake:
		case <-s.c.link.kick:
			s.unsettleAll()
			s.quiet = settleAfter // the receivers reconnect meanwhile
			settle.Reset(s.quiet)
		case <-settle.C:
			s.unheard = true // repeats what was told before
			s.settle()
			s.quiet = min(2*s.quiet, settleMax)
			settle.Reset(s.quiet)
		case <-finishing:
			finishing = nil
		}
	}
}

// deliver hands it to nats.go, or gives it up when the broker has been away for
// awayLimit since it was queued.
func (s *sender) deliver(it *item) {
	for {
		if s.c.link.up() {
			err := s.publish(it)
			if err == nil {
				return
			}
			if !isAway(err) {
				s.drop(it, err)
				return
			}
		}
		if !s.wait(awayLimit - time.Since(it.queued)) {
			s.drop(it, worker.ErrBrokerAway)
			return
		}
	}
}

// wait pauses until the link may be up again; false means time is over. nats.go
// knows of a broken link earlier than its callbacks, hence the upper bound.
func (s *sender) wait(left time.Duration) bool {
	if left <= 0 {
		return false
	}
	t := time.NewTimer(min(left, 10*time.Millisecond))
	defer t.Stop()
	select {
	case <-s.c.link.kick:
		s.unsettleAll()
	case <-t.C:
	case <-s.abandoned:
		return false
	}
	return true
}

func (s *sender) drop(it *item, err error) {
	if it.mark != nil {
		it.mark(err)
		return
	}
	s.c.counts.expired.Add(1)
	if s.failures.Allow(time.Now()) {
		s.c.o.Logger.Warn("publication given up", "error", err, "given_up", s.c.counts.expired.Load())
	}
}

// publish numbers it; the number counts as used once nats.go has taken it.
func (s *sender) publish(it *item) error {
	if it.mark != nil {
		s.turn.Lock() // not into a pause
		it.mark(nil)
		s.turn.Unlock()
		return nil
	}
	if it.subject != "" {
		return s.send(it.subject, it.reply, it.raw)
	}
	p := &it.pub
	p.Publisher = s.c.id
	p.Shard = worker.Shard(p.Scope, p.Target)
	p.Seq = s.seq[p.Shard] + 1
	if p.Unkept && p.Kind == worker.KindMessage && s.c.o.SharedHistory {
		p.Code = worker.CodeUnkept
	}
	s.buf = appendEnvelope(s.buf[:0], p)
	subject := &s.c.subjects.shard[p.Shard]
	if p.Local {
		subject = &s.c.subjects.local[p.Shard]
	}
	if err := s.send(*subject, p.Reply, s.buf); err != nil {
		return err
	}
	s.seq[p.Shard]++
	s.unsettled[p.Shard], s.news = true, true
	s.c.counts.published.Add(1)
	if cap(s.buf) > 64<<10 { // a rare giant does not stay
		s.buf = nil
	}
	return nil
}

// send may block: for as long as the broker does not read, up to writeTimeout.
func (s *sender) send(subject, reply string, data []byte) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.since.Store(int64(time.Since(s.epoch)))
	defer s.since.Store(0)
	return s.c.link.nc.PublishRequest(subject, reply, data)
}

// stuck reports whether the broker has not been reading for awayLimit.
func (s *sender) stuck() bool {
	since := s.since.Load()
	return since != 0 && time.Since(s.epoch)-time.Duration(since) > awayLimit
}

// greet tells all that are there that this publisher begins. The greeting takes
// the first number of shard 0, since positions count from 1.
func (s *sender) greet() {
	s.seq[0]++
	s.unheard, s.quiet = true, settleAfter
	s.settle()
}

// unsettleAll makes the next settle announce every shard: the old connection
// may have lost what it had buffered, or somebody new listens.
func (s *sender) unsettleAll() {
	s.unheard = true
	for shard, seq := range s.seq {
		s.unsettled[shard] = seq > 0
	}
}

// settle announces the positions that have moved and, if somebody may not know
// them all, all.
func (s *sender) settle() {
	for shard, is := range s.unsettled {
		if !is || !s.c.link.up() {
			continue
		}
		if s.announce(shard, "") != nil {
			return // announced after the reconnect
		}
		s.unsettled[shard] = false
	}
	if s.unheard && s.c.link.up() && s.announce(0, wholeTarget) == nil {
		s.unheard = false
	}
}

// announce sends the position of a shard, or of all.
func (s *sender) announce(shard int, target string) error {
	p := worker.Publication{Publisher: s.c.id, Shard: uint8(shard), Seq: s.seq[shard], Kind: kindPosition, Target: target}
	if target == wholeTarget {
		p.Data = appendPositions(nil, &s.seq)
	}
	p.Data = appendAge(p.Data, time.Since(s.epoch))
	return s.send(s.c.subjects.shard[shard], "", appendEnvelope(s.buf[:0], &p))
}

// finish waits until everything queued is sent or given up.
func (s *sender) finish() {
	close(s.finishing)
	<-s.done
}

// abandon makes finish return soon.
func (s *sender) abandon() { s.once.Do(func() { close(s.abandoned) }) }

// isAway tells a connection that is down from a publication that is refused.
func isAway(err error) bool {
	return !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, nats.ErrBadSubject) &&
		!errors.Is(err, nats.ErrConnectionClosed)
}
