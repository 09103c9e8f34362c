package worker

import (
	"github.com/pushd/pushd/protocol"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/reactor"
)

// receive takes what was read. p is the reactor's buffer: it may be changed, and
// is used again after this returns.
func (c *Conn) receive(p []byte) {
	c.received(len(p))
	c.lastRecv = seconds(c.loop.now)
	c.clear(flagPinged)
	if c.has(flagDead) || c.stage == stageDrain {
		return
	}
	l := c.loop
	if c.has(flagRest) { // read before it was put off
		c.in.wait.add(p)
		return
	}
	if l.rest.crowded(l) && !c.has(flagPaused|flagHeld|flagMoving) {
		c.input().wait.add(p)
		l.putOff(c)
		return
	}
	l.rest.grant(l, turnTime)
	if c.in != nil && c.in.wait.len() > 0 {
		c.in.wait.add(p)
		c.consume()
		return
	}
	if rest := c.work(p); len(rest) > 0 {
		c.input().wait.add(rest)
		c.await()
	}
	c.emptied()
}

// consume works on the bytes that wait.
func (c *Conn) consume() {
	in := c.in
	p := in.wait.bytes()
	rest := c.work(p)
	in.wait.drop(len(p) - len(rest))
	if len(rest) > 0 {
		c.await()
	}
	c.emptied()
}

// await decides when the bytes that wait are worked on.
func (c *Conn) await() {
	if c.unfinished() {
		c.loop.putOff(c)
		return
	}
	c.loop.watch(c)
}

// work works on p, in the turn that was granted, until it is used up or has to
// wait, and returns what has to.
func (c *Conn) work(p []byte) []byte {
	if c.has(flagPaused | flagHeld | flagMoving) {
		return p
	}
	c.loop.holdFor(c)
	if c.has(flagHeader) {
		if p = c.introduce(p); c.has(flagHeader) {
			return p
		}
	}
	if c.stage == stageHTTP {
		p = c.requests(p)
	}
	switch c.stage {
	case stageWebSocket, stageClosing:
		p = c.frames(p)
	case stagePacket:
		p = c.packets(p)
	}
	if c.has(flagDead|flagEnd) || c.stage == stageDrain {
		return nil
	}
	return p
}

// maxAhead is the most that is read ahead while an answer is deferred or unsent;
// the socket is watched so that a client that gives up is noticed.
const maxAhead = reactor.ReadChunk

// watch turns reading on or off as the flags demand.
func (l *loop) watch(c *Conn) {
	ahead := c.has(flagHeld) || c.stage == stageHTTP && (l.waiting || c.out != nil)
	mute := c.has(flagPaused) || ahead && c.in != nil && c.in.wait.len() > maxAhead
	if mute == c.has(flagMuted) || !c.sock.Valid() || c.has(flagDead|flagMoving|flagRest) {
		return
	}
	if err := l.reactor.Mute(c.sock, mute); err != nil {
		l.destroy(c, err)
		return
	}
	c.flags ^= flagMuted
}

// resume lets held-back input be worked on at the end of this turn.
func (l *loop) resume(c *Conn) { l.thaw = append(l.thaw, c) }

// melt works on held-back input.
func (l *loop) melt(c *Conn) {
	if c.has(flagDead|flagPaused|flagHeld|flagMoving|flagRest) || !c.sock.Valid() {
		return
	}
	l.watch(c)
	if c.in == nil || c.in.wait.len() == 0 {
		return
	}
	if l.rest.crowded(l) {
		l.putOff(c)
		return
	}
	l.rest.grant(l, turnTime)
	c.consume()
	l.uncork()
}

// packets cuts p into packets and delivers them. It returns what is left.
func (c *Conn) packets(p []byte) []byte {
	seen := 0
	if in := c.in; in != nil {
		if len(p) < in.need {
			return p
		}
		seen, in.seen, in.need = in.seen, 0, 0
	}
	proto, limit := c.port.addr.packet, c.loop.w.Limits.MaxMessage
	for ; len(p) > 0 && !c.has(flagPaused|flagDead|flagEnd) && !c.loop.turnOver(); seen = 0 {
		n, err := protocol.Input(proto, p, seen, limit)
		if err != nil {
			c.loop.fail(c, websocket.ClosePolicy, err)
			return nil
		}
		if n <= 0 || n > len(p) {
			in := c.input()
			in.seen, in.need = len(p), n
			break
		}
		payload, err := proto.Decode(p[:n])
		if err != nil {
			c.loop.fail(c, websocket.ClosePolicy, err)
			return nil
		}
		p = p[n:]
		c.route.message(c, Message{Data: payload})
		c.loop.worked(0)
	}
	return p
}

// frames decodes p and delivers messages. It returns what is left when reading
// was paused or the turn is over.
func (c *Conn) frames(p []byte) []byte {
	l := c.loop
	limits := l.frameLimits()
	var fresh websocket.Decoder
	dec := &fresh
	if c.in != nil {
		dec = &c.in.dec
	}
	for len(p) > 0 && !c.has(flagPaused|flagDead|flagEnd) && c.stage != stageDrain && !l.turnOver() {
		ev, rest, ok, err := dec.Next(p, &limits, c.has(flagDeflate))
		if err != nil {
			e := err.(*websocket.CloseError)
			l.fail(c, e.Code, e)
			return nil
		}
		p = rest
		if !ok {
			break
		}
		inflated := 0
		if c.has(flagDeflate) {
			inflated = len(ev.Data)
		}
		c.frame(ev)
		l.worked(inflated)
	}
	c.retain(dec)
	return p
}

func (l *loop) frameLimits() websocket.Limits {
	return websocket.Limits{MaxMessage: l.w.Limits.MaxMessage, MaxFragments: l.w.Limits.MaxFragments}
}

// retain keeps a decoder that is in the middle of something.
func (c *Conn) retain(dec *websocket.Decoder) {
	if !dec.Idle() && c.in == nil {
		c.in = &input{dec: *dec}
	}
}

// frame acts on one message or control frame.
func (c *Conn) frame(ev websocket.Event) {
	l := c.loop
	switch ev.Op {
	case websocket.Text, websocket.Binary:
		if c.stage == stageWebSocket {
			c.route.message(c, Message{Data: ev.Data, Binary: ev.Op == websocket.Binary})
		}
	case websocket.Ping:
		if c.withinRate() && c.stage == stageWebSocket {
			l.pong(c, ev.Data)
		}
	case websocket.Pong:
		c.withinRate()
	case websocket.Close:
		l.peerClosed(c, ev)
	}
}

// withinRate counts a control frame against max_control_rate.
func (c *Conn) withinRate() bool {
	limit := c.loop.w.Limits.MaxControlRate
	if limit == 0 {
		return true
	}
	if s := c.lastRecv << 16; c.control&0xffff0000 != s {
		c.control = s
	}
	if n := int(c.control & 0xffff); n >= limit {
		c.loop.fail(c, websocket.ClosePolicy, &CloseError{Code: websocket.ClosePolicy, Reason: "too many control frames"})
		return false
	}
	c.control++
	return true
}
