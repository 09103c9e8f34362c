package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// A shared log is a JetStream stream. It gives messages their order, and keeps
// them; every node follows it. Subjects, below "prefix.hist.":
//
//	CHANNEL.m  messages, CHANNEL in hex
//	CHANNEL.v  those with a version
//	epoch      one message: the epoch, made by compare-and-set
//	purge      what was purged, and is kept for purgeAge for those who lag
//
// Its sequence numbers are the offsets. What JetStream says of a stream itself,
// such as when it was created, outlives the loss of all messages, so an epoch
// must be a message. It is drawn anew when a message that was read is not there
// any more or is another one.
type sharedLog struct {
	c    *Client
	o    worker.SharedLogOptions
	log  *slog.Logger
	js   jetstream.JetStream
	name string // of the stream
	base string // first tokens of its subjects, with the dot
	post func(func())

	requests chan *logRequest // at most logWindow wait for an answer
	waiting  atomic.Int64
	away     atomic.Pointer[string] // why it cannot be added to; nil = it can
	reasons  [2]string              // of away: by reading, by writing
	mu       sync.Mutex             // of reasons
	probing  atomic.Bool

	ctx    context.Context // over: closed
	cancel context.CancelFunc
	done   chan struct{}
	wrote  chan struct{}

	at reading // of the goroutine that follows
}

// reading is how far the log was read.
type reading struct {
	epoch   history.Epoch // 0 = nothing was read
	drawn   uint64        // sequence of the epoch's message
	last    uint64        // of the newest message that was read
	time    time.Time     // of that
	target  uint64        // what lies before it is from before the beginning
	loading bool          // it has not been reached
}

const (
	logWindow  = 4096            // messages that are added at a time
	ackTimeout = 2 * time.Second // for one of them
	logRequire = 5 * time.Second // for an answer of JetStream
	logRetry   = time.Second     // after a failure, at most
	logBeat    = 500 * time.Millisecond
	logIdle    = 10 * time.Second // after which a follower that is gone is forgotten
	purgeAge   = time.Hour
	keyWindow  = 5 * time.Minute // history.KeyAge
)

// Headers of messages in the log.
const (
	headerReply   = "Pushd-Reply"
	headerVersion = "Pushd-Version"
)

// logRequest is a message that is to be added.
type logRequest struct {
	msg     *nats.Msg
	age     time.Duration
	key     string
	version uint64
	done    func(at history.Position, repeated bool, err error)
}

// errLog is an error of the log's own making.
var (
	errNoJetStream = errors.New("this NATS has no JetStream: enable it there, or set [history] store to another")
	errLost        = errors.New("messages that were read are not in the stream any more")
	errRenewed     = errors.New("the stream has begun anew")
	errSkipped     = errors.New("a message was skipped")
)

// OpenLog opens the log of the cluster. With an error there is none; it may be
// away for a while without one. post runs a function on the service's goroutine.
func (c *Client) OpenLog(o worker.SharedLogOptions, post func(func())) (worker.SharedLog, error) {
	if c.o.URL == "" {
		return nil, errors.New(`[history] store = "jetstream" needs [broker] url: the bus of one machine keeps nothing`)
	}
	js, err := jetstream.New(c.link.nc, jetstream.WithPublishAsyncMaxPending(2*logWindow), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return nil, err
	}
	l := &sharedLog{
		c: c, o: o, log: c.o.Logger, js: js, post: post,
		name: streamName(c.o.Prefix), base: c.o.Prefix + ".hist.",
		requests: make(chan *logRequest, logWindow), done: make(chan struct{}), wrote: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if err := l.require(); err != nil {
		l.cancel()
		return nil, err
	}
	l.setAway(byReading, "the history has not been reached yet")
	go l.follow()
	go l.write()
	return l, nil
}

// streamName is the name of the stream, which may have no dots.
func streamName(prefix string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' {
			return r
		}
		return '_'
	}, prefix) + "_history"
}

// require fails if JetStream is known not to be there. No answer may mean that
// its servers are on their way.
func (l *sharedLog) require() error {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
	defer cancel()
	_, err := l.js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return errNoJetStream
	}
	return nil
}

// Who has found the log away, or there.
const (
	byReading = iota
	byWriting
)

func (l *sharedLog) setAway(who int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reasons[who] = reason
	now := cmp.Or(l.reasons[byReading], l.reasons[byWriting])
	was := l.away.Load()
	switch {
	case now == "" && was == nil, now != "" && was != nil:
		return
	case now == "":
		l.away.Store(nil)
		l.log.Info("the shared history is there")
	default:
		l.away.Store(&now)
		l.log.Warn("the shared history is away: nothing can be published into channels with history", "reason", now)
	}
	l.post(func() { l.o.Away(now) })
}

// failed notes that a message was not taken. Until the stream answers again none
// is tried.
func (l *sharedLog) failed(err error) {
	if !l.probing.CompareAndSwap(false, true) {
		return
	}
	l.setAway(byWriting, err.Error())
	go func() {
		defer l.probing.Store(false)
		for l.ctx.Err() == nil {
			ctx, cancel := context.WithTimeout(l.ctx, ackTimeout)
			s, err := l.js.Stream(ctx, l.name)
			if err == nil {
				_, err = s.GetLastMsgForSubject(ctx, l.base+"epoch") // its leader answers
			}
			cancel()
			if err == nil {
				l.setAway(byWriting, "")
				return
			}
			select {
			case <-time.After(logBeat / 2):
			case <-l.ctx.Done():
			}
		}
	}()
}

// config is what the stream has to be. No limit of the whole stream may take
// the epoch away.
func (l *sharedLog) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: l.name, Subjects: []string{l.base + ">"}, Description: "pushd: channels with history",
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		Replicas: l.o.Replicas, MaxMsgsPerSubject: int64(l.o.Channel),
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, Duplicates: keyWindow, AllowMsgTTL: true,
	}
}

// stream returns the stream as it should be.
func (l *sharedLog) stream(ctx context.Context) (jetstream.Stream, error) {
	want := l.config()
	s, err := l.js.Stream(ctx, l.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return l.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	is := s.CachedInfo().Config
	if is.MaxMsgsPerSubject == want.MaxMsgsPerSubject && is.MaxMsgs == -1 && is.MaxBytes == -1 && is.MaxAge == 0 &&
		is.Replicas == want.Replicas && is.AllowMsgTTL && is.Duplicates == want.Duplicates &&
		len(is.Subjects) == 1 && is.Subjects[0] == want.Subjects[0] {
		return s, nil
	}
	l.log.Warn("the stream of the history was not as this config wants it, and is changed", "stream", l.name,
		"channel", want.MaxMsgsPerSubject, "replicas", want.Replicas)
	return l.js.UpdateStream(ctx, want)
}

// follow is the goroutine that reads.
func (l *sharedLog) follow() {
	defer close(l.done)
	for pause := 50 * time.Millisecond; l.ctx.Err() == nil; {
		began := time.Now()
		err := l.read()
		if l.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errSkipped) || errors.Is(err, errRenewed) {
			l.log.Info("the shared history is read again", "error", err, "from", l.at.last+1)
		} else {
			l.setAway(byReading, err.Error())
		}
		if time.Since(began) > 5*time.Second {
			pause = 50 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
		}
		pause = min(2*pause, logRetry)
	}
}

// read reads until something is wrong, and says what.
func (l *sharedLog) read() error {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
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
	stop := context.AfterFunc(l.ctx, it.Stop)
	defer stop()
	if c.CachedInfo().NumPending == 0 {
		l.live()
	}
	l.setAway(byReading, "")
	for n := uint64(1); ; n++ {
		m, err := it.Next()
		if err != nil {
			return err
		}
		if err := l.next(m, n); err != nil {
			return err
		}
	}
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
	epoch, drawn, err := l.epoch(ctx, s, 0)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	if l.at.epoch == epoch && l.at.drawn == drawn {
		same, err := l.same(ctx, s, info.State.LastSeq)
		if err != nil || same {
			return err
		}
		l.log.Error("the shared history begins anew, with a new epoch", "error", errLost, "read", l.at.last, "stream", info.State.LastSeq)
		if epoch, drawn, err = l.epoch(ctx, s, drawn); err != nil {
			return err
		}
		if info, err = s.Info(ctx); err != nil {
			return err
		}
	}
	return l.begin(ctx, s, epoch, drawn, info.State.LastSeq)
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

// epoch returns the epoch and the sequence of its message. It makes one when
// there is none, or none but the one of sequence old.
func (l *sharedLog) epoch(ctx context.Context, s jetstream.Stream, old uint64) (history.Epoch, uint64, error) {
	for {
		m, err := s.GetLastMsgForSubject(ctx, l.base+"epoch")
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			old = 0
		case err != nil:
			return 0, 0, err
		case m.Sequence != old || old == 0:
			if e := history.ParseEpoch(string(m.Data)); e != history.Stranger {
				return e, m.Sequence, nil
			}
			old = m.Sequence // somebody has written there
		}
		_, err = l.js.Publish(ctx, l.base+"epoch", []byte(history.Draw(rand.Uint64()).String()), jetstream.WithExpectLastSequencePerSubject(old))
		if err != nil && !wrongLast(err) { // another node was first
			return 0, 0, err
		}
		old = 0
	}
}

func wrongLast(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// begin reads from the epoch's message on.
func (l *sharedLog) begin(ctx context.Context, s jetstream.Stream, epoch history.Epoch, drawn, last uint64) error {
	forgotten, err := l.forgotten(ctx, s, last)
	if err != nil {
		return err
	}
	l.at = reading{epoch: epoch, drawn: drawn, last: drawn, target: last, loading: true}
	if m, err := s.GetMsg(ctx, drawn); err == nil {
		l.at.time = m.Time
	}
	if forgotten <= drawn { // nothing of this epoch
		forgotten = 0
	}
	start := worker.LogStart{Epoch: epoch, Last: last, Forgotten: forgotten}
	l.post(func() { l.o.Begin(start) })
	return nil
}

// forgotten is the newest sequence of which messages may have gone with age.
func (l *sharedLog) forgotten(ctx context.Context, s jetstream.Stream, last uint64) (uint64, error) {
	if l.o.MinAge == 0 {
		return 0, nil
	}
	since := time.Now().Add(-l.o.MinAge)
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
func (l *sharedLog) next(m jetstream.Msg, n uint64) error {
	md, err := m.Metadata()
	if err != nil {
		return err
	}
	if md.Sequence.Consumer != n || md.Sequence.Stream <= l.at.last {
		return errSkipped
	}
	what := strings.TrimPrefix(m.Subject(), l.base)
	if what == "epoch" {
		return errRenewed
	}
	if e := l.entry(m, md, what); e != nil {
		l.post(func() { l.o.Entry(e) })
	}
	l.at.last, l.at.time = md.Sequence.Stream, md.Timestamp
	if md.NumPending == 0 || l.at.last >= l.at.target {
		l.live()
	}
	return nil
}

func (l *sharedLog) live() {
	if l.at.loading {
		l.at.loading = false
		l.post(l.o.Live)
	}
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
	r := &logRequest{msg: nats.NewMsg(l.subject(p, p.Order)), age: age, done: done}
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
	l.requests <- r // has room for all that may wait
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
	s, err := l.js.Stream(ctx, l.name)
	for err == nil {
		var old uint64
		var m *jetstream.RawStreamMsg
		m, err = s.GetLastMsgForSubject(ctx, r.msg.Subject)
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
	if err != nil && !errors.Is(err, worker.ErrOutdated) {
		l.failed(err)
		err = fmt.Errorf("%w: %w", worker.ErrUnavailable, err)
	}
	l.post(func() {
		l.waiting.Add(-1)
		if err != nil {
			r.done(history.Position{}, false, err)
			return
		}
		r.done(history.Position{Offset: ack.Sequence}, ack.Duplicate, nil)
	})
}

// Close implements worker.SharedLog.
func (l *sharedLog) Close() {
	l.cancel()
	<-l.wrote
	<-l.done
}
