package broker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
)

var _ worker.ServiceBus = (*Client)(nil)

// maxAnswers bounds what one question of Gather collects: more processes than
// there may be on many nodes.
const maxAnswers = 64 << 10

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

// AskService implements worker.ServiceBus.
func (c *Client) AskService(service, from string, data []byte, wait time.Duration, done func(worker.Answer, error)) error {
	replies := c.Replies(1)
	if err := c.word(c.subjects.serviceOf(service), replies.Subject(0), from, data); err != nil {
		replies.Close()
		return err
	}
	go func() {
		defer replies.Close()
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-replies.C:
			done(replies.Take()[0].Answer, nil)
		case <-t.C:
			done(worker.Answer{}, worker.ErrNoAnswer)
		case <-c.closed:
			done(worker.Answer{}, worker.ErrBrokerAway)
		}
	}()
	return nil
}

// Gather implements worker.ServiceBus. The Host of the broker process answers
// of this node answers too, with the roster of all nodes: so it is known who
// must answer, and nobody waits longer than for the last of them.
func (c *Client) Gather(q worker.BusQuery, wait time.Duration, done func([]worker.Answer, bool)) error {
	replies := c.Replies(maxAnswers)
	q.Reply, q.Roster = replies.Subject(0), true
	if err := c.Query(q, ""); err != nil {
		replies.Close()
		return err
	}
	go func() {
		defer replies.Close()
		t := time.NewTimer(wait)
		defer t.Stop()
		g := gathering{host: rosterOf(c.o.Node)}
		for !g.complete() {
			select {
			case <-replies.C:
				for _, r := range replies.Take() {
					g.take(r.Answer)
				}
				continue
			case <-t.C:
			case <-c.closed:
			}
			break
		}
		done(g.answers, g.complete())
	}()
	return nil
}

// gathering is what has been answered so far.
type gathering struct {
	host    string // who tells the roster
	answers []worker.Answer
	roster  []string // nil: not known yet
}

func (g *gathering) take(a worker.Answer) {
	if a.Worker == g.host {
		_ = json.Unmarshal(a.Data, &g.roster) // one that cannot be read leaves it incomplete
	}
	if _, ok := control.ParseIdentity(a.Worker); !ok {
		return // the host of another node
	}
	g.answers = append(g.answers, a)
}

// complete reports whether all on the roster have answered.
func (g *gathering) complete() bool {
	if g.roster == nil || len(g.answers) < len(g.roster) {
		return false
	}
	has := make(map[string]bool, len(g.answers))
	for i := range g.answers {
		has[g.answers[i].Worker] = true
	}
	for _, name := range g.roster {
		if !has[name] {
			return false
		}
	}
	return true
}
