package broker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// subject is where a message goes.
func (l *sharedLog) subject(p *worker.Publication, o *worker.Order) string {
	kind := ".m"
	if o != nil && o.Version != 0 {
		kind = ".v"
	}
	return l.base + token(p.Target) + kind
}

// Append implements worker.SharedLog.
func (l *sharedLog) Append(p *worker.Publication, age time.Duration, done func(history.Position, bool, error)) {
	r := &logRequest{channel: p.Target, msg: nats.NewMsg(l.subject(p, p.Order)), age: age, done: done}
	q := *p
	q.Publisher, q.Shard, q.Seq, q.Stamp = l.c.id, worker.Shard(p.Scope, p.Target), 1, nil
	r.msg.Data = appendEnvelope(make([]byte, 0, envelopeSize(&q)), &q)
	if p.Reply != "" {
		r.msg.Header.Set(headerReply, p.Reply)
	}
	if o := p.Order; o != nil && o.Key != "" {
		sum := sha256.Sum256(append(append([]byte(p.Target), 0), o.Key...))
		r.key = hex.EncodeToString(sum[:16])
	}
	if o := p.Order; o != nil {
		r.version = o.Version
	}
	l.queue(r)
}

// Purge implements worker.SharedLog.
func (l *sharedLog) Purge(channel string, offset uint64, done func(error)) {
	r := &logRequest{msg: nats.NewMsg(l.base + "purge"), age: purgeAge}
	r.msg.Data = binary.AppendUvarint(appendString(nil, channel), offset)
	r.done = func(_ history.Position, _ bool, err error) { done(err) }
	go func() {
		if err := l.remove(channel, offset); err != nil {
			l.post(func() { done(fmt.Errorf("%w: %w", worker.ErrUnavailable, err)) })
			return
		}
		l.post(func() { l.queue(r) })
	}()
}

// remove takes the messages out of the stream.
func (l *sharedLog) remove(channel string, offset uint64) error {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
	defer cancel()
	s, err := l.js.Stream(ctx, l.name)
	if err != nil {
		return err
	}
	subjects := l.base + token(channel) + ".*"
	if offset == 0 {
		return s.Purge(ctx, jetstream.WithPurgeSubject(subjects))
	}
	m, err := s.GetMsg(ctx, offset)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && !strings.HasPrefix(m.Subject, strings.TrimSuffix(subjects, "*")) {
		return nil
	}
	if err == nil {
		err = s.SecureDeleteMsg(ctx, offset)
	}
	return err
}

func (l *sharedLog) queue(r *logRequest) {
	if err := l.ready(); err != nil {
		r.done(history.Position{}, false, err)
		return
	}
	if l.waiting.Add(1) > logWindow {
		l.waiting.Add(-1)
		r.done(history.Position{}, false, fmt.Errorf("%w: %d messages wait for it", worker.ErrUnavailable, logWindow))
		return
	}
	l.lanes.enter(r)
}

// refuse answers those that wait for others of their channel.
func (l *sharedLog) refuse(reason string) {
	for _, r := range l.lanes.refuse() {
		l.waiting.Add(-1)
		r.done(history.Position{}, false, fmt.Errorf("%w: %s", worker.ErrUnavailable, reason))
	}
}

// ready says why nothing can be added.
func (l *sharedLog) ready() error {
	if reason := l.away.Load(); reason != nil {
		return fmt.Errorf("%w: %s", worker.ErrUnavailable, *reason)
	}
	if !l.c.link.up() {
		return fmt.Errorf("%w: %w", worker.ErrUnavailable, worker.ErrBrokerAway)
	}
	return nil
}

// write is the goroutine that adds messages, in the order in which they came.
func (l *sharedLog) write() {
	defer close(l.wrote)
	for {
		select {
		case r := <-l.requests:
			l.add(r)
		case <-l.ctx.Done():
			return
		}
	}
}

// add sends a message; its answer is waited for aside.
func (l *sharedLog) add(r *logRequest) {
	if r.version != 0 {
		l.addNewer(r)
		return
	}
	f, err := l.js.PublishMsgAsync(r.msg, r.options()...)
	if err != nil {
		l.answer(r, nil, err)
		return
	}
	go func() {
		select {
		case ack := <-f.Ok():
			l.answer(r, ack, nil)
		case err := <-f.Err():
			l.answer(r, nil, err)
		case <-l.ctx.Done():
		}
	}()
}

func (r *logRequest) options() []jetstream.PublishOpt {
	o := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)} // a message that is sent again would come behind later ones
	if r.age > 0 {
		o = append(o, jetstream.WithMsgTTL(max(r.age.Round(time.Second), time.Second)))
	}
	if r.key != "" {
		o = append(o, jetstream.WithMsgID(r.key))
	}
	return o
}

// addNewer adds a message if its version is higher than that of the last one
// that had one.
func (l *sharedLog) addNewer(r *logRequest) {
	ctx, cancel := context.WithTimeout(l.ctx, ackTimeout)
	defer cancel()
	var err error
	if l.writes == nil {
		l.writes, err = l.js.Stream(ctx, l.name)
	}
	for err == nil {
		var old uint64
		var m *jetstream.RawStreamMsg
		m, err = l.writes.GetLastMsgForSubject(ctx, r.msg.Subject)
		if err == nil {
			old = m.Sequence
			if v, _ := strconv.ParseUint(m.Header.Get(headerVersion), 10, 64); r.version <= v {
				l.notNewer(r, m)
				return
			}
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		r.msg.Header.Set(headerVersion, strconv.FormatUint(r.version, 10))
		var ack *jetstream.PubAck
		ack, err = l.js.PublishMsg(ctx, r.msg, append(r.options(), jetstream.WithExpectLastSequencePerSubject(old))...)
		if err == nil {
			l.answer(r, ack, nil)
			return
		}
		if wrongLast(err) {
			err = nil // another one came between
		}
	}
	l.writes = nil // it may be another one by now
	l.answer(r, nil, err)
}

// notNewer answers a message that is not to be added: it is out of date, or was
// the last one itself.
func (l *sharedLog) notNewer(r *logRequest, m *jetstream.RawStreamMsg) {
	if r.key != "" && m.Header.Get(jetstream.MsgIDHeader) == r.key {
		l.answer(r, &jetstream.PubAck{Sequence: m.Sequence, Duplicate: true}, nil)
		return
	}
	l.answer(r, nil, worker.ErrOutdated)
}

// answer tells what became of a message.
func (l *sharedLog) answer(r *logRequest, ack *jetstream.PubAck, err error) {
	switch full := noRoom(err); {
	case err == nil && !ack.Duplicate: // of one that was there no room was asked
		l.takes()
	case err == nil, errors.Is(err, worker.ErrOutdated):
	case full != "":
		l.fills(full)
		err = fmt.Errorf("%w: %s", worker.ErrUnavailable, full)
	default:
		l.failed(err)
		err = fmt.Errorf("%w: %w", worker.ErrUnavailable, err)
	}
	l.post(func() {
		l.waiting.Add(-1)
		if err != nil {
			l.lanes.answered(r, 0)
			r.done(history.Position{}, false, err)
			return
		}
		l.lanes.answered(r, ack.Sequence)
		r.done(history.Position{Offset: ack.Sequence}, ack.Duplicate, nil)
	})
}
