package worker

import (
	"fmt"

	"github.com/pushd/pushd/protocol/websocket"
)

// rates counts what connections have sent in this second, where max_rate is set.
// Who has sent nothing in it is not there, and nothing of it moves to another
// process.
type rates struct {
	second   uint32
	messages map[ID]int
}

// next counts one more message of the second that began last.
func (r *rates) next(second uint32, id ID) int {
	if r.messages == nil {
		r.messages = map[ID]int{}
	}
	if r.second != second {
		r.second = second
		clear(r.messages)
	}
	r.messages[id]++
	return r.messages[id]
}

// withinRate counts a message that begins against max_rate, before
// anything is spent on it. With false the connection is at its end.
func (c *Conn) withinRate() bool {
	limit := c.loop.w.Limits.MaxRate
	if limit == 0 {
		return true
	}
	if c.loop.counts.rates.next(seconds(c.loop.now), c.id) <= limit {
		return true
	}
	c.tooFast("max_rate", limit, "too many messages")
	return false
}

// withinControlRate counts a control frame against max_control_rate.
func (c *Conn) withinControlRate() bool {
	limit := c.loop.w.Limits.MaxControlRate
	if limit == 0 {
		return true
	}
	if s := c.lastRecv << 16; c.control&0xffff0000 != s {
		c.control = s
	}
	if n := int(c.control & 0xffff); n >= limit {
		c.tooFast("max_control_rate", limit, "too many control frames")
		return false
	}
	c.control++
	return true
}

// tooFast ends a connection that is over the limit of that key, and says so in
// the log.
func (c *Conn) tooFast(key string, limit int, reason string) {
	l := c.loop
	l.counts.closedBy.add(key)
	if r := &l.counts.rateLog; r.allow(l.now) {
		l.log.Warn("closed a client: "+reason, "client", c.peer(), "connection", c.ID(), "hint", fmt.Sprintf("limits.%s is %d a second", key, limit), "more", r.taken())
	}
	l.fail(c, websocket.ClosePolicy, &CloseError{Code: websocket.ClosePolicy, Reason: reason})
}
