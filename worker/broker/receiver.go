package broker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/seldom"
)

// batchMax is the longest slice given to Inbox.Deliver.
const batchMax = 256

// receiver feeds an Inbox. All shards arrive through one subscription, hence in
// one order and one bounded queue, which nats.go keeps.
//
// To the Inbox it promises, of each publisher and shard: every number once, in
// order, and a gap for what is missing, told before anything that came after it.
// A number that was had already is dropped here. What nats.go drops for want of room shows as a
// gap too, as soon as the next number or the publisher's announcement comes; so
// nothing else counts losses.
//
// The Inbox is called under mu, by one goroutine at a time: that of the stream, of
// the queries, or of whoever calls empty. It may block, for which the queue is there.
type receiver struct {
	in     worker.Inbox
	subj   *subjects
	counts *counters
	log    *slog.Logger
	broken seldom.Limit
	closed atomic.Bool
	met    func() // a publisher was heard for the first time: it may not know us

	mu    sync.Mutex // held while the Inbox works
	since time.Time  // of the first subscription; before that nobody spoke to us
	seqs  *sequences
	stray strays
	batch []worker.Publication // decoded, not delivered
}

func newReceiver(in worker.Inbox, s *subjects, counts *counters, log *slog.Logger, met func()) *receiver {
	return &receiver{in: in, subj: s, counts: counts, log: log, seqs: newSequences(), met: met}
}

// subscribe asks for the stream and the questions at a server. Numbers go on where
// they were, whichever server it is.
func (r *receiver) subscribe(nc *nats.Conn, o *Options) error {
	s := r.subj
	stream, err := nc.Subscribe(s.stream, r.onPublication)
	if err != nil {
		return fmt.Errorf("%s: %w", s.stream, err)
	}
	if err := stream.SetPendingLimits(o.InboxItems, o.InboxBytes); err != nil {
		return fmt.Errorf("%s: %w", s.stream, err)
	}
	queries, err := nc.Subscribe(s.query, r.onQuery)
	if err == nil {
		err = queries.SetPendingLimits(1024, 1<<20)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.query, err)
	}
	return nil
}

// onPublication runs on the stream's goroutine. It delivers when nothing further
// waits, so that a batch costs no delay: alone, a publication is a batch.
func (r *receiver) onPublication(m *nats.Msg) {
	if r.closed.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(m)
	// The message in hand still counts as pending: one means none behind it.
	if pending, _, err := m.Sub.Pending(); len(r.batch) == batchMax || pending <= 1 || err != nil {
		r.flush()
	}
}

// take decodes m and, if it is new, appends it to the batch. The numbers of what
// services of other nodes publish count like all others, though nobody here gets it:
// its publisher's numbers go on behind it. The batch keeps parts of m.Data, which
// nats.go does not use again.
func (r *receiver) take(m *nats.Msg) {
	p, err := parseEnvelope(m.Data)
	if err != nil {
		if r.broken.Allow(time.Now()) {
			r.log.Warn("publication ignored", "error", err)
		}
		return
	}
	now := time.Now()
	r.seqs.sweep(now)
	src := source{p.Publisher, p.Shard}
	if p.Kind == kindPosition {
		r.announced(&p, now)
		return
	}
	fresh, missing := r.seqs.advance(src, p.Seq, now)
	r.gap(src, missing)
	if !fresh || r.subj.foreign(m.Subject) {
		return
	}
	p.Reply = m.Reply
	r.stray.look(&p, r.subj.isLocal(m.Subject))
	r.batch = append(r.batch, p)
	r.counts.received.Add(1)
}

// announced compares what a publisher says it has sent with what has come. It comes
// on the same subject, behind what it announces. One that says all its positions is
// heard whole: from then on the loss of even the first of a shard is noticed.
func (r *receiver) announced(p *worker.Publication, now time.Time) {
	settle := func(shard uint8, seq uint64) {
		src := source{p.Publisher, shard}
		r.gap(src, r.seqs.settle(src, seq, now))
	}
	if age, ok := parseAge(p.Data); ok && !r.since.IsZero() && age+ageMargin < now.Sub(r.since) {
		r.seqs.younger(p.Publisher, now, func(shard uint8, n uint64) { r.gap(source{p.Publisher, shard}, n) })
	}
	settle(p.Shard, p.Seq)
	if p.Target != wholeTarget {
		return
	}
	parsePositions(p.Data, settle)
	if r.seqs.complete(p.Publisher, now) {
		r.met()
	}
}

// ageMargin is how much younger than our subscription a publisher has to be, to have
// begun after it: its word was on its way for a while.
const ageMargin = 3 * time.Second

// subscribed is told when the first server has confirmed the subscriptions.
func (r *receiver) subscribed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Now()
}

// Heard implements worker.Stander.
func (c *Client) Heard(each func(publisher uint64, shard uint8, seq uint64)) {
	r := c.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	r.seqs.each(func(src source, seq uint64) { each(src.Publisher, src.Shard, seq) })
}

// Expect implements worker.Stander.
func (c *Client) Expect(publisher uint64, shard uint8, seq uint64) {
	r := c.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	src := source{publisher, shard}
	r.gap(src, r.seqs.expect(src, seq, time.Now()))
}

// gap reports a loss, after what came before it.
func (r *receiver) gap(src source, missing uint64) {
	if missing == 0 {
		return
	}
	r.flush()
	r.counts.gaps.Add(missing)
	r.in.Gap(src.Publisher, src.Shard, missing)
}

// flush delivers the batch. The slice is used again, what is in it is not.
func (r *receiver) flush() {
	if len(r.batch) == 0 {
		return
	}
	r.in.Deliver(r.batch)
	clear(r.batch)
	r.batch = r.batch[:0]
}

// onQuery runs on the goroutine of the query subject. What was decoded before it is
// delivered before it; beyond that there is no order between a question and the
// stream.
func (r *receiver) onQuery(m *nats.Msg) {
	if r.closed.Load() {
		return
	}
	var q worker.BusQuery
	if err := json.Unmarshal(m.Data, &q); err != nil {
		if r.broken.Allow(time.Now()) {
			r.log.Warn("query ignored", "error", err)
		}
		return
	}
	q.Reply = m.Reply
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	r.in.Query(q)
}

// empty delivers what has been decoded; a pause of the bus waits for that.
func (r *receiver) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
}
