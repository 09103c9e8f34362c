package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
)

// hole looks whether the message at an offset is the one after the last that was
// read. Sequence numbers of a stream have no holes but of what has gone from it. With
// true it is to be looked at how far the stream is now: what those of a hole went for,
// later ones of their channels, is no later than that.
func (r *reading) hole(offset uint64) bool {
	found := offset > r.last+1
	if r.loading && r.last < r.target {
		r.gone = r.gone || found
		return false
	}
	return found || r.gone
}

// reached reports that all is there that a beginning or a loss waits for, pending
// messages being left.
func (r *reading) reached(pending uint64) bool {
	return pending == 0 || r.last >= r.target && !r.gone
}

// lost goes on where messages had gone before they were read here: there were
// more of a channel than the stream keeps, or they were too old. What is there up
// to now may be all that is left of a channel, as at a beginning.
func (l *sharedLog) lost(s jetstream.Stream) error {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
	defer cancel()
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	last := info.State.LastSeq
	forgotten, err := l.forgotten(ctx, s, last, info.TimeStamp)
	if err != nil {
		return err
	}
	if forgotten <= l.at.last { // nothing that was not read
		forgotten = 0
	}
	if time.Since(l.warned) > 10*time.Second {
		l.warned = time.Now()
		l.log.Warn("the shared history is read too slowly: clients of its channels are told that they have missed something",
			"error", errGone, "behind", l.at.last)
	}
	l.at.target, l.at.loading, l.at.gone = last, true, false
	at := worker.LogStart{Epoch: l.at.epoch, Last: last, Forgotten: forgotten, Channel: int(info.Config.MaxMsgsPerSubject), Now: info.TimeStamp}
	l.post(func() { l.o.Lost(at) })
	return nil
}
