package worker

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/pushd/pushd/protocol/websocket"
)

// Handshake is a WebSocket upgrade that waits for its answer. What it tells of
// the request is valid until OnHandshake returns.
type Handshake struct {
	c      *Conn
	req    *websocket.Request
	answer websocket.Answer
	query  url.Values
	state  handshakeState
	block  []byte // the request, kept while the answer is deferred
	tells  bool   // TellFull
}

type handshakeState uint8

const (
	handshakeOpen handshakeState = iota
	handshakeDeferred
	handshakeDone
)

// Path returns the path that was asked for.
func (h *Handshake) Path() string { return h.c.Path() }

// Query returns the query's values, as ParseQuery reads them.
func (h *Handshake) Query() url.Values {
	if h.query == nil {
		h.query = ParseQuery(h.c.RawQuery())
	}
	return h.query
}

// ForgetQuery keeps the query, which may hold a token, from being stored with
// the connection. What Query has returned stays usable.
func (h *Handshake) ForgetQuery() {
	h.c.remember(fieldQuery, "", "")
}

// Host returns the Host header.
func (h *Handshake) Host() string {
	if h.req == nil {
		return ""
	}
	return string(h.req.Host)
}

// Header returns the first header of that name, or "".
func (h *Handshake) Header(name string) string {
	if h.req == nil {
		return ""
	}
	return string(h.req.Header(strings.ToLower(name)))
}

// Cookie returns the value of a cookie, or "". Malformed ones beside it do no harm.
func (h *Handshake) Cookie(name string) string {
	if h.req == nil {
		return ""
	}
	for _, line := range h.req.Values("cookie") {
		if value := findCookie(line, name); value != "" {
			return value
		}
	}
	return ""
}

// Subprotocols returns what the client offers, best first.
func (h *Handshake) Subprotocols() (list []string) {
	if h.req != nil {
		for p := range h.req.Protocols() {
			list = append(list, string(p))
		}
	}
	return list
}

// Choose answers with a subprotocol, which must be among those offered, in place
// of the one that the route's Protocols have led to.
func (h *Handshake) Choose(subprotocol string) { h.answer.Subprotocol = subprotocol }

// Chosen returns the subprotocol of the answer so far, "" for none.
func (h *Handshake) Chosen() string { return h.answer.Subprotocol }

// choose takes the first of the route's subprotocols that the client offers.
func (h *Handshake) choose(protocols []string) {
	for _, p := range protocols {
		if h.req.Offers(p) {
			h.answer.Subprotocol = p
			return
		}
	}
}

// SetHeader adds a header to the response.
func (h *Handshake) SetHeader(name, value string) {
	h.answer.Header = append(h.answer.Header, websocket.Field{Name: name, Value: value})
}

// Keep stores headers of the request, for Conn.Header later on.
func (h *Handshake) Keep(names ...string) {
	for _, name := range names {
		if v := h.Header(name); v != "" {
			h.c.remember(fieldHeader, canonical(name), v)
		}
	}
}

// Refuse answers with an HTTP status, 400 to 599, and a short text.
func (h *Handshake) Refuse(status int, text string) {
	if status < 400 || status > 599 {
		status = http.StatusForbidden
	}
	h.answer.Status, h.answer.Body, h.answer.Cause = status, text+"\n", "handler"
	h.settle()
}

// Accept answers a deferred handshake with yes. Without Defer it is not needed.
func (h *Handshake) Accept() {
	h.answer.Status = 0
	h.settle()
}

// Defer says that the answer comes later, by Accept or Refuse in a function
// given to Post, within 60 s; then the client gets 504.
func (h *Handshake) Defer() {
	if h.state == handshakeOpen {
		h.state = handshakeDeferred
		h.answer.Deferred = true
	}
}

// settle gives the answer to a deferred handshake whose OnHandshake is over.
func (h *Handshake) settle() {
	h.answer.Deferred = false
	if h.state == handshakeDeferred && h.block == nil {
		h.state = handshakeOpen // answered within OnHandshake after all
	}
	if h.state != handshakeDeferred || h.c.has(flagDead|flagEnd) {
		return
	}
	h.state = handshakeDone
	c := h.c
	c.more.held = nil
	c.clear(flagHeld)
	c.shake(h.block, func(*websocket.Request) websocket.Answer { return h.answer })
	c.loop.resume(c)
}

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// upgrade answers the upgrade in block, a whole header block.
func (c *Conn) upgrade(block []byte) {
	h := &Handshake{c: c}
	c.shake(block, func(r *websocket.Request) websocket.Answer { return c.decide(r, h) })
	h.req = nil
	if h.state == handshakeDeferred {
		h.block = append([]byte(nil), block...)
		c.set(flagHeld)
		c.extra().held = &held{handshake: h}
		c.loop.expect(c, deferTimeout)
	}
}

// shake runs the handshake and acts on its result.
func (c *Conn) shake(block []byte, decide func(*websocket.Request) websocket.Answer) {
	l := c.loop
	opts := websocket.Options{Compression: l.w.Compression, MaxHeaders: l.w.Limits.MaxHeaders}
	resp, res, err := websocket.Upgrade(l.fan.scratch[:0], block, opts, decide)
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
	c.stage = stageWebSocket
	if res.Deflate {
		c.set(flagDeflate)
		c.bits = res.ServerBits
	}
	c.remember(fieldSubprotocol, "", res.Subprotocol)
	l.beatFrom(c)
	c.shed()
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
		c.loop.refused(cause, c.RemoteAddr().String(), err.Error())
	}
	c.loop.finishAfter(c, stageDrain)
}

// decide finds the route and asks its rules and its handler.
func (c *Conn) decide(r *websocket.Request, h *Handshake) websocket.Answer {
	l := c.loop
	h.req = r
	path := c.locate(string(r.URI))
	host := c.believe(string(r.Host), r.Values)
	if !l.welcome(c) {
		return refusal(http.StatusTooManyRequests, tooMany, "there are too many connections from your address")
	}
	rt := l.match(path)
	if rt == nil || !rt.bare && !rt.talks() {
		l.refused("route", c.RemoteAddr().String(), "routes has no handler for this path")
		return refusal(http.StatusNotFound, "route", "there is nothing at this path")
	}
	c.enter(rt, path)
	if r.Origin != nil && !rt.origins.allows(string(r.Origin), host) {
		l.refusedOrigin(c, string(r.Origin), host)
		return refusal(http.StatusForbidden, "origin", "origin not allowed")
	}
	h.choose(rt.protocols)
	l.promote(c)
	rt.handshake(c, h)
	switch {
	case c.has(flagDead | flagEnd):
		return refusal(http.StatusInternalServerError, "panic", "internal error")
	case c.Full() && !h.tells && h.answer.Status == 0:
		h.state, h.answer.Deferred = handshakeDone, false
		return l.noPlace(c)
	}
	return h.answer
}

func refusal(status int, cause, body string) websocket.Answer {
	return websocket.Answer{Status: status, Cause: cause, Body: body + "\n"}
}

// locate splits a request target and remembers the query.
func (c *Conn) locate(target string) (path string) {
	path, query, _ := strings.Cut(target, "?")
	c.remember(fieldQuery, "", query)
	return path
}

// enter gives the connection to a route. The path is stored only when the route
// does not tell it.
func (c *Conn) enter(rt *route, path string) {
	if known := rt.of(path); known != nil {
		c.seat = known.at(c.port)
		c.remember(fieldPath, "", "")
		return
	}
	c.seat = rt.at(c.port)
	c.remember(fieldPath, "", path)
}
