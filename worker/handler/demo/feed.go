package demo

import (
	"encoding/json"
	"time"

	"github.com/pushd/pushd/worker"
)

// period of the counters.
const period = time.Second

// feed sends the counters of all processes to the pages that are open. The
// other processes are asked only while there are any. All of it is the loop's.
type feed struct {
	w      *worker.Worker
	pages  map[*worker.Conn]struct{}
	ticker *worker.Timer // nil: nobody watches
	asking bool          // answers are due
}

// counters is what a page gets each period.
type counters struct {
	Workers []process `json:"workers"`
	// Complete is false when the broker is away, and with it the others' counters.
	Complete bool `json:"complete"`
}

// process is a worker process, in the words of `status --json`.
type process struct {
	Name        string `json:"name"`
	Slot        int    `json:"slot"`
	Generation  int    `json:"generation"`
	Connections int    `json:"connections"`
	MessagesIn  uint64 `json:"messages_in"`
	MessagesOut uint64 `json:"messages_out"`
}

func (f *feed) add(c *worker.Conn) {
	if f.pages == nil {
		f.pages = map[*worker.Conn]struct{}{}
	}
	f.pages[c] = struct{}{}
	if f.ticker == nil {
		f.ticker = f.w.Every(period, f.ask)
	}
	f.ask() // a page that opens does not wait for the next period
}

func (f *feed) remove(c *worker.Conn) {
	delete(f.pages, c)
	if len(f.pages) == 0 && f.ticker != nil {
		f.ticker.Stop()
		f.ticker = nil
	}
}

// ask starts a round, unless one is under way.
func (f *feed) ask() {
	if f.asking {
		return
	}
	err := f.w.StatsAll(func(all []worker.ProcessStats) {
		f.asking = false
		f.send(f.withOwn(all))
	})
	if err != nil {
		f.send(f.withOwn(nil))
		return
	}
	f.asking = true
}

// withOwn adds the counters of this process, should its answer be missing: then
// the broker is away, and so are the others' answers.
func (f *feed) withOwn(all []worker.ProcessStats) (_ []worker.ProcessStats, complete bool) {
	own := worker.ProcessStats{Name: f.w.Name, Slot: f.w.Slot(), Generation: f.w.Generation()}
	for i := range all {
		if s := &all[i]; s.Name == own.Name && s.Slot == own.Slot && s.Generation == own.Generation {
			return all, true
		}
	}
	own.Stats = f.w.Stats()
	return append(all, own), false
}

// send passes the counters on. A page that reads slowly misses some: only the
// newest matter.
func (f *feed) send(all []worker.ProcessStats, complete bool) {
	n := counters{Workers: make([]process, len(all)), Complete: complete}
	for i := range all {
		s := &all[i]
		n.Workers[i] = process{
			Name: s.Name, Slot: s.Slot, Generation: s.Generation,
			Connections: s.Connections, MessagesIn: s.MessagesIn, MessagesOut: s.MessagesOut,
		}
	}
	text, err := json.Marshal(n)
	if err != nil {
		return // plain values: cannot happen
	}
	for c := range f.pages {
		if c.QueueBytes() == 0 {
			_ = c.Send(worker.Message{Data: text})
		}
	}
}
