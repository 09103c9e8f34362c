package keeper

import (
	"encoding/json"
	"maps"
)

// watch keeps saying hello once there was something to tell: by that a keeper
// that has lost it, or never knew it, finds out.
func (c *Client) watch() {
	if c.ticking || c.next == 1 && len(c.pending) == 0 {
		return
	}
	c.ticking = true
	wait := tick
	if len(c.left)+len(c.signing) > 0 {
		wait = soon
	}
	c.bus.After(wait, func() {
		c.ticking = false
		c.again()
		c.hello()
		c.watch()
	})
}

// hello asks where the keeper stands.
func (c *Client) hello() {
	if c.asking {
		return
	}
	c.flush()
	c.asking = true
	next := c.next
	raw, _ := json.Marshal(question{Hello: &hello{c.instance, next}})
	c.bus.Ask(Service, raw, askTimeout, func(raw []byte, err error) {
		c.asking = false
		var s standing
		if err == nil && json.Unmarshal(raw, &s) == nil {
			c.heard(next, &s)
		}
		c.watch()
	})
}

// heard takes the answer to a hello that was sent before op number next.
func (c *Client) heard(next uint64, s *standing) {
	if !s.Announce {
		if !s.Settled {
			return
		}
		n := 0
		for n < len(c.left) && c.left[n].number < next {
			n++
		}
		c.left = append(c.left[:0:0], c.left[n:]...)
		maps.DeleteFunc(c.before, func(_ string, was formerly) bool { return was.number < next })
		maps.DeleteFunc(c.signing, func(_ string, number uint64) bool { return number < next })
		return
	}
	if next < c.asked || c.announce {
		return // it did not know of the last announcement yet
	}
	c.announceSoon()
}

// Resumed tells what is left after a hand-over that has failed: what had gone
// to the other process has ended with it.
func (c *Client) Resumed() { c.announceSoon() }

func (c *Client) announceSoon() {
	if c.announce {
		return
	}
	c.announce = true
	// In a timer: these rest while connections are on their way elsewhere.
	c.bus.After(1, func() {
		c.announce = false
		c.announceAll()
	})
}

// announceAll tells all that the keeper should know. What is not in it is gone.
func (c *Client) announceAll() {
	c.prune()
	c.flush()
	ops := c.state()
	for first := true; first || len(ops) > 0; first = false {
		n, raw := portion(ops)
		if c.send(header{Whole: true, Begin: first, Last: n == len(ops)}, n, raw) != nil {
			return // the next hello tells
		}
		ops = ops[n:]
	}
	c.asked = c.next
}

// state returns all that is held as ops.
func (c *Client) state() (ops []op) {
	now := c.now()
	for i := range c.left { // before those that have come back
		o := c.left[i].op
		if s := c.presence[key{o.Conn, o.Channel}]; s == nil || !s.admitted {
			o.N = int(c.left[i].number)
			ops = append(ops, o)
		}
	}
	for at, s := range c.presence {
		o := op{Kind: opHave, Channel: at.channel, Conn: at.conn}.of(s.member)
		if !s.admitted {
			o.Kind, s.told = opJoin, now
		}
		ops = append(ops, o)
	}
	for channel := range c.counts {
		ops = append(ops, c.countOp(channel))
	}
	for channel := range c.before {
		if c.counts[channel] == 0 {
			ops = append(ops, c.countOp(channel))
		}
	}
	for conn, u := range c.logins {
		o := op{Kind: opUser, Channel: u.user, Conn: conn, Watch: u.watch}
		if _, news := c.signing[conn]; news {
			o.Kind = opSignin
		}
		ops = append(ops, o)
	}
	return ops
}

// prune drops what connections have left behind that went to another process:
// no callback runs for those.
func (c *Client) prune() {
	for at := range c.presence {
		if !c.bus.Has(at.conn) {
			delete(c.presence, at)
		}
	}
	for conn := range c.logins {
		if !c.bus.Has(conn) {
			delete(c.logins, conn)
			delete(c.signing, conn)
		}
	}
	for channel := range c.counts {
		if !c.recount[channel] {
			c.recount[channel] = false
		}
	}
}

// again tells what has not been answered for long. A connection that has gone
// to another process, whose word counts now, is none of ours.
func (c *Client) again() {
	now := c.now()
	for at, s := range c.presence {
		if !s.admitted && now.Sub(s.told) >= tellAgain && c.bus.Has(at.conn) {
			s.told = now
			c.pending = append(c.pending, op{Kind: opJoin, Channel: at.channel, Conn: at.conn}.of(s.member))
		}
	}
}
