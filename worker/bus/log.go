package bus

import (
	"time"

	"github.com/pushd/pushd/worker/history"
)

// Log is the order of the messages of channels with history where several
// nodes have one: it is kept outside of them, and each node's history service
// follows it. worker/broker implements it.
//
// Its methods never block. What was opened calls LogOptions' functions,
// and those given to its methods, on the goroutine of the service that has
// opened it, one at a time.
type Log interface {
	// Append adds a message. age is how long it is kept at most, 0 = as long as
	// there is room. done gets its place; with repeated, the one that its
	// Order.Key had before. Errors: ErrOutdated, ErrUnavailable with the reason
	// (it may have been added all the same), ErrTooLarge.
	Append(p *Publication, age time.Duration, done func(at history.Position, repeated bool, err error))
	// Purge takes messages of a channel away for all nodes: the one with that
	// offset, or with 0 all. Each gets a LogEntry with Purge.
	Purge(channel string, offset uint64, done func(error))
	// State says how many messages there were to be read when it was heard last, and
	// why nothing can be added now, "" = it can.
	State() (behind uint64, away string)
	// Close ends it; nothing is called any more once it returns.
	Close()
}

// LogOptions say what a service wants of a Log.
type LogOptions struct {
	Replicas int           // servers that keep each message
	Channel  int           // messages of a channel that are kept at most; 0 = none here: the log is read, and neither made nor changed
	MinAge   time.Duration // the least age of any message that is kept; 0 = no age is limited

	// Begin says that what was known counts no more, and where the log is. What
	// follows are the messages of before, up to LogStart.Last, then the others.
	Begin func(LogStart)
	// Lost says that some messages behind the last one went before they could be
	// told. What follows up to LogStart.Last is as at a beginning, but what is known
	// counts. Forgotten: some up to this offset may have gone of any channel; 0 = only
	// of such as have as many messages as are kept.
	Lost func(LogStart)
	// Entry is the next message or purge.
	Entry func(*LogEntry)
	// Live says, after Begin and Lost, that all that there was before has been told.
	Live func()
	// Away says why nothing can be added, "" = it can again.
	Away func(reason string)
}

// LogStart is where a log is.
type LogStart struct {
	Epoch     history.Epoch
	Last      uint64    // offset of the newest message that there was
	Forgotten uint64    // of channels without a message, some up to this offset may be gone
	Channel   int       // messages of a channel that are kept at most: another config may say so
	Now       time.Time // by the clock of the log, as LogEntry.Time is; zero = not known
}

// LogEntry is one message, as its publisher gave it to Append, or a purge.
type LogEntry struct {
	Offset uint64
	Time   int64 // Unix milliseconds, as the log has it
	Publication
	Purge bool   // of the channel Target
	What  uint64 // of a purge: the offset, 0 = all
}
