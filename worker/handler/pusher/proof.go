package pusher

import (
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// Pusher calls it "authorized connections": a client that has not shown within
// anonymous_timeout that a back end knows it, by a sign-in or by a channel that
// is signed for, is closed. Only apps with the option pay for it: a timer of the
// connection.

// expectProof begins the time of a new connection.
func (h *Handler) expectProof(c *worker.Conn, a *app, wait time.Duration) {
	if a.AnonymousTimeout == 0 {
		return
	}
	c.After(wait, func() {
		if a.proven(c) {
			return
		}
		h.refuse(c, "neither signed in nor in a private channel within anonymous_timeout", "app", a.ID, "connection", c.ID())
		const why = "the connection was not authorized in time"
		_ = c.Send(worker.Message{Data: wire.Error(wire.CodeUnauthorized, why)})
		c.Close(wire.CodeUnauthorized, why)
	})
}

// resumeProof goes on with what is left of the time; timers do not move. One
// whose end came on the way, and one that a new config asks for, begins anew.
func (h *Handler) resumeProof(c *worker.Conn, a *app) {
	left := a.AnonymousTimeout - h.w.Now().Sub(c.Since())
	if left <= 0 || left > a.AnonymousTimeout { // longer: the clock was set back
		left = a.AnonymousTimeout
	}
	if !a.proven(c) {
		h.expectProof(c, a, left)
	}
}

// proven reports whether a back end knows the connection.
func (a *app) proven(c *worker.Conn) bool {
	if c.Get(userKey) != "" || c.Get(provenKey) != "" {
		return true
	}
	for _, name := range c.Channels() {
		if channel, _, ok := a.subscription(name); ok && wire.NeedsAuth(channel) {
			return true
		}
	}
	return false
}

// keepProof remembers that a connection had a private channel which it leaves.
func (a *app) keepProof(c *worker.Conn, channel string) {
	if a.AnonymousTimeout > 0 && wire.NeedsAuth(channel) && c.Get(userKey) == "" {
		_ = c.Set(provenKey, "1") // one whose session values are full has shown enough
	}
}
