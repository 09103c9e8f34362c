package sequencer

import (
	"cmp"
	"encoding/json"
	"errors"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// Bounds of one page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxPage      = 512 << 10 // bytes, with history.MessageCost for each message
)

// Ask implements worker.Service: see worker.HistoryQuestion.
func (s *Sequencer) Ask(_ string, data []byte, answer func([]byte, error)) {
	var q worker.HistoryQuestion
	if err := json.Unmarshal(data, &q); err != nil {
		answer(nil, err)
		return
	}
	switch {
	case q.Read != nil:
		s.store.read(q.Read, answer)
	case q.Purge != nil:
		s.store.purge(q.Purge, answer)
	default:
		answer(nil, errors.New("the history does not know the question"))
	}
}

// page reads what is kept of a channel.
func (s *Sequencer) page(q *worker.HistoryQuery) worker.HistoryPage {
	app, now := s.env.Apps.Of(q.Channel), s.now()
	const all = 1 << 40
	var a history.Answer
	switch {
	case q.After == (history.Position{}):
		a = s.rings.Last(app, q.Channel, all, all, now)
	case q.Kept:
		a = s.rings.Kept(app, q.Channel, q.After, now)
	default:
		a = s.rings.From(app, q.Channel, q.After, all, now)
	}
	page := worker.HistoryPage{Now: a.Position, Messages: []worker.HistoryMessage{}}
	if page.Reason = a.Reason.String(); a.Reason != history.Whole {
		return page
	}
	page.First, page.Last = s.rings.First(app, q.Channel, now)
	t := taker{page: &page, left: maxPage, limit: min(max(q.Limit, 0), maxLimit)}
	if t.limit == 0 {
		t.limit = defaultLimit
	}
	visit := a.Each
	if q.Newest {
		visit = a.EachBack
	}
	visit(func(m history.Message) {
		if q.Before == 0 || m.Offset < q.Before {
			t.take(m)
		}
	})
	return page
}

// taker fills a page.
type taker struct {
	page        *worker.HistoryPage
	left, limit int
}

func (t *taker) take(m history.Message) {
	cost := len(m.Data) + history.MessageCost
	if t.page.More || len(t.page.Messages) == t.limit || cost > t.left && len(t.page.Messages) > 0 {
		t.page.More = true
		return
	}
	t.left -= cost
	t.page.Messages = append(t.page.Messages, worker.HistoryMessage{
		Offset: m.Offset, Time: m.Time, Binary: m.Kind == history.Binary, Data: append([]byte{}, m.Data...),
	})
}

// purge takes messages from the rings of this process, and returns their number.
func (s *Sequencer) purge(q *worker.HistoryPurge) (n int) {
	s.store.ready()
	app := s.env.Apps.Of(q.Channel)
	s.store.note(func(b []byte) []byte { return s.rings.AppendPurge(b, app, q.Channel, q.Offset) })
	if q.Offset == 0 {
		return s.rings.Purge(app, q.Channel)
	}
	if s.rings.PurgeOne(app, q.Channel, q.Offset) {
		n = 1
	}
	return n
}

// State implements worker.StatefulService.
func (s *Sequencer) State() string { return s.store.says() }

// awayMetric says whether messages are refused.
func awayMetric(away bool) worker.Metric {
	return worker.Metric{
		Name: "history_away", Help: "1 while nothing can be published into channels with history: what all nodes share is away, being read, or full.",
		Number: map[bool]float64{true: 1}[away],
	}
}

// Absent implements worker.AbsentService: a service that does not get to it takes nothing.
func (s *Sequencer) Absent(emit func(worker.Metric)) {
	emit(awayMetric(s.env.Channels.Ordered() != nil))
}

// Metrics implements worker.MetricsService.
func (s *Sequencer) Metrics(emit func(worker.Metric)) {
	c, disk := s.rings.Counts(), s.store.disk()
	gauge := func(name, help string, n int) { emit(worker.Metric{Name: name, Help: help, Number: float64(n)}) }
	count := func(name, help string, n uint64) {
		emit(worker.Metric{Name: name, Help: help, Counter: true, Number: float64(n)})
	}
	gauge("history_channels", "Channels of which history is kept.", c.Channels)
	gauge("history_messages", "Messages that are kept.", c.Messages)
	gauge("history_bytes", "Memory that they take, about.", c.Bytes)
	emit(awayMetric(s.store.refuses()))
	gauge("history_behind", "Messages of what all nodes share that were still to be read here, as the last one said.", int(s.store.behind()))
	gauge("history_disk_bytes", "Bytes of history on the disk.", disk.bytes)
	gauge("history_disk_failed", "1 while the disk does not take the history.", map[bool]int{true: 1}[disk.failed])
	count("history_disk_written_total", "Bytes of history that were written to the disk, again or for the first time.", disk.wrote)
	count("history_numbered_total", "Messages of channels with history.", c.Numbered)
	count("history_evicted_total", "Messages that went before their time for want of memory.", c.Evicted)
	for reason, n := range s.counts.recoveries {
		emit(worker.Metric{
			Name: "recoveries_total", Help: "Answers to clients that came back with a position: recovered, or why not.", Counter: true,
			Label: "result", Value: cmp.Or(history.Reason(reason).String(), "recovered"), Number: float64(n),
		})
	}
	count("history_repeated_total", "Publishes whose idempotency key was known.", s.counts.repeated)
	count("history_outdated_total", "Publishes whose version was not new.", s.counts.outdated)
	count("history_keys_dropped_total", "Idempotency keys and versions that went before their time for want of room.", s.counts.keysEarly+s.counts.versEarly)
}
