package broker

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// barrierLimit is how long a barrier waits for the broker; then nobody is told.
const barrierLimit = 5 * time.Second

// Barrier implements worker.Broker. It is a round trip of the connection's own,
// which the broker answers in the order in which it delivers, so that no other
// client hears of it; and then a mark in the queue of each subscription.
func (c *Client) Barrier(arrived bool, reached func()) error {
	return c.put(item{queued: time.Now(), mark: func(err error) {
		if err != nil {
			return
		}
		nc := c.link.nc
		go func() {
			switch err := nc.FlushTimeout(barrierLimit); {
			case err != nil: // whoever waits asks again
			case arrived:
				_ = nc.Barrier(func() { c.receiver.empty(); reached() }) // fails when closed
			default:
				reached()
			}
		}()
	}})
}

// Server implements worker.Stander.
func (c *Client) Server() string {
	if id := c.link.serverID.Load(); id != nil {
		return *id
	}
	return ""
}

// Everywhere implements worker.Stander. What is published and the question come to each
// process by one way, and nats.go has put the one into its queue before it hands over
// the other; the same holds for words to services and answers, for which the Hosts
// answer. So whoever has answered gets nothing before it that is sent later.
func (c *Client) Everywhere(wait time.Duration, done func(all bool)) error {
	g := c.gather(1, Who{})
	g.hosts = true
	return g.run(worker.BusQuery{What: worker.EverywhereQuestion}, wait, func(_ []worker.Answer, all bool) { done(all) })
}
