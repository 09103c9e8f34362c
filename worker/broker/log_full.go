package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A store without room refuses what is added and goes on to answer, so that it is not
// away: only what is added tells, and how long that lasts only what is added next. So
// each message is tried, and is refused by itself; that it was is a state of the log
// until one is taken, of this node or of another.

// Errors of JetStream that are of the server or the account, and of no single message.
const (
	noRoomOfServer  jetstream.ErrorCode = 10023 // max_file_store; with several servers, of the stream's leader
	noRoomOfAccount jetstream.ErrorCode = 10002
)

// fullness says that what was added last found no room.
type fullness struct {
	reason string
	since  time.Time
}

// noRoom says why there is none, "" if that is not why a message was refused.
func noRoom(err error) string {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == noRoomOfServer || api.ErrorCode == noRoomOfAccount) {
		return fmt.Sprintf("JetStream has no room, give its server or account more, or purge channels: %v", err)
	}
	return ""
}

// fills notes that there was no room.
func (l *sharedLog) fills(reason string) {
	if was := l.full.Swap(&fullness{reason, time.Now()}); was == nil && l.filled.Allow(time.Now()) {
		l.log.Warn("the shared history takes nothing more: what is published into channels with history is refused", "reason", reason)
	}
}

// takes notes that there is room.
func (l *sharedLog) takes() {
	if was := l.full.Load(); was != nil && l.full.CompareAndSwap(was, nil) && l.emptied.Allow(time.Now()) {
		l.log.Info("the shared history takes messages again")
	}
}

// asFull adds to why the log is away that there was no room: several servers without any
// choose a leader again and again, and may answer no more.
func (l *sharedLog) asFull(away string) string {
	full := l.full.Load()
	switch {
	case full == nil:
		return away
	case away == "":
		return full.reason
	}
	return away + "; before that: " + full.reason
}

// fullFor is how long what is read may be of before there was no room.
const fullFor = ackTimeout

// grew notes that a message was read that was the newest one.
func (l *sharedLog) grew() {
	if was := l.full.Load(); was != nil && time.Since(was.since) > fullFor {
		l.takes()
	}
}
