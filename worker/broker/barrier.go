package broker

import "time"

// barrierLimit is how long a barrier waits for the broker; then nobody is told.
const barrierLimit = 5 * time.Second

// Barrier implements worker.Broker. It is a round trip of the connection's own,
// which the broker answers in the order in which it delivers, so that no other
// client hears of it; and then a mark in the queue of each subscription.
func (c *Client) Barrier(arrived bool, reached func()) error {
	return c.put(item{queued: time.Now(), barrier: func() {
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
