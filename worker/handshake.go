package worker

import (
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	read "github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/worker/record"
)

// Handshake is a client that wants to stay, as by a WebSocket upgrade, and waits
// for the answer. What it tells of the request is valid until OnHandshake
// returns.
type Handshake struct {
	c      *Conn
	req    offer // nil when OnHandshake is over
	host   string
	answer answer
	query  url.Values
	state  handshakeState
	tells  bool         // TellFull
	late   func(answer) // what becomes of a deferred answer; nil within OnHandshake
}

// offer is the request, in the hands of the transport that has parsed it. The
// slices are its own.
type offer interface {
	Headers() iter.Seq2[[]byte, []byte]
	Header(lower string) []byte // the first of that name, nil for none
	Values(lower string) []string
	Protocols() iter.Seq[[]byte] // subprotocols on offer, best first
	Offers(protocol string) bool
}

// answer is what the client gets.
type answer struct {
	status      int    // 0 is yes
	cause, body string // of a no: for the counters, and for the client
	subprotocol string
	header      [][2]string // names and values
	deferred    bool        // not known yet
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
	h.c.remember(record.Query, "", "")
}

// Host returns the Host header.
func (h *Handshake) Host() string {
	if h.req == nil {
		return ""
	}
	return h.host
}

// Header returns the first header of that name, or "".
func (h *Handshake) Header(name string) string {
	if h.req == nil {
		return ""
	}
	return string(h.req.Header(strings.ToLower(name)))
}

// Headers calls visit for each header of the request, in their order.
func (h *Handshake) Headers(visit func(name, value string)) {
	if h.req == nil {
		return
	}
	for name, value := range h.req.Headers() {
		visit(string(name), string(value))
	}
}

// Cookie returns the value of a cookie, or "". Malformed ones beside it do no harm.
func (h *Handshake) Cookie(name string) string {
	if h.req == nil {
		return ""
	}
	for _, line := range h.req.Values("cookie") {
		if value := read.Cookie(line, name); value != "" {
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
func (h *Handshake) Choose(subprotocol string) { h.answer.subprotocol = subprotocol }

// Chosen returns the subprotocol of the answer so far, "" for none.
func (h *Handshake) Chosen() string { return h.answer.subprotocol }

// choose takes the first of the route's subprotocols that the client offers.
func (h *Handshake) choose(protocols []string) {
	for _, p := range protocols {
		if h.req.Offers(p) {
			h.answer.subprotocol = p
			return
		}
	}
}

// SetHeader adds a header to the response.
func (h *Handshake) SetHeader(name, value string) {
	h.answer.header = append(h.answer.header, [2]string{name, value})
}

// Keep stores headers of the request, for Conn.Header later on.
func (h *Handshake) Keep(names ...string) {
	for _, name := range names {
		if v := h.Header(name); v != "" {
			h.c.remember(record.Header, canonical(name), v)
		}
	}
}

// Refuse answers with an HTTP status, 400 to 599, and a short text.
func (h *Handshake) Refuse(status int, text string) {
	if status < 400 || status > 599 {
		status = http.StatusForbidden
	}
	h.answer.status, h.answer.body, h.answer.cause = status, text+"\n", "handler"
	h.settle()
}

// Accept answers a deferred handshake with yes. Without Defer it is not needed.
func (h *Handshake) Accept() {
	h.answer.status = 0
	h.settle()
}

// Defer says that the answer comes later, by Accept or Refuse in a function
// given to Post, within 60 s; then the client gets 504.
func (h *Handshake) Defer() {
	if h.state == handshakeOpen {
		h.state = handshakeDeferred
		h.answer.deferred = true
	}
}

// settle gives the answer to a deferred handshake whose OnHandshake is over.
func (h *Handshake) settle() {
	h.answer.deferred = false
	if h.state == handshakeDeferred && h.late == nil {
		h.state = handshakeOpen // answered within OnHandshake after all
	}
	if h.state != handshakeDeferred || h.c.has(flagDead|flagEnd) {
		return
	}
	h.state = handshakeDone
	c := h.c
	c.more.held = nil
	c.clear(flagHeld)
	h.late(h.answer)
	c.loop.resume(c)
}

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// hold waits for the answer to a deferred handshake, which late gets.
func (h *Handshake) hold(late func(answer)) {
	h.late = late
	c := h.c
	c.set(flagHeld)
	c.extra().held = &held{h}
	c.loop.expect(c, deferTimeout)
}

// decide finds the route of a handshake to target, path and query, and asks its
// rules and its handler. origin is nil when the client is no browser.
func (h *Handshake) decide(target string, origin []byte) answer {
	c, l := h.c, h.c.loop
	path := c.locate(target)
	host := c.believe(h.host, h.req.Values)
	if !l.welcome(c) {
		return refusal(http.StatusTooManyRequests, tooMany, "there are too many connections from your address")
	}
	rt := l.match(path)
	if rt == nil || !rt.bare && !rt.talks() {
		l.refused("route", c.RemoteAddr(), "routes has no handler for this path")
		return refusal(http.StatusNotFound, "route", "there is nothing at this path")
	}
	c.enter(rt, path)
	if origin != nil && !rt.origins.Allows(string(origin), host) {
		l.refusedOrigin(c, string(origin), host)
		return refusal(http.StatusForbidden, "origin", "origin not allowed")
	}
	h.choose(rt.protocols)
	l.promote(c)
	rt.handshake(c, h)
	switch {
	case c.has(flagDead | flagEnd):
		return refusal(http.StatusInternalServerError, "panic", "internal error")
	case c.Full() && !h.tells && h.answer.status == 0:
		h.state, h.answer.deferred = handshakeDone, false
		return l.noPlace(c)
	}
	return h.answer
}

func refusal(status int, cause, body string) answer {
	return answer{status: status, cause: cause, body: body + "\n"}
}

// locate splits a request target and remembers the query.
func (c *Conn) locate(target string) (path string) {
	path, query, _ := strings.Cut(target, "?")
	c.remember(record.Query, "", query)
	return path
}

// enter gives the connection to a route. The path is stored only when the route
// does not tell it.
func (c *Conn) enter(rt *route, path string) {
	if known := rt.of(path); known != nil {
		c.sit(known.at(c.port, c.transport))
		c.remember(record.Path, "", "")
		return
	}
	c.sit(rt.at(c.port, c.transport))
	c.remember(record.Path, "", path)
}
