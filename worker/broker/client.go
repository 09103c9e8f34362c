// Package broker carries publications between the processes of pushd over
// NATS: Server is the one embedded in the broker process, Client the end that
// each worker, and the API, holds. It implements worker.Broker.
//
// Core NATS gives neither sequence numbers nor an order between publishers, so
// each publication carries its publisher and, per shard, a number. A receiver
// gets what one publisher sends to one shard in order and at most once, and
// knows what it has missed.
package broker

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/worker"
)

// closeLimit is how long Close waits for queued publications to be sent.
const closeLimit = time.Second

var _ worker.Broker = (*Client)(nil)

// Client is one end of the bus. Publish, PublishAll, Gather, Answer
// and Stats may be called by any goroutine and never block.
type Client struct {
	o        Options
	id       uint64 // Publisher of everything sent from here
	subjects *subjects
	queue    *queue
	link     *link
	sender   *sender
	receiver *receiver
	asker    *asker
	roster   *roster

	started atomic.Bool // Start was called, or Close
	running atomic.Bool // the sender runs
	closing sync.Once
	closed  chan struct{} // closed by Close
	counts  counters

	lastMoment atomic.Uint64
}

// counters back worker.BrokerStats.
type counters struct {
	published, refused, expired, received, gaps atomic.Uint64
}

// NewClient checks o. Nothing is connected before Start.
func NewClient(o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{o: o, id: randomID(), queue: newQueue(o.QueueItems, o.QueueBytes), link: newLink(o.Logger), roster: newRoster(), closed: make(chan struct{})}
	c.subjects = newSubjects(o.Prefix, o.Node, c.id)
	c.link.rights.prefix = o.Prefix
	c.sender = newSender(c)
	return c, nil
}

// randomID names a publisher. 64 random bits: two clients never share one.
func randomID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// Start connects, for at most Options.StartTimeout, and subscribes. When it
// returns, everything published from then on by any process will be delivered
// to in. A nil in makes a client that publishes and asks, but receives nothing
// except replies.
func (c *Client) Start(in worker.Inbox) error {
	if !c.started.CompareAndSwap(false, true) {
		return errors.New("broker: client is started twice or closed")
	}
	if err := c.link.connect(&c.o); err != nil {
		return err
	}
	if c.link.pool != nil {
		go c.link.watch(&c.sender.turn)
	}
	if err := c.subscribe(in); err != nil {
		c.link.cut()
		c.link.nc.Close()
		return fmt.Errorf("subscribe at broker %s: %w", c.o.where(), err)
	}
	c.running.Store(true)
	go c.sender.run()
	return nil
}

// subscribe returns once the broker has confirmed the subscriptions.
func (c *Client) subscribe(in worker.Inbox) error {
	nc := c.link.nc
	c.asker = newAsker(c.subjects.replies)
	err := c.asker.subscribe(nc)
	if err == nil && in != nil {
		c.receiver = newReceiver(in, c.subjects, &c.counts, c.o.Logger, c.link.nudge)
		if c.o.SharedHistory {
			c.receiver.stray = strays{kept: c.o.Ordered, told: map[string]bool{}, tell: func(word []byte) error {
				return c.word(c.subjects.serviceOf(worker.HistoryService), "", c.o.ID, word)
			}}
		}
		err = c.receiver.subscribe(nc, &c.o)
	}
	if err != nil {
		return err
	}
	if err = c.link.confirmed(c.o.StartTimeout); err == nil && c.receiver != nil {
		c.receiver.subscribed()
	}
	return err
}

// Publish implements worker.Broker. It also returns worker.ErrTooLarge for a
// publication over MaxEnvelope, or over the max_payload of an external cluster.
func (c *Client) Publish(p *worker.Publication) error {
	it, err := c.publication(p)
	if err != nil {
		return err
	}
	return c.put(it)
}

// PublishAll queues all of ps in order or, with an error, none of them.
func (c *Client) PublishAll(ps []worker.Publication) error {
	items := make([]item, len(ps))
	for i := range ps {
		it, err := c.publication(&ps[i])
		if err != nil {
			return err
		}
		items[i] = it
	}
	return c.put(items...)
}

func (c *Client) publication(p *worker.Publication) (item, error) {
	size := envelopeSize(p)
	if limit := min(MaxEnvelope, int(c.link.maxPayload.Load())); size > limit {
		c.counts.refused.Add(1)
		return item{}, fmt.Errorf("%w: %d bytes with its address, the broker takes %d", worker.ErrTooLarge, size, limit)
	}
	if c.ordered(p) {
		return c.order(p), nil
	}
	return item{pub: *p, queued: time.Now(), size: size}, nil
}

// query asks all workers. q.Reply takes the answers. Errors: ErrBrokerBusy,
// ErrBrokerAway, ErrTooLarge.
func (c *Client) query(q worker.BusQuery) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode query %q: %w", q.What, err)
	}
	if limit := min(MaxEnvelope, int(c.link.maxPayload.Load())); len(raw) > limit {
		return fmt.Errorf("%w: query %q of %d bytes, the broker takes %d", worker.ErrTooLarge, q.What, len(raw), limit)
	}
	return c.put(item{subject: c.subjects.query, reply: q.Reply, raw: raw, queued: time.Now(), size: len(raw)})
}

// Answer implements worker.Broker.
func (c *Client) Answer(reply string, a worker.Answer) {
	if reply == "" {
		return // nobody asked
	}
	raw, err := json.Marshal(a)
	if err != nil {
		raw, _ = json.Marshal(worker.Answer{Worker: a.Worker, Error: "answer cannot be encoded: " + err.Error()})
	}
	c.put(item{subject: reply, raw: raw, queued: time.Now(), size: len(raw)})
}

func (c *Client) put(items ...item) error {
	if c.link.lost() || c.sender.stuck() {
		c.counts.refused.Add(uint64(len(items)))
		return worker.ErrBrokerAway
	}
	if !c.queue.put(items...) {
		c.counts.refused.Add(uint64(len(items)))
		return worker.ErrBrokerBusy
	}
	return nil
}

// Stats implements worker.Broker.
func (c *Client) Stats() worker.BrokerStats {
	n := &c.counts
	return worker.BrokerStats{
		Published: n.published.Load(),
		Refused:   n.refused.Load(),
		Expired:   n.expired.Load(),
		Received:  n.received.Load(),
		Gaps:      n.gaps.Load(),
		Connected: c.link.up() && !c.sender.stuck(),
	}
}

// Close sends what is queued, for at most a second, and disconnects. A Deliver
// under way may still return after it; none begins.
func (c *Client) Close() error {
	c.closing.Do(func() {
		close(c.closed)
		c.queue.close()
		if c.started.Swap(true) && c.running.Load() {
			c.shutdown()
		}
	})
	return nil
}

func (c *Client) shutdown() {
	c.Proceed()
	if c.receiver != nil {
		c.receiver.closed.Store(true)
	}
	limit := time.AfterFunc(closeLimit, func() {
		c.sender.abandon()
		c.link.cut() // ends a write, flush or dial that holds up nats.go
	})
	c.sender.finish()
	if limit.Stop() {
		c.link.nc.FlushTimeout(closeLimit)
		c.link.cut()
	}
	c.link.nc.Close()
}
