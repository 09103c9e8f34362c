package worker

import (
	"encoding/json"
	"fmt"
	"time"
)

// historyWait is how long the history service may take to answer.
const historyWait = 2 * time.Second

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
