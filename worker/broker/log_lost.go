package broker

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/pushd/pushd/worker"
)

// jumps reports whether the message at an offset is not the one after the last that was
// read. Sequence numbers of a stream have no holes but of what has gone from it.
func (r *reading) jumps(offset uint64) bool { return offset > max(r.last, r.clear)+1 }

// hole notes what jumps says. With true it is to be looked at how far the stream is, before
// the message is taken in: what those of a hole went for, later ones of their channels, is
// no later than that.
func (r *reading) hole(offset uint64) bool {
	found := r.jumps(offset)
	r.gone = r.gone || found && r.loading
	return found && offset > r.target
}

// gone fails if the stream has messages after the last that was read and before an offset.
// A consumer, which does not give them, is of one server: when that was away, or has lost
// its disk, it lacks for a while what the others have, and that has not gone.
func (l *sharedLog) gone(s jetstream.Stream, before uint64) error {
	ctx, cancel := context.WithTimeout(l.ctx, logRequire)
	defer cancel()
	m, err := s.GetMsg(ctx, max(l.at.last, l.at.clear)+1, jetstream.WithGetMsgSubject(l.base+">")) // the first from there, by the leader
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err == nil && m.Sequence < before:
		return errBehind
	}
	return err
}

// doubtful reports that the target has been reached with holes before it: the later ones
// may lie behind it.
func (r *reading) doubtful() bool { return r.loading && r.gone && r.last >= r.target }

// reached reports that all is there that a beginning or a loss waits for. How many messages
// are left, as each one says, is of when it was sent: that counts only for a target that
// is older.
func (r *reading) reached() bool { return r.last >= r.target && !r.gone }

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
	if !l.at.loading && time.Since(l.warned) > 10*time.Second {
		l.warned = time.Now()
		l.log.Warn("the shared history is read too slowly: clients of its channels are told that they have missed something",
			"error", errGone, "behind", l.at.last)
	}
	l.at.target, l.at.loading, l.at.gone, l.at.moved = last, true, false, true
	at := worker.LogStart{Epoch: l.at.epoch, Last: last, Forgotten: forgotten, Channel: int(info.Config.MaxMsgsPerSubject), Now: info.TimeStamp}
	l.post(func() { l.o.Lost(at) })
	return nil
}
