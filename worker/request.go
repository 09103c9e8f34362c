package worker

import (
	nethttp "net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pushd/pushd/protocol/http"
)

// Request is a plain HTTP request, its body already read. It may be kept.
type Request struct {
	*nethttp.Request
	conn *Conn
}

// Conn returns the connection that the request came by. It serves one request
// after the other.
func (r *Request) Conn() *Conn { return r.conn }

// Query returns the query's values, as ParseQuery reads them; URL.Query would drop
// what is malformed.
func (r *Request) Query() url.Values { return ParseQuery(r.URL.RawQuery) }

// AsksForEvents reports whether the client wants a stream (Accept).
func (r *Request) AsksForEvents() bool { return asksForEvents(r.Header) }

// Param returns a parameter of the route's pattern.
func (r *Request) Param(name string) string { return r.conn.Param(name) }

// Response answers a Request. It is an http.ResponseWriter and http.Flusher, so
// net/http's handlers can be used; they run on the loop and must not block. HTTP
// runs them elsewhere.
//
// What is written is sent with a Content-Length when OnRequest returns. Flush
// sends what there is and makes the response a stream of chunks; Defer keeps it
// open after the return. Both end with End, from the loop (Post).
type Response struct {
	c       *Conn
	header  nethttp.Header
	status  int
	body    []byte
	head    bool // HEAD: no body is sent
	old     bool // HTTP/1.0: no chunks
	closing bool // the connection ends with this response
	chunked bool
	started bool // the header is sent
	late    bool // Defer was called
	done    bool
	over    func() // runs once when done; nil = nothing
	taken   func() // runs when the queue is empty, see whenTaken
}

var _ nethttp.Flusher = (*Response)(nil)

// Conn returns the connection.
func (w *Response) Conn() *Conn { return w.c }

// Header returns the header to be sent. Content-Length, Connection, Date and
// Transfer-Encoding are set by pushd.
func (w *Response) Header() nethttp.Header { return w.header }

// WriteHeader sets the status, 200 to 999, once; interim ones are left out.
func (w *Response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

// Write adds to the body. After the client is gone it returns ErrClosed.
func (w *Response) Write(p []byte) (int, error) {
	if w.done || w.c.has(flagDead|flagEnd) {
		return 0, ErrClosed
	}
	w.WriteHeader(nethttp.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

// WriteString is Write.
func (w *Response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// Defer keeps the response open after OnRequest has returned. It must be ended
// with End within 60 s unless it has been flushed; then the client gets 504.
func (w *Response) Defer() { w.late = true }

// hasBody reports whether the client reads a body after the header.
func (w *Response) hasBody() bool { return !w.head && http.HasBody(w.status) }

// Flush sends what there is as a chunk. An HTTP/1.0 client, which knows no
// chunks, gets everything at the end.
func (w *Response) Flush() {
	if w.old || w.done || w.c.has(flagDead|flagEnd) {
		return
	}
	w.WriteHeader(nethttp.StatusOK)
	if !w.started {
		w.chunked = true
		w.sendHead(http.Chunked)
		w.c.loop.expect(w.c, 0) // a stream has no deadline
	}
	if len(w.body) > 0 && w.hasBody() {
		w.emit(len(w.body), func(dst []byte) []byte { return http.AppendChunk(dst, w.body) })
	}
	w.body = w.body[:0]
}

// End finishes the response. Calls after the first do nothing.
func (w *Response) End() {
	c := w.c
	if w.done || c.has(flagDead|flagEnd) {
		w.finish()
		return
	}
	w.WriteHeader(nethttp.StatusOK)
	if w.chunked {
		w.Flush()
		if w.hasBody() {
			w.emit(len(http.LastChunk), func(dst []byte) []byte { return append(dst, http.LastChunk...) })
		}
	} else {
		w.sendHead(w.length())
		if w.hasBody() {
			w.emit(len(w.body), func(dst []byte) []byte { return append(dst, w.body...) })
		}
	}
	w.release()
	if w.closing || c.loop.phase.leaving() {
		c.loop.finishAfter(c, stageDrain)
		return
	}
	c.loop.expect(c, keepAlive)
	c.loop.resume(c)
}

// length is what Content-Length says. A handler may answer HEAD without making
// the body of GET: then it is what the handler says, if anything.
func (w *Response) length() int {
	if !w.head || len(w.body) > 0 {
		return len(w.body)
	}
	if n, err := strconv.ParseUint(w.header.Get("Content-Length"), 10, 62); err == nil {
		return int(n)
	}
	return http.Untold
}

// WhenOver runs fn once the answer has ended: by End, or since the client is
// gone.
func (w *Response) WhenOver(fn func()) { w.over = fn }

// finish marks the end of the answer, sent or not.
func (w *Response) finish() {
	w.done = true
	if over := w.over; over != nil {
		w.over = nil
		defer w.c.loop.contain("WhenOver", nil)
		over()
	}
}

// whenTaken runs fn once the client has taken all that was flushed, for which it
// has deferTimeout. A client that is gone has the answer finished instead.
func (w *Response) whenTaken(fn func()) {
	if w.c.out == nil {
		fn()
		return
	}
	w.taken = fn
	w.c.loop.expect(w.c, deferTimeout)
}

// keepAlive is how long an HTTP connection may be idle between requests.
const keepAlive = 75 * time.Second

func (w *Response) sendHead(length int) {
	w.started = true
	w.closing = w.closing || w.c.loop.phase.leaving()
	if w.header.Get("Content-Type") == "" && len(w.body) > 0 {
		w.header.Set("Content-Type", nethttp.DetectContentType(w.body))
	}
	w.emit(0, func(dst []byte) []byte {
		return http.AppendHead(dst, w.status, w.header, length, w.closing, w.c.loop.date())
	})
}

// emit sends n bytes and their framing. What is streamed is under the rules for
// slow clients; a whole response begins when the one before is out, so it is
// alone in the queue.
func (w *Response) emit(n int, encode func([]byte) []byte) {
	l := w.c.loop
	if w.chunked {
		if l.uncorkFor(w.c, n); !l.fits(w.c, n) {
			l.failSend("slow")
			l.destroy(w.c, ErrSlow)
			return
		}
	}
	l.emit(w.c, encode)
}

// held is an answer that comes later.
type held struct {
	answer any // *Handshake, *Response, *shaking or *poll
}

// begun reports whether the client has got a part of the answer.
func (h *held) begun() bool {
	w, ok := h.answer.(*Response)
	return ok && w.started
}

// expire answers what took too long.
func (h *held) expire() {
	switch w := h.answer.(type) {
	case *Handshake:
		w.Refuse(nethttp.StatusGatewayTimeout, "the answer took too long")
	case *Response:
		w.expire()
	}
}

func (w *Response) expire() {
	switch {
	case !w.started:
		w.status = nethttp.StatusGatewayTimeout
		w.body = w.body[:0]
		w.End()
	case w.taken != nil:
		l := w.c.loop
		l.failSend("slow")
		l.destroy(w.c, ErrSlow)
	}
}

// drained tells that the queue of the connection is empty.
func (h *held) drained() {
	if w, ok := h.answer.(*Response); ok && w.taken != nil {
		fn := w.taken
		w.taken = nil
		w.c.loop.expect(w.c, 0)
		fn()
	}
}

// abort tells that the client is gone.
func (h *held) abort() {
	switch w := h.answer.(type) {
	case *Handshake:
		w.state = handshakeDone
	case *Response:
		w.finish()
	case *shaking:
		close(w.gone)
	}
}

// answer finds the route of a request and calls its handler.
func (c *Conn) answer(r *nethttp.Request) {
	l := c.loop
	c.gotMessage()
	l.counts.messagesIn++
	target := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	path := c.locate(target)
	host := c.believe(r.Host, func(name string) []string { return r.Header.Values(name) })
	l.promote(c)
	w := &Response{c: c, header: nethttp.Header{}, head: r.Method == nethttp.MethodHead, old: !r.ProtoAtLeast(1, 1), closing: r.Close || l.phase.leaving() || c.Full()}
	rt := l.match(path)
	switch {
	case !l.pass(c):
		l.refused(tooMany, c.RemoteAddr(), tooManyDetail)
		if asksForEvents(r.Header) {
			w.TurnAway()
			return
		}
		w.header.Set("Retry-After", "1")
		w.fail(nethttp.StatusTooManyRequests, "there are too many requests from your address")
	case c.port.redirect != "":
		w.redirected(host, target)
	case rt == nil:
		w.fail(nethttp.StatusNotFound, "there is nothing at this path")
	case rt.onRequest == nil:
		w.header.Set("Upgrade", "websocket")
		w.fail(nethttp.StatusUpgradeRequired, "this path speaks WebSocket")
	default:
		c.enter(rt, path)
		w.serve(rt, &Request{Request: r, conn: c})
	}
}

func (w *Response) fail(status int, text string) {
	w.header.Set("Content-Type", "text/plain; charset=utf-8")
	w.status, w.body = status, []byte(text+"\n")
	w.End()
}

// serve calls the handler and sends what it wrote, unless it wants to go on.
func (w *Response) serve(rt *route, r *Request) {
	c := w.c
	func() {
		defer c.loop.containRequest(w)
		rt.onRequest(w, r)
	}()
	if w.done {
		return
	}
	if c.has(flagDead | flagEnd) {
		w.finish()
		return
	}
	if !w.late {
		w.End()
		return
	}
	c.set(flagHeld)
	c.extra().held = &held{w}
	if !w.started {
		c.loop.expect(c, deferTimeout)
	}
}

// containRequest is contain for OnRequest: a panic is answered with 500.
func (l *loop) containRequest(w *Response) {
	if r := recover(); r != nil {
		l.panicked("OnRequest", nil, r, stack())
		w.broken()
	}
	l.contain("OnRequest", nil)
}

// broken ends an answer that will not be finished: with 500 if that can be said.
func (w *Response) broken() {
	w.closing, w.late = true, false
	if w.started {
		w.c.loop.destroy(w.c, ErrPanic)
		return
	}
	w.header = nethttp.Header{}
	w.fail(nethttp.StatusInternalServerError, "internal error")
}
