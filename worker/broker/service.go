package broker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pushd/pushd/worker"
)

var (
	_ worker.ServiceBus = (*Client)(nil)
	_ worker.Numberer   = (*Client)(nil)
	_ worker.Assurer    = (*Client)(nil)
)

// A word to a service is who tells it, then what: a uvarint length and the
// identity, then the rest. With a reply subject it is a question.

func appendWord(b []byte, from string, data []byte) []byte {
	return append(appendString(b, from), data...)
}

func parseWord(b []byte) (from string, data []byte, err error) {
	r := reader{b: b}
	if from = r.string(); r.bad {
		return "", nil, fmt.Errorf("%w: word to a service", errEnvelope)
	}
	return from, r.b, nil
}

// Tell implements worker.ServiceBus.
func (c *Client) Tell(service, from string, data []byte) error {
	return c.word(c.subjects.serviceOf(service), "", from, data)
}

// TellAll implements worker.ServiceBus.
func (c *Client) TellAll(service, from string, data []byte) error {
	return c.word(c.subjects.allOf(service), "", from, data)
}

func (c *Client) word(subject, reply, from string, data []byte) error {
	raw := appendWord(make([]byte, 0, binary.MaxVarintLen64+len(from)+len(data)), from, data)
	if limit := min(MaxEnvelope, int(c.link.maxPayload.Load())); len(raw) > limit {
		return fmt.Errorf("%w: word of %d bytes to a service, the broker takes %d", worker.ErrTooLarge, len(raw), limit)
	}
	return c.put(item{subject: subject, reply: reply, raw: raw, queued: time.Now(), size: len(raw)})
}

// ordered reports whether a message goes to the service that gives it its place
// in the channel's history, which publishes it. What services publish does not.
func (c *Client) ordered(p *worker.Publication) bool {
	return p.Kind == worker.KindMessage && p.Scope == worker.ScopeChannel && !p.Local && !p.Unkept &&
		(p.Order != nil || c.o.Ordered != nil && c.o.Ordered(p.Target))
}

// order makes the word that tells the service. Of a channel with history that is the
// one of each node, since each publishes to its own, unless they share a log; of
// what comes for its key or version alone, this node's, which publishes to all.
func (c *Client) order(p *worker.Publication) item {
	subject := c.subjects.serviceOf(worker.HistoryService)
	if !c.o.SharedHistory && c.o.Ordered != nil && c.o.Ordered(p.Target) {
		subject = c.subjects.allOf(worker.HistoryService)
	}
	q := *p
	q.Publisher, q.Shard, q.Seq = c.id, worker.Shard(p.Scope, p.Target), c.moment() // which the service's own will replace
	raw := appendString(make([]byte, 0, binary.MaxVarintLen64+len(c.o.ID)+envelopeSize(&q)), c.o.ID)
	raw = appendEnvelope(raw, &q)
	return item{subject: subject, reply: p.Reply, raw: raw, queued: time.Now(), size: len(raw)}
}

// moment is the time in Unix microseconds, each time a later one. By it the services of
// several nodes agree on which message of a cache channel is the newest.
func (c *Client) moment() uint64 {
	for {
		was := c.lastMoment.Load()
		now := max(uint64(time.Now().UnixMicro()), was+1)
		if c.lastMoment.CompareAndSwap(was, now) {
			return now
		}
	}
}

// Shares reports whether one of the messages goes to the history that all nodes share,
// which may refuse what PublishAll has taken; PublishNumbered tells.
func (c *Client) Shares(ps []worker.Publication) bool {
	return c.o.SharedHistory && slices.ContainsFunc(ps, func(p worker.Publication) bool { return c.ordered(&p) })
}

// PublishNumbered implements worker.Numberer.
func (c *Client) PublishNumbered(ps []worker.Publication, wait time.Duration, done func([]worker.Numbered, bool)) error {
	r, missing := c.replies(2*len(ps)), map[int]bool{}
	for i := range ps {
		if c.ordered(&ps[i]) {
			ps[i].Reply, ps[i].Code = r.subject(i), worker.CodeNumberOnly
			missing[i] = true
		}
	}
	sure, err := c.publishSure(ps, len(missing) < len(ps))
	if err != nil {
		r.close()
		return err
	}
	go func() {
		defer r.close()
		said := make([]worker.Numbered, len(ps))
		t := time.NewTimer(wait)
		defer t.Stop()
		for len(missing) > 0 {
			select {
			case <-r.C:
				for _, a := range r.take() {
					if missing[a.question] && json.Unmarshal(a.Data, &said[a.question]) == nil {
						delete(missing, a.question) // the first of several nodes
					}
				}
				continue
			case <-t.C:
			case <-c.closed:
			}
			break
		}
		done(said, <-sure == nil && len(missing) == 0)
	}()
	return nil
}

// publishSure is PublishAll; the channel tells whether the bus has what no service
// answers to.
func (c *Client) publishSure(ps []worker.Publication, unanswered bool) (<-chan error, error) {
	sure := make(chan error, 1)
	if !unanswered {
		sure <- nil
		return sure, c.PublishAll(ps)
	}
	known, err := c.Assure(func() error { return c.PublishAll(ps) }, func(err error) { sure <- err })
	if known {
		sure <- nil
	}
	return sure, err
}

// AskService implements worker.ServiceBus.
func (c *Client) AskService(service, from string, data []byte, wait time.Duration, done func(worker.Answer, error)) error {
	r := c.replies(1)
	if err := c.word(c.subjects.serviceOf(service), r.subject(0), from, data); err != nil {
		r.close()
		return err
	}
	go func() {
		defer r.close()
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-r.C:
			done(r.take()[0].Answer, nil)
		case <-t.C:
			done(worker.Answer{}, worker.ErrNoAnswer)
		case <-c.closed:
			done(worker.Answer{}, worker.ErrBrokerAway)
		}
	}()
	return nil
}
