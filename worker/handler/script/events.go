package script

import (
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/netip"
	"strings"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// OnHandshake keeps what is to be told of the request.
func (h *handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	if h.wants[wire.WantHead] {
		hs.Headers(func(name, _ string) {
			if keeps(name) {
				hs.Keep(name)
			}
		})
	}
	ask := h.wants[wire.WantHandshake]
	if h.head = nil; !ask && !h.wants[wire.WantOpen] {
		return
	}
	b := appendLine(nil, c)
	hs.Headers(func(name, value string) { b = appendHeader(b, name, value) })
	h.head = append(b, "\r\n"...)
	if ask {
		h.ask(c, hs)
	}
}

// keeps reports whether a header is worth its memory for the life of a
// connection.
func keeps(name string) bool {
	switch strings.ToLower(name) {
	case "host", "origin", "cookie", "user-agent", "accept-language":
		return true
	}
	return len(name) > 2 && strings.EqualFold(name[:2], "x-")
}

func appendLine(b []byte, c *worker.Conn) []byte {
	return append(append(append(b, "GET "...), target(c)...), " HTTP/1.1\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// target returns path and query.
func target(c *worker.Conn) string {
	if q := c.RawQuery(); q != "" {
		return c.Path() + "?" + q
	}
	return c.Path()
}

// ask lets the program decide on a handshake.
func (h *handler) ask(c *worker.Conn, hs *worker.Handshake) {
	n := c.Number()
	if h.refuses() {
		hs.Refuse(nethttp.StatusServiceUnavailable, "too much is waiting")
		return
	}
	hs.Defer()
	h.shakes[n] = &shake{Handshake: hs, head: h.head}
	h.next = wire.AppendOpen(h.next, wire.Handshake, n, opening(c, h.head))
	h.head = nil
	c.After(shakeTimeout, func() { delete(h.shakes, n) })
	h.kick()
}

// OnConnect tells of a connection at once where that is wanted.
func (h *handler) OnConnect(c *worker.Conn) {
	if s := h.shakes[c.Number()]; s != nil { // others may have asked since
		h.head, s.met = s.head, true
		delete(h.shakes, c.Number())
	}
	if h.wants[wire.WantOpen] {
		h.tell(c, wire.Open)
		h.kick()
	}
	h.head = nil
}

// OnMessage hands a message on.
func (h *handler) OnMessage(c *worker.Conn, m worker.Message) {
	if c.Protocol() == "udp" {
		h.packet(c, m)
		return
	}
	if h.strange(c.Number()) { // it is closed by and by
		return
	}
	h.count()
	h.asks(c, m.Data)
	h.tell(c, wire.Open)
	f := wire.Frame{Op: wire.Message, Conn: c.Number(), Payload: m.Data}
	if m.Binary {
		f.Flags = wire.Binary
	}
	h.next = f.Append(h.next)
	h.kick()
}

// count counts what the process has to do.
func (h *handler) count() {
	if h.cur != nil {
		h.cur.messages++
	}
}

// packet hands a datagram on, unless too much waits: then it is one of those
// that get lost.
func (h *handler) packet(c *worker.Conn, m worker.Message) {
	if h.refuses() {
		h.lost.packets++
		return
	}
	h.next = wire.AppendPacket(h.next, wire.Packet, text(c.RemoteAddr()), local(c), m.Data)
	h.kick()
}

// OnClose tells of the end of a connection.
func (h *handler) OnClose(c *worker.Conn, err error) {
	n := c.Number()
	if _, known := h.told[n]; !known && h.wants[wire.WantClose] && !h.strange(n) {
		op := wire.Open
		if h.awaits() { // of those that have just come from another worker process its program was told
			op = wire.Resume
		}
		h.tell(c, op)
	}
	if _, known := h.told[n]; known {
		code, why := ended(err)
		if h.ended[n] {
			h.closed(n, code, why)
		} else {
			h.parts(c, code, why)
		}
		h.kick()
	}
	delete(h.ended, n)
	delete(h.spread, n)
	delete(h.fresh, n)
	delete(h.askers, n)
}

// ended tells how a connection has ended, in close codes.
func ended(err error) (code uint16, why string) {
	var e *worker.CloseError
	switch {
	case err == nil:
		return 1000, ""
	case errors.As(err, &e):
		return e.Code, e.Reason
	}
	return 1006, err.Error()
}

// OnBufferFull and OnBufferDrain tell of a slow client.
func (h *handler) OnBufferFull(c *worker.Conn)  { h.about(c, wire.Full) }
func (h *handler) OnBufferDrain(c *worker.Conn) { h.about(c, wire.Drain) }

func (h *handler) about(c *worker.Conn, op wire.Op) {
	if h.wants[wire.WantFull] && !h.strange(c.Number()) {
		h.tell(c, wire.Open)
		h.next = wire.Frame{Op: op, Conn: c.Number()}.Append(h.next)
		h.kick()
	}
}

// strange reports whether a connection is one that a process before this one has ended.
func (h *handler) strange(n uint64) bool {
	if !h.ended[n] {
		return false
	}
	_, known := h.told[n]
	return !known
}

// tell makes sure that the process knows the connection. op is what is said of
// one that may be new.
func (h *handler) tell(c *worker.Conn, op wire.Op) {
	n := c.Number()
	if _, known := h.told[n]; known {
		return
	}
	if h.cur == nil && h.exported != nil { // nobody is there to be told
		h.fresh[n] = true
		return
	}
	switch {
	case h.fresh[n]:
		op = wire.Open
		delete(h.fresh, n)
	case h.old[n]:
		op = wire.Resume
	case op == wire.Open && c.Get(sessionKey) != "":
		op = wire.Resume
	}
	head := h.head
	if op == wire.Resume || len(head) == 0 {
		h.line = appendKept(h.line[:0], c)
		head = h.line
	}
	h.told[n] = 0
	delete(h.old, n)
	h.next = wire.AppendOpen(h.next, op, n, opening(c, head))
}

func opening(c *worker.Conn, head []byte) wire.Opening {
	o := wire.Opening{Remote: text(c.RemoteAddr()), Local: local(c), Head: head}
	if session := c.Get(sessionKey); session != "" {
		o.Session = []byte(session)
	}
	if c.Path() != "" {
		o.Target = target(c)
	}
	return o
}

// appendKept appends the head of a handshake as far as it was kept.
func appendKept(b []byte, c *worker.Conn) []byte {
	if c.Path() == "" {
		return b
	}
	b = appendLine(b, c)
	c.Headers(func(name, value string) { b = appendHeader(b, name, value) })
	return append(b, "\r\n"...)
}

// text writes an address, without the port where none is known.
func text(a netip.AddrPort) string {
	switch {
	case !a.Addr().IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}

// local is the listener as the config has it.
func local(c *worker.Conn) string { return c.Listener() }

// OnRequest hands an HTTP request on.
func (h *handler) OnRequest(w *worker.Response, r *worker.Request) {
	switch {
	case !h.wants[wire.WantRequest]:
		w.Header().Set("Upgrade", "websocket")
		nethttp.Error(w, "this path speaks WebSocket", nethttp.StatusUpgradeRequired)
		return
	case h.refuses():
		w.Header().Set("Retry-After", "1")
		nethttp.Error(w, "too much is waiting", nethttp.StatusServiceUnavailable)
		return
	}
	h.count()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		nethttp.Error(w, "the body cannot be read", nethttp.StatusBadRequest)
		return
	}
	c := r.Conn()
	n := c.Number()
	raw := append(requestHead(r, len(body)), body...)
	h.next = append(wire.AppendRequest(h.next, n, text(c.RemoteAddr()), local(c), len(raw)), raw...)
	w.Defer()
	h.requests[n] = &request{w: w}
	w.WhenOver(func() { h.answered(n, w) })
	h.kick()
}

// requestHead writes the head as a client could have sent it.
func requestHead(r *worker.Request, body int) []byte {
	b := fmt.Appendf(nil, "%s %s %s\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Proto, r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			if name != "Transfer-Encoding" && name != "Content-Length" {
				b = appendHeader(b, name, v)
			}
		}
	}
	if body > 0 {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", body)
	}
	return append(b, "\r\n"...)
}

// answered forgets a request whose answer has ended, and tells the program when
// it has not given it.
func (h *handler) answered(n uint64, w *worker.Response) {
	q := h.requests[n]
	if q == nil || q.w != w {
		return
	}
	delete(h.requests, n)
	if !q.whole {
		h.next = wire.Frame{Op: wire.Close, Aux: 1006, Conn: n}.Append(h.next)
		h.kick()
	}
}
