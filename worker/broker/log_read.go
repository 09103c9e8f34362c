package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// follow is the goroutine that reads.
func (l *sharedLog) follow() {
	defer close(l.done)
	for pause := 50 * time.Millisecond; l.ctx.Err() == nil; {
		began := time.Now()
		err := l.read()
		if l.ctx.Err() != nil {
			return
		}
		if time.Since(began) > 5*time.Second {
			pause = 50 * time.Millisecond
		}
		wait, refused := pause, l.refusal()
		switch {
		case errors.Is(err, errSkipped), errors.Is(err, errBehind), errors.Is(err, errRenewed), errors.Is(err, jetstream.ErrMsgIteratorClosed):
			l.log.Info("the shared history is read again", "error", err, "next", l.at.last+1)
		case refused != nil:
			l.setAway(byReading, refused.Error())
			wait = logRequire // each try is refused, and logged
		default:
			l.setAway(byReading, err.Error())
		}
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
		}
		pause = min(2*pause, logRetry)
	}
}

// read reads until something is wrong, and says what.
func (l *sharedLog) read() error {
	ctx, cancel := l.asks()
	defer cancel()
	s, err := l.stream(ctx)
	if err == nil {
		err = l.resume(ctx, s)
	}
	if err != nil {
		return err
	}
	c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.at.last + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: logIdle,
	})
	if err != nil {
		return err
	}
	defer l.forget(s, c)
	it, err := c.Messages(jetstream.PullMaxMessages(1024), jetstream.PullHeartbeat(logBeat), jetstream.PullExpiry(4*logBeat))
	if err != nil {
		return err
	}
	defer it.Stop()
	l.reads(it.Stop)
	defer l.reads(nil)
	stop := context.AfterFunc(l.ctx, it.Stop)
	defer stop()
	l.at.moved = false
	l.behind.Store(c.CachedInfo().NumPending)
	if c.CachedInfo().NumPending == 0 {
		if last := s.CachedInfo().State.LastSeq; last > max(l.at.last, l.at.clear) { // all that was not read has gone
			if err := l.gone(s, last+1); err != nil {
				return err
			}
			if !l.at.loading {
				if err := l.lost(s); err != nil {
					return err
				}
			}
		}
		l.live()
	}
	l.setAway(byReading, "")
	for n := uint64(1); ; n++ {
		m, err := l.await(s, it)
		if err != nil {
			return err
		}
		if err := l.next(s, m, n); err != nil {
			return err
		}
	}
}

// await waits for the next message. When nothing comes any more of what is to be loaded,
// it has gone.
func (l *sharedLog) await(s jetstream.Stream, it jetstream.MessagesContext) (jetstream.Msg, error) {
	if l.at.loading {
		m, err := it.Next(jetstream.NextMaxWait(4 * logBeat)) // of a server that is silent there is an error before
		if !errors.Is(err, nats.ErrTimeout) {
			return m, err
		}
		if err := l.end(s); err != nil {
			return nil, err
		}
	}
	return it.Next()
}

// forget removes the consumer; one that is not removed goes after logIdle.
func (l *sharedLog) forget(s jetstream.Stream, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.DeleteConsumer(ctx, c.CachedInfo().Name)
}

// resume compares the stream with what was read of it, and begins anew when
// that is not there any more.
func (l *sharedLog) resume(ctx context.Context, s jetstream.Stream) error {
	at, err := l.epoch(ctx, s, 0)
	if err != nil {
		return err
	}
	depth, err := l.depth(ctx, s)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	if l.at.epoch == at.epoch && l.at.drawn == at.drawn {
		same, err := l.same(ctx, s, info.State.LastSeq)
		cut := depth != l.at.depth || info.Config.MaxMsgsPerSubject < int64(l.o.Channel) // perhaps of what was not read
		if err != nil || same && !cut {
			return err
		}
		if !same {
			l.log.Error("the shared history begins anew, with a new epoch", "error", errLost, "read", l.at.last, "newest", info.State.LastSeq)
			if at, err = l.epoch(ctx, s, at.drawn); err != nil {
				return err
			}
			if info, err = s.Info(ctx); err != nil {
				return err
			}
		}
	}
	at.depth, at.target = depth, info.State.LastSeq
	return l.begin(ctx, s, at, info)
}

// depth returns the sequence of the message that says how many messages the
// stream keeps of a subject. What is older may have been cut to fewer.
func (l *sharedLog) depth(ctx context.Context, s jetstream.Stream) (uint64, error) {
	text := strconv.FormatInt(s.CachedInfo().Config.MaxMsgsPerSubject, 10)
	for {
		var old uint64
		m, err := s.GetLastMsgForSubject(ctx, l.base+"depth")
		switch {
		case err == nil && string(m.Data) == text:
			return m.Sequence, nil
		case err == nil:
			old = m.Sequence
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return 0, err
		}
		_, err = l.js.Publish(ctx, l.base+"depth", []byte(text), jetstream.WithExpectLastSequencePerSubject(old))
		if err != nil && !wrongLast(err) { // another node was first
			return 0, err
		}
	}
}

// same reports whether what was read last is what the stream has there. What it
// does not have there may have gone with age.
func (l *sharedLog) same(ctx context.Context, s jetstream.Stream, last uint64) (bool, error) {
	if last < l.at.last {
		return false, nil
	}
	m, err := s.GetMsg(ctx, l.at.last)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	return err == nil && m.Time.Equal(l.at.time), err
}

// epoch returns a reading that has come to the epoch's message. It makes one when
// there is none, or none but the one of sequence old.
func (l *sharedLog) epoch(ctx context.Context, s jetstream.Stream, old uint64) (reading, error) {
	for {
		m, err := s.GetLastMsgForSubject(ctx, l.base+"epoch")
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			old = 0
		case err != nil:
			return reading{}, err
		case m.Sequence != old || old == 0:
			if e := history.ParseEpoch(string(m.Data)); e != history.Stranger {
				return reading{epoch: e, drawn: m.Sequence, last: m.Sequence, time: m.Time, loading: true}, nil
			}
			old = m.Sequence // somebody has written there
		}
		_, err = l.js.Publish(ctx, l.base+"epoch", []byte(history.Draw(rand.Uint64()).String()), jetstream.WithExpectLastSequencePerSubject(old))
		if err != nil && !wrongLast(err) { // another node was first
			return reading{}, err
		}
		old = 0
	}
}

func wrongLast(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// begin reads from the epoch's message on.
func (l *sharedLog) begin(ctx context.Context, s jetstream.Stream, at reading, info *jetstream.StreamInfo) error {
	heard := time.Now()
	forgotten, err := l.forgotten(ctx, s, at.target, info.TimeStamp)
	if err != nil {
		return err
	}
	l.at = at
	forgotten = max(forgotten, at.depth)
	if forgotten <= at.drawn+1 { // nothing of this epoch
		forgotten = 0
	}
	start := worker.LogStart{Epoch: at.epoch, Last: at.target, Forgotten: forgotten, Channel: int(info.Config.MaxMsgsPerSubject), Now: info.TimeStamp}
	l.post(func() {
		l.lanes.keeps(info.Config.MaxMsgsPerSubject)
		l.lanes.skipped(at.drawn)
		start.Now = start.Now.Add(time.Since(heard))
		l.o.Begin(start)
	})
	return nil
}

// forgotten is the newest sequence of which messages may have gone with age, by the clock
// of the server, which takes them away.
func (l *sharedLog) forgotten(ctx context.Context, s jetstream.Stream, last uint64, now time.Time) (uint64, error) {
	if l.o.MinAge == 0 {
		return 0, nil
	}
	since := now.Add(-l.o.MinAge)
	c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: logIdle,
	})
	if err != nil {
		return 0, err
	}
	defer l.forget(s, c)
	if c.CachedInfo().NumPending == 0 {
		return last, nil
	}
	m, err := c.Next(jetstream.FetchMaxWait(logRequire))
	if err != nil {
		return 0, err
	}
	md, err := m.Metadata()
	if err != nil {
		return 0, err
	}
	return md.Sequence.Stream - 1, nil
}

// next takes in the n-th message of a consumer.
func (l *sharedLog) next(s jetstream.Stream, m jetstream.Msg, n uint64) error {
	md, err := m.Metadata()
	if err != nil {
		return err
	}
	if md.Sequence.Consumer != n || md.Sequence.Stream <= l.at.last {
		return errSkipped
	}
	if l.at.jumps(md.Sequence.Stream) && (n == 1 || !l.at.loading) {
		if err := l.gone(s, md.Sequence.Stream); err != nil {
			return err
		}
	}
	if l.at.hole(md.Sequence.Stream) {
		if err := l.lost(s); err != nil {
			return err
		}
	}
	what := strings.TrimPrefix(m.Subject(), l.base)
	if what == "epoch" {
		return errRenewed
	}
	if what != "depth" {
		if e := l.entry(m, md, what); e != nil {
			l.post(func() {
				l.lanes.passed(e.Target, e.Offset)
				l.o.Entry(e)
			})
		}
	}
	l.at.last, l.at.time = md.Sequence.Stream, md.Timestamp
	l.behind.Store(md.NumPending)
	if md.NumPending == 0 {
		l.grew()
	}
	if md.NumPending == 0 && !l.at.moved {
		return l.end(s)
	}
	if l.at.doubtful() {
		if err := l.lost(s); err != nil {
			return err
		}
	}
	if l.at.reached() {
		l.live()
	}
	return nil
}

// end takes it that nothing more comes of what is to be loaded.
func (l *sharedLog) end(s jetstream.Stream) error {
	if l.at.loading && l.at.last < l.at.target {
		if err := l.gone(s, l.at.target+1); err != nil {
			return err
		}
	}
	l.live()
	return nil
}

// live says that the target has been reached: what is not there of before never comes.
func (l *sharedLog) live() {
	if !l.at.loading {
		return
	}
	l.at.loading, l.at.gone = false, false
	l.at.clear = max(l.at.clear, l.at.target)
	last := max(l.at.last, l.at.target)
	l.post(func() {
		l.lanes.skipped(last)
		l.o.Live()
	})
}

// entry decodes a message; nil = it is not one of ours.
func (l *sharedLog) entry(m jetstream.Msg, md *jetstream.MsgMetadata, what string) *worker.LogEntry {
	e := &worker.LogEntry{Offset: md.Sequence.Stream, Time: md.Timestamp.UnixMilli()}
	if what == "purge" {
		r := reader{b: m.Data()}
		e.Purge, e.Target, e.What = true, r.string(), r.uvarint()
		if r.bad {
			return nil
		}
		return e
	}
	var err error
	if e.Publication, err = parseEnvelope(m.Data()); err != nil || l.subject(&e.Publication, e.Order) != m.Subject() {
		l.log.Warn("a message of the shared history is ignored: it is not one of ours", "subject", m.Subject(), "error", err)
		return nil
	}
	e.Reply = m.Headers().Get(headerReply)
	return e
}
