package worker

import (
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/record"
)

// Published is a message on its way to clients, for OnPosition and OnEvent.
type Published struct {
	Channel  string           // "" of what is for no channel: a user, a connection
	Position history.Position // zero in a channel without history
	Prev     uint64           // offset of the message before it in the channel, 0 = none that is known
	Message  Message
	// Partial says that a join of the connection waits for its history: were it to
	// come back with this position, what it has missed of that channel would stay
	// unknown to it.
	Partial bool
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

// teller returns the route that words a publication for c, nil if it is sent as it
// is. A message is made once for all connections of a route.
func (c *Conn) teller(p *Publication) *route {
	switch rt := c.route; {
	case c.transport.events && rt.onEvent != nil:
		return rt
	case c.transport.events || rt.onPosition == nil || c.more == nil:
	case c.transport.collect != nil:
		return rt
	case (p.Stamp != nil || p.Kind == KindRecovery) && c.Positions():
		return rt
	}
	return nil
}

// stamped returns the message as clients get it that are told positions.
func (r *route) stamped(c *Conn, p *Published) (m Message) {
	defer c.loop.contain("OnPosition", nil)
	m = p.Message // should it panic
	return r.onPosition(p)
}

// event returns the message as clients of streams get it.
func (r *route) event(c *Conn, p *Published) (e Event) {
	defer c.loop.contain("OnEvent", nil)
	e.Data = p.Message.Data // should it panic
	return r.onEvent(p)
}

// Recovering reports whether a join of the connection waits for its history.
func (c *Conn) Recovering() bool { return c.joins() }

// joins reports whether a join of c waits.
func (c *Conn) joins() bool { return len(c.loop.recall.of) > 0 && len(c.loop.recall.of[c]) > 0 }

// recalls reports whether the record of c has what version 3 has.
func (c *Conn) recalls() bool { return c.joins() || c.Positions() }
