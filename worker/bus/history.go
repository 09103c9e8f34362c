package bus

import "github.com/pushd/pushd/worker/history"

// What the history service, worker/sequencer, is told, and what it answers. It runs
// in the broker process; who asks may be any process.

// CodeNumberOnly is the Code of a message with a Reply that only the service which
// numbers it is to answer, not the workers.
const CodeNumberOnly = 1

// CodeUnkept is the Code of a message on the bus that its publisher did not want to be
// kept, where nodes share a history: it has no position, and nothing is wrong with that.
const CodeUnkept = 2

// Order is what the publisher of a message may ask of the service that numbers
// it.
type Order struct {
	// Key makes a second publish with it into the same channel, within 5 minutes,
	// nothing but the same answer. "" = none; at most history.MaxKey bytes.
	Key string
	// Version, unless 0, must be higher than that of each message before it in
	// the channel, or the message is dropped.
	Version uint64
}

// Numbered is the answer, as Answer.Data, of the service that numbers to a
// message with a Reply. It comes before those of the workers, whose answers
// follow only if the message was published.
type Numbered struct {
	Position history.Position `json:"position"`           // "" in a channel without history
	Repeated bool             `json:"repeated,omitempty"` // the key was known: this is the answer of then
	Outdated bool             `json:"outdated,omitempty"` // the version was not new: nobody gets it
	Failed   string           `json:"failed,omitempty"`   // why it could not be numbered: see ErrUnavailable
}

// HistorySilent is why a message has failed of which the history service has said nothing.
const HistorySilent = "the history service has not answered: it is not known whether what was sent is kept"

// Unkept says why not all messages are known to be taken, by what PublishNumbered tells;
// "" = all are.
func Unkept(said []Numbered, all bool) string {
	for i := range said {
		if why := said[i].Failed; why != "" {
			return why
		}
	}
	if !all {
		return HistorySilent
	}
	return ""
}

// HistoryService is the name of the service that numbers the messages of
// channels with history, and keeps them.
const HistoryService = "history"

// HistoryQuery asks for messages that are kept of a channel.
type HistoryQuery struct {
	Channel string `json:"channel"`
	// After wants what follows a position; the zero one, all that is kept.
	After history.Position `json:"after,omitzero"`
	// Kept says that After is a place in what is kept, as that of the last message of the
	// page before, and not up to where its reader has all: what is kept behind it comes,
	// whatever was lost. A process of a version before does not know that.
	Kept bool `json:"kept,omitempty"`
	// Before, unless 0, wants what is older than that offset; for the next page of the
	// newest first, that of the last message of the page before.
	Before uint64 `json:"before,omitempty"`
	Limit  int    `json:"limit,omitempty"`  // messages; 0 = 100, at most 1,000
	Newest bool   `json:"newest,omitempty"` // the newest first
}

// HistoryPage is what there is of it, as far as one answer goes: Limit messages
// or 512 KiB.
type HistoryPage struct {
	// Reason says why what follows After cannot be had as a whole; then there
	// are no messages. "" = it can: "epoch", "age", "size", "future" and "off",
	// see history.Reason.
	Reason   string           `json:"reason,omitempty"`
	Now      history.Position `json:"now"`   // behind all that was numbered in the app
	First    uint64           `json:"first"` // offset of the oldest message that is kept; 0 = none
	Last     uint64           `json:"last"`  // of the newest that there was; 0 = none that is known
	Messages []HistoryMessage `json:"messages"`
	More     bool             `json:"more,omitempty"` // there are more, behind the last one of Messages
}

// HistoryMessage is one message that is kept.
type HistoryMessage struct {
	Offset uint64 `json:"offset"`
	Time   int64  `json:"time"` // Unix milliseconds
	Binary bool   `json:"binary,omitempty"`
	Data   []byte `json:"data"`
}

// HistoryPurge forgets messages of a channel: the one with that offset as if it
// had never been published, or with 0 all.
type HistoryPurge struct {
	Channel string `json:"channel"`
	Offset  uint64 `json:"offset,omitempty"`
}

// HistoryPurged is the answer: how many were forgotten.
type HistoryPurged struct {
	Purged int `json:"purged"`
}

// HistoryQuestion is what the history service is asked, in JSON: one of the two.
// Its answer is a HistoryPage or a HistoryPurged.
type HistoryQuestion struct {
	Read  *HistoryQuery `json:"read,omitempty"`
	Purge *HistoryPurge `json:"purge,omitempty"`
}
