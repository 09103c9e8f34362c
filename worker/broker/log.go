package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/seldom"
)

// A shared log is a JetStream stream. It gives messages their order, and keeps
// them; every node follows it. Subjects, below "prefix.hist.":
//
//	CHANNEL.m  messages, CHANNEL in hex
//	CHANNEL.v  those with a version
//	epoch      one message: the epoch, made by compare-and-set
//	depth      how many messages of a subject the stream keeps, since then
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

	lanes    lanes            // of channels
	requests chan *logRequest // at most logWindow wait for an answer
	waiting  atomic.Int64
	away     atomic.Pointer[string] // why it cannot be added to; nil = it can
	reasons  [2]string              // of away: by reading, by writing
	mu       sync.Mutex             // of reasons, stop, asking and barred
	stop     func()                 // ends the reading under way; nil = there is none
	asking   context.CancelFunc     // of what is asked before it; nil = nothing was
	barred   error                  // what that was refused; nil = nothing
	probing  atomic.Bool
	full     atomic.Pointer[fullness] // nil = as far as is known there is room
	filled   seldom.Limit
	emptied  seldom.Limit
	behind   atomic.Uint64 // messages to be read, as the last one said

	ctx    context.Context // over: closed
	cancel context.CancelFunc
	done   chan struct{}
	wrote  chan struct{}

	at     reading          // of the goroutine that follows
	warned time.Time        // by it, of messages that had gone
	writes jetstream.Stream // of the one that adds: where it looks for versions; nil = not asked for yet
}

// reading is how far the log was read.
type reading struct {
	epoch   history.Epoch // 0 = nothing was read
	drawn   uint64        // sequence of the epoch's message
	depth   uint64        // of the depth's
	last    uint64        // of the newest message that was read
	time    time.Time     // of that
	target  uint64        // what lies before it is from before the beginning, or a loss
	loading bool          // it has not been reached
	gone    bool          // while loading, messages had gone before they were read
	clear   uint64        // up to here a hole is known: what is not there has gone
	moved   bool          // the target, since the consumer was made
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
	channel string // "" = it is a word of our own
	msg     *nats.Msg
	age     time.Duration
	key     string
	version uint64
	done    func(at history.Position, repeated bool, err error)
}

// errLog is an error of the log's own making.
var (
	errLost    = errors.New("messages that were read are not in the stream any more")
	errRenewed = errors.New("the stream has begun anew")
	errSkipped = errors.New("a message was skipped")
	errBehind  = errors.New("the server that reads the stream here lacks what the others have")
	errGone    = errors.New("messages were gone before they were read here")
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
	l.lanes = lanes{limit: 1, of: map[string]*lane{}, send: func(r *logRequest) { l.requests <- r }, after: afterLaneWait(post)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	c.link.rights.tell(l.bar)
	if err := l.require(); err != nil && o.Channel > 0 {
		l.cancel()
		return nil, err
	}
	l.setAway(byReading, notReached)
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

// require fails if JetStream is known not to be there.
func (l *sharedLog) require() error {
	ctx, cancel := l.asks()
	defer cancel()
	return lacksJetStream(ctx, l.js)
}

// asks bounds what is asked of JetStream, by time and by a refusal, which never answers.
func (l *sharedLog) asks() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking, l.barred = cancel, nil
	return ctx, cancel
}

// bar notes a refusal.
func (l *sharedLog) bar(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.barred = err
	if l.asking != nil {
		l.asking()
	}
}

// refusal is what was refused since asks.
func (l *sharedLog) refusal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.barred
}

// notReached is why nothing can be added at first.
const notReached = "the history has not been reached yet"

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
	case was == nil && now == "", was != nil && *was == now:
		return
	case now == "":
		l.away.Store(nil)
		l.log.Info("the shared history is there")
	default:
		l.away.Store(&now)
		level := slog.LevelWarn
		if now == notReached || l.o.Channel == 0 { // as at every start, or of no concern
			level = slog.LevelDebug
		}
		l.log.Log(context.Background(), level, "the shared history is away: nothing can be published into channels with history", "reason", now)
	}
	l.post(func() {
		if now != "" {
			l.refuse(now)
		}
		l.o.Away(now)
	})
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
			if err == nil && !l.fits(&s.CachedInfo().Config) { // read anew, which sets it right
				l.readAgain()
			} else if err == nil {
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

// readAgain ends the reading under way.
func (l *sharedLog) readAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
	}
}

// reads notes how the reading that begins is ended; nil = it is over.
func (l *sharedLog) reads(stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = stop
}

// config is what the stream has to be. No limit of the whole stream may take
// the epoch away.
func (l *sharedLog) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: l.name, Subjects: []string{l.base + ">"}, Description: "pushd: channels with history",
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		Replicas: l.o.Replicas, MaxMsgsPerSubject: kept(l.o.Channel),
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, Duplicates: keyWindow, AllowMsgTTL: true,
	}
}

// stream returns the stream as it should be. How many messages it keeps is set
// once, when this process starts: two configs that differ would else cut it in
// turns. A node that keeps nothing itself takes it as it is, if it is there.
func (l *sharedLog) stream(ctx context.Context) (jetstream.Stream, error) {
	want := l.config()
	s, err := l.js.Stream(ctx, l.name)
	if l.o.Channel == 0 {
		return s, err
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return l.wanted(l.js.CreateStream(ctx, want))
	}
	if err != nil {
		return nil, err
	}
	is := s.CachedInfo().Config
	if l.at.epoch != 0 {
		want.MaxMsgsPerSubject = is.MaxMsgsPerSubject
	}
	if is.MaxMsgsPerSubject == want.MaxMsgsPerSubject && l.fits(&is) {
		return s, nil
	}
	l.log.Warn("the stream of the history was not as this config wants it, and is changed", "stream", l.name,
		"messages", want.MaxMsgsPerSubject, "replicas", want.Replicas)
	return l.wanted(l.js.UpdateStream(ctx, want))
}

// fits reports whether a stream takes and keeps messages as this config wants it, but for
// how many: somebody may have changed it.
func (l *sharedLog) fits(is *jetstream.StreamConfig) bool {
	want := l.config()
	return is.MaxMsgs == -1 && is.MaxBytes == -1 && is.MaxAge == 0 && is.MaxMsgSize == -1 &&
		is.Replicas == want.Replicas && is.AllowMsgTTL && is.Duplicates == want.Duplicates &&
		is.Discard == want.Discard && !is.NoAck && is.SubjectTransform == nil && slices.Equal(is.Subjects, want.Subjects)
}

// wanted says in an error what JetStream was asked for: most often it is the
// replicas that it has no servers for.
func (l *sharedLog) wanted(s jetstream.Stream, err error) (jetstream.Stream, error) {
	if err != nil {
		err = fmt.Errorf("stream %s with [history] replicas = %d: %w", l.name, l.o.Replicas, err)
	}
	return s, err
}

// State implements worker.SharedLog.
func (l *sharedLog) State() (behind uint64, away string) {
	if reason := l.away.Load(); reason != nil {
		away = *reason
	} else if !l.c.link.up() {
		away = worker.ErrBrokerAway.Error()
	}
	return l.behind.Load(), l.asFull(away)
}

// Close implements worker.SharedLog.
func (l *sharedLog) Close() {
	l.c.link.rights.tell(nil)
	l.cancel()
	<-l.wrote
	<-l.done
}
