package worker

import (
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/record"
)

// Published is a message of a channel with history, for OnPosition.
type Published struct {
	Channel  string
	Position history.Position
	Prev     uint64 // offset of the message before it in the channel, 0 = none that is known
	Message  Message
}

// SetPositions says whether the client is to be told the position of each
// message of a channel with history: it then gets what the handler's OnPosition
// makes of it, in place of the message. It moves with the connection.
func (c *Conn) SetPositions(on bool) {
	value := ""
	if on {
		value = "1"
	}
	c.remember(record.Positions, "", value)
}

// Positions reports whether SetPositions is on.
func (c *Conn) Positions() bool { return c.more != nil && c.text(record.Positions, "") != "" }

// stamper returns the route that tells c positions, nil if it is told none. A
// message is made once for all connections of a route.
func (c *Conn) stamper() *route {
	if c.more == nil || c.route.onPosition == nil || !c.Positions() {
		return nil
	}
	return c.route
}

// stamped returns the message as clients get it that are told positions.
func (r *route) stamped(c *Conn, p *Published) (m Message) {
	defer c.loop.contain("OnPosition", nil)
	m = p.Message // should it panic
	return r.onPosition(p)
}

// recalls reports whether the record of c has what version 3 has.
func (c *Conn) recalls() bool {
	return len(c.loop.recall.of) > 0 && len(c.loop.recall.of[c]) > 0 || c.Positions()
}
