package workertest

import (
	"strconv"
	"time"

	"github.com/pushd/pushd/worker"
)

// Bus carries publications between the servers of a test, in the place of the
// broker process. Give the same one to several by Options to have them be
// processes of one group. There are no services on it: Tell and Ask fail with
// worker.ErrNoServices.
type Bus struct {
	servers   []*Server
	queue     []worker.Publication // not delivered yet
	seq       [worker.Shards]uint64
	refuse    error
	lose      bool
	questions int
	asked     map[string]func(worker.Answer) // open questions, by their reply subjects
}

// Refuse makes everything that is published fail with err, such as
// worker.ErrBrokerBusy; nil ends that.
func (b *Bus) Refuse(err error) { b.refuse = err }

// Lose makes everything that is published be taken and go nowhere, as with a
// broker process that is killed; false ends that.
func (b *Bus) Lose(all bool) { b.lose = all }

// deliver hands over what is queued and reports whether there was any.
func (b *Bus) deliver() bool {
	batch := b.queue
	b.queue = nil
	for _, s := range b.servers {
		if len(batch) > 0 {
			s.end.in.Deliver(append([]worker.Publication(nil), batch...))
		}
	}
	return len(batch) > 0
}

// end is one server's end of a Bus.
type end struct {
	bus *Bus
	in  worker.Inbox
}

var _ worker.Broker = (*end)(nil)

func (e *end) Start(in worker.Inbox) error {
	e.in = in
	return nil
}

func (e *end) Publish(p *worker.Publication) error { return e.PublishAll([]worker.Publication{*p}) }

func (e *end) PublishAll(ps []worker.Publication) error {
	b := e.bus
	if b.refuse != nil {
		return b.refuse
	}
	for _, p := range ps {
		p.Publisher, p.Shard = 1, worker.Shard(p.Scope, p.Target)
		b.seq[p.Shard]++
		if p.Seq = b.seq[p.Shard]; !b.lose {
			b.queue = append(b.queue, p)
		}
	}
	return nil
}

func (e *end) Barrier(_ bool, reached func()) error {
	e.bus.deliver()
	reached()
	return nil
}

func (e *end) Answer(reply string, a worker.Answer) {
	if take := e.bus.asked[reply]; take != nil {
		take(a)
	}
}

func (e *end) Stats() worker.BrokerStats { return worker.BrokerStats{Connected: true} }
func (e *end) Close() error              { return nil }

func (e *end) Tell(string, string, []byte) error    { return worker.ErrNoServices }
func (e *end) TellAll(string, string, []byte) error { return worker.ErrNoServices }
func (e *end) AskService(string, string, []byte, time.Duration, func(worker.Answer, error)) error {
	return worker.ErrNoServices
}

// Gather asks every server of the bus. Those answer in turns of their own.
func (e *end) Gather(q worker.BusQuery, _ time.Duration, done func([]worker.Answer, bool)) error {
	b := e.bus
	if b.refuse != nil {
		return b.refuse
	}
	if b.asked == nil {
		b.asked = map[string]func(worker.Answer){}
	}
	b.questions++
	q.Reply = strconv.Itoa(b.questions)
	var answers []worker.Answer
	want := len(b.servers)
	b.asked[q.Reply] = func(a worker.Answer) {
		if answers = append(answers, a); len(answers) == want {
			delete(b.asked, q.Reply)
			done(answers, true)
		}
	}
	for _, s := range b.servers {
		s.end.in.Query(q)
	}
	return nil
}
