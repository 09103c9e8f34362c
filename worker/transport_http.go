package worker

import (
	"errors"
	nethttp "net/http"

	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/record"
)

// transportHTTP: requests, one after the other; one that asks for an upgrade
// leads to another transport.
var transportHTTP = &transport{name: "http"}

func init() {
	*transportHTTP = transport{
		name: "http", number: 0, flags: flagPaused | flagBody | flagHeader,
		moves: true, requests: true,
		open:    func(c *Conn) { c.transport.await(c) },
		await:   func(c *Conn) { c.loop.expect(c, c.loop.w.Limits.HandshakeTimeout) },
		receive: (*Conn).requests, due: (*Conn).dueHTTP, check: checkHTTP,
	}
	register(transportHTTP, "http", "websocket")
}

// requests serves the requests in p and returns what is left: an incomplete
// header or line, requests behind a deferred one or behind an answer that the
// client has not taken yet, or frames behind an upgrade. While a hand-over waits
// for answers that are due, it begins none: who has got one and asks at once
// again, as long polls do, moves in between.
func (c *Conn) requests(p []byte) []byte {
	l := c.loop
	lim := http.Limits{MaxHeader: l.w.Limits.MaxHeader, MaxHeaders: l.w.Limits.MaxHeaders, MaxBody: l.w.Limits.MaxBody}
	var fresh http.Reader
	rd := &fresh
	if c.in != nil && c.in.http != nil {
		rd = c.in.http
	}
	for more := true; more && len(p) > 0 && c.takesRequests() && !l.turnOver(); l.worked(0) {
		var err error
		if p, more, err = c.request(rd, p, &lim); err != nil {
			c.malformed(err)
			return nil
		}
	}
	c.suspend(rd)
	if (len(p) > 0 && !l.turnOver() || !rd.Idle()) && c.takesRequests() {
		l.hurry(c, l.w.Limits.HandshakeTimeout)
	}
	return p
}

// takesRequests reports whether the next request may be worked on.
func (c *Conn) takesRequests() bool {
	return c.asks() && c.out == nil && c.loop.phase != phaseWaiting && !c.has(flagHeld|flagPaused|flagDead|flagEnd)
}

// suspend keeps the Reader of a request that is not whole.
func (c *Conn) suspend(rd *http.Reader) {
	switch {
	case rd.Idle():
		if c.in != nil {
			c.in.http = nil
		}
	case !c.has(flagDead | flagEnd):
		in := c.input()
		if in.http == nil {
			in.http = new(http.Reader)
			*in.http = *rd
		}
		in.http.Keep()
	}
}

// request works on one request at the beginning of p, or the rest of one, and
// returns what follows. more is false when bytes are needed.
func (c *Conn) request(rd *http.Reader, p []byte, lim *http.Limits) (rest []byte, more bool, err error) {
	expects := false
	if !rd.Begun() {
		skip, n, err := rd.Head(p, lim)
		if p = p[skip:]; n == 0 || err != nil {
			return p, false, err
		}
		block := p[:n]
		p = p[n:]
		if c.port.redirect == "" && websocket.IsUpgrade(block) {
			*rd = http.Reader{}
			c.upgrade(block)
			return p, true, nil
		}
		if expects, err = rd.Begin(block, lim); err != nil {
			return p, false, err
		}
	}
	r, used, err := rd.Body(p, lim)
	if err != nil {
		return p, false, err
	}
	if r == nil {
		if expects && !c.has(flagBody) {
			c.set(flagBody)
			c.loop.emit(c, func(dst []byte) []byte { return append(dst, http.Continue...) })
		}
		return p[used:], false, nil
	}
	c.clear(flagBody)
	c.answer(r)
	return p[used:], true, nil
}

// malformed answers a request that cannot be served and ends the connection.
func (c *Conn) malformed(err error) {
	if errors.Is(err, http.ErrTLS) {
		c.loop.refused("tls", c.peer(), "a TLS client at a port without TLS: let it use ws:// or http:// "+
			"(forceTLS: false in pusher-js and Echo), or listen on wss:// or https:// with tls = { cert, key }, or have a proxy in front that ends TLS (docs/proxy.md)")
		c.loop.emit(c, func(dst []byte) []byte { return append(dst, http.TLSAlert...) })
		c.loop.finishAfter(c, stageDrain)
		return
	}
	status, cause := nethttp.StatusBadRequest, "malformed request"
	var e *http.Error
	if errors.As(err, &e) {
		status, cause = e.Status, e.Cause
	}
	c.loop.refused("request", c.peer(), cause)
	c.loop.reject(c, status, cause)
}

// reject sends an error response and ends the connection.
func (l *loop) reject(c *Conn, status int, text string) {
	l.emit(c, func(dst []byte) []byte { return http.AppendError(dst, status, text, l.date()) })
	l.finishAfter(c, stageDrain)
}

// dueHTTP answers what has taken too long, and closes one that asks for nothing.
func (c *Conn) dueHTTP() {
	l := c.loop
	if c.has(flagHeld) {
		c.more.held.expire()
		return
	}
	if c.out != nil {
		l.failSend("slow")
		l.destroy(c, ErrSlow)
		return
	}
	if l.unheard(c) {
		return
	}
	if c.in != nil { // half a request
		l.refused("timeout", c.peer(), "limits.handshake_timeout")
		l.reject(c, 408, "the request took too long")
		return
	}
	l.destroy(c, ErrHandshake)
}

func checkHTTP(a *arrival) error {
	if len(a.channels) > 0 || a.uid != "" {
		return record.ErrDamaged
	}
	return nil
}
