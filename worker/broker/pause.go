package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
)

// pauseLimit ends a pause that nobody ends. It is longer than a large history takes
// from one broker process to the next: what was sent before would be lost.
const pauseLimit = 20 * time.Second

var _ worker.Pauser = (*Client)(nil)

// Pause implements worker.Pauser.
func (c *Client) Pause(ctx context.Context) error {
	if !c.running.Load() {
		return errors.New("broker client does not run")
	}
	for !c.sender.turn.TryLock() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("pause broker client: it is still sending: %w", context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	c.sender.paused.Store(true)
	c.sender.limit = time.AfterFunc(pauseLimit, c.Proceed)
	c.link.joined.Store(c.link.joins.Load())
	return c.Drain(ctx)
}

// Drain implements worker.Pauser: a round trip through the broker, which
// answers in the order in which it delivers.
func (c *Client) Drain(ctx context.Context) error {
	if err := c.link.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush broker client: %w", err)
	}
	return nil
}

// Rejoin implements worker.Pauser.
func (c *Client) Rejoin(ctx context.Context) error {
	if c.o.URL != "" {
		return nil // the cluster is not what is replaced
	}
	for c.link.joins.Load() == c.link.joined.Load() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("reconnect to the new broker: %w", context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return c.Drain(ctx) // the subscriptions went first
}

// Proceed implements worker.Pauser.
func (c *Client) Proceed() {
	if c.sender.paused.CompareAndSwap(true, false) {
		c.sender.limit.Stop()
		c.sender.turn.Unlock()
	}
}
