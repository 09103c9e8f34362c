package worker

import (
	"errors"
	"time"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/record"
)

// transportWebSocket: frames, behind a request that has asked for them.
var transportWebSocket = &transport{name: "websocket"}

func init() {
	*transportWebSocket = transport{
		name: "websocket", number: 1, behind: transportHTTP,
		flags: flagConnected | flagPaused | flagPinged | flagDeflate | flagFull,
		talks: true, moves: true, stays: true,
		await: func(c *Conn) { c.loop.beatFrom(c) }, receive: (*Conn).frames,
		encode: (*Conn).encodeFrame, variant: (*Conn).frameVariant,
		goodbye: (*Conn).sayClose, due: (*Conn).dueWebSocket, check: checkWebSocket,
		cut: &CloseError{Code: websocket.CloseAbnormal, Reason: "client left without a close frame"},
	}
	register(transportWebSocket)
}

// upgrade answers the upgrade in block, a whole header block.
func (c *Conn) upgrade(block []byte) {
	h := &Handshake{c: c}
	c.shake(block, func(r *websocket.Request) answer {
		h.req, h.host = r, string(r.Host)
		return h.decide(string(r.URI), r.Origin)
	})
	h.req = nil
	if h.state == handshakeDeferred {
		block = append([]byte(nil), block...)
		h.hold(func(a answer) { c.shake(block, func(*websocket.Request) answer { return a }) })
	}
}

// inWords is the answer in the words of the protocol.
func (a answer) inWords() websocket.Answer {
	w := websocket.Answer{Deferred: a.deferred, Status: a.status, Cause: a.cause, Body: a.body, Subprotocol: a.subprotocol}
	for _, f := range a.header {
		w.Header = append(w.Header, websocket.Field{Name: f[0], Value: f[1]})
	}
	return w
}

// shake runs the handshake and acts on its result.
func (c *Conn) shake(block []byte, decide func(*websocket.Request) answer) {
	l := c.loop
	opts := websocket.Options{Compression: l.w.Compression, MaxHeaders: l.w.Limits.MaxHeaders}
	resp, res, err := websocket.Upgrade(l.fan.scratch[:0], block, opts,
		func(r *websocket.Request) websocket.Answer { return decide(r).inWords() })
	if errors.Is(err, websocket.ErrDeferred) {
		return
	}
	l.fan.scratch = resp
	l.uncork()
	l.transmit(c, resp, nil)
	if err != nil {
		c.refusedUpgrade(err)
		return
	}
	l.holdFor(c)
	c.speak(transportWebSocket)
	if res.Deflate {
		c.set(flagDeflate)
		c.bits = res.ServerBits
	}
	c.remember(record.Subprotocol, "", res.Subprotocol)
	l.beatFrom(c)
	c.shed()
	l.reactor.Settle(c.sock)
	c.route.connect(c)
	if c.Full() { // has been told
		l.closeConn(c, int(websocket.CloseTryLater), "there is no place left", nil)
	}
}

func (c *Conn) refusedUpgrade(err error) {
	var e *websocket.HandshakeError
	cause := "handshake"
	if errors.As(err, &e) {
		cause = e.Cause
	}
	if cause != "origin" && cause != "route" && cause != "full" { // told in full by decide
		c.loop.refused(cause, c.RemoteAddr(), err.Error())
	}
	c.loop.finishAfter(c, stageDrain)
}

// encodeFrame appends m as a frame.
func (c *Conn) encodeFrame(dst []byte, m Message) []byte {
	op := websocket.Text
	if m.Binary {
		op = websocket.Binary
	}
	if c.has(flagDeflate) && len(m.Data) >= compressFrom {
		return websocket.AppendCompressed(dst, op, m.Data, c.bits)
	}
	return websocket.AppendFrame(dst, op, m.Data)
}

// frameVariant tells compressed frames from plain ones.
func (c *Conn) frameVariant(n int) variant {
	if c.has(flagDeflate) && n >= compressFrom {
		return variant{transport: transportWebSocket, bits: c.bits}
	}
	return variant{transport: transportWebSocket}
}

// compressFrom is the payload, in bytes, below which deflate makes most messages
// longer (113 bytes of JSON became 122).
const compressFrom = 150

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
		if c.stage == stageOpen && dec.Idle() && websocket.Begins(p) && !c.withinRate() {
			return nil
		}
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
		if c.stage == stageOpen {
			c.route.message(c, Message{Data: ev.Data, Binary: ev.Op == websocket.Binary})
		}
	case websocket.Ping:
		if c.withinControlRate() && c.stage == stageOpen {
			l.pong(c, ev.Data)
		}
	case websocket.Pong:
		c.withinControlRate()
	case websocket.Close:
		c.peerClosed(ev)
	}
}

// pong answers a ping.
func (l *loop) pong(c *Conn, data []byte) {
	if l.uncorkFor(c, len(data)); c.out == nil {
		l.emit(c, func(dst []byte) []byte { return websocket.AppendFrame(dst, websocket.Pong, data) })
		return
	}
	l.control(c, websocket.AppendFrame(nil, websocket.Pong, data), pongMark)
}

// sayClose sends a close frame, which the client answers with one.
func (c *Conn) sayClose(code int, reason string) (answers bool) {
	c.loop.emit(c, func(dst []byte) []byte { return websocket.AppendClose(dst, uint16(code), reason) })
	return true
}

// peerClosed acts on a close frame: ours was first, or is due now.
func (c *Conn) peerClosed(ev websocket.Event) {
	if c.stage == stageOpen {
		if ev.Code != websocket.CloseNormal && ev.Code != websocket.CloseGoingAway && ev.Code != websocket.CloseNoStatus {
			c.extra().err = &CloseError{Code: ev.Code, Reason: string(ev.Data)}
		}
		code := ev.Code
		if code == websocket.CloseNoStatus {
			code = 0
		}
		c.sayClose(int(code), "")
	}
	c.loop.finishAfter(c, stageClosing)
}

// dueWebSocket pings a silent client and closes one that stays silent.
func (c *Conn) dueWebSocket() {
	l := c.loop
	silent := time.Duration(seconds(l.now)-c.lastRecv) * time.Second
	interval, timeout := l.w.PingInterval, l.w.PingTimeout
	switch {
	case interval == 0:
	case silent < interval*9/10:
		c.clear(flagPinged)
		l.expect(c, interval-silent)
	case c.has(flagPaused) || timeout == 0: // we do not, or need not, see an answer
		c.clear(flagPinged)
		l.ping(c)
		l.expect(c, max(interval, time.Second))
	case !c.has(flagPinged):
		c.set(flagPinged)
		l.ping(c)
		l.expect(c, max(min(timeout, interval), time.Second)) // who has answered by then may be due again
	case silent >= interval+timeout:
		l.unanswered(c)
	default:
		l.expect(c, interval+timeout-silent)
	}
}

// unanswered ends a connection whose client is silent.
func (l *loop) unanswered(c *Conn) {
	if l.unheard(c) {
		return
	}
	if c.route.onTimeout != nil {
		c.extra().err = ErrTimeout
		c.route.timedOut(c)
	}
	if c.stage == stageOpen {
		l.destroy(c, ErrTimeout)
	}
}

// pingFrame is what all of them are sent.
var pingFrame = websocket.AppendFrame(nil, websocket.Ping, nil)

func (l *loop) ping(c *Conn) { l.control(c, pingFrame, pingMark) }

func checkWebSocket(a *arrival) error {
	if c := a.c; c.has(flagDeflate) && (c.bits < websocket.MinBits || c.bits > websocket.MaxBits) {
		return record.ErrDamaged
	}
	return nil
}
