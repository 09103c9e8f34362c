package worker

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker/history"
)

// historyWait is how long the history service may take to answer.
const historyWait = 2 * time.Second

// HistoryQuery asks for messages that are kept of a channel.
type HistoryQuery struct {
	Channel string `json:"channel"`
	// After wants what follows a position; the zero one, all that is kept.
	After history.Position `json:"after,omitzero"`
	// Before, unless 0, wants what is older than that offset.
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

// History asks for messages that are kept of a channel and calls done once on
// the loop, with an error when the service has not answered within 2 s. It does
// not wait, and done is not called before it returns.
func (w *Worker) History(q HistoryQuery, done func(page HistoryPage, err error)) {
	askHistory(w, HistoryQuestion{Read: &q}, done)
}

// PurgeHistory forgets messages of a channel, for whoever comes back to it, and
// calls done as History does.
func (w *Worker) PurgeHistory(p HistoryPurge, done func(purged HistoryPurged, err error)) {
	askHistory(w, HistoryQuestion{Purge: &p}, done)
}

func askHistory[A any](w *Worker, q HistoryQuestion, done func(A, error)) {
	raw, err := json.Marshal(q)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", q, err)) // plain values only
	}
	w.Ask(HistoryService, raw, historyWait, func(raw []byte, err error) {
		var a A
		if err == nil {
			err = json.Unmarshal(raw, &a)
		}
		done(a, err)
	})
}
