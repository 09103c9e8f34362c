package worker

import (
	"context"
	nethttp "net/http"
)

// HTTP makes an OnRequest of a net/http handler: a mux, a framework. Each request
// runs on a goroutine of its own, as by Go, so the handler may block; it reaches
// connections through Post. What is quick and never blocks can do without, on the
// loop: w.OnRequest = func(w *Response, r *Request) { h.ServeHTTP(w, r.Request) }.
//
// The request's context ends when the client is gone or the answer is out. The
// handler has 60 s to return or to flush; then the client gets 504. A panic is
// answered with 500, logged and counted, one with net/http's ErrAbortHandler cuts
// the connection. When 1,024 functions of Go are running, the client gets 503.
//
// Up to 256 KiB (or half of limits.max_queue, if that is less) are sent whole when the
// handler returns. More, and what is flushed, goes out in chunks: Write and Flush
// wait until the client has taken what came before, and a client that takes
// nothing of it for 60 s is cut. An HTTP/1.0 client, which knows no chunks, gets up
// to 64 MiB at the end; for more it gets 500, and Write returns ErrTooLarge. After
// the client is gone, Write returns ErrClosed. Hijack is not there: WebSockets have
// callbacks of their own.
func HTTP(h nethttp.Handler) func(w *Response, r *Request) {
	return func(w *Response, r *Request) {
		l := w.c.loop
		ctx, cancel := context.WithCancel(r.Context())
		a := &httpWriter{w: w, ctx: ctx, header: w.header.Clone(), piece: maxPiece}
		if limit := l.w.Limits.MaxQueue; limit > 0 {
			a.piece = max(min(a.piece, limit/2), 1) // with its framing it fits
		}
		req := r.WithContext(ctx)
		req.RemoteAddr = w.c.RemoteAddr().String()
		w.over = cancel
		if err := l.w.Go(func() { a.serve(h, req) }); err != nil {
			w.header.Set("Retry-After", "1")
			w.fail(nethttp.StatusServiceUnavailable, "too many requests are being worked on")
			return
		}
		w.Defer()
	}
}

const (
	maxPiece = 256 << 10 // bytes of a body that are kept before they are sent
	maxOld   = 64 << 20  // of a body that is kept for an HTTP/1.0 client
)

// httpWriter is the ResponseWriter of a handler that runs off the loop. It belongs
// to the handler's goroutine; w belongs to the loop and is touched in post alone.
type httpWriter struct {
	w        *Response
	ctx      context.Context // ends with w
	header   nethttp.Header
	sent     nethttp.Header // header as it was at WriteHeader
	status   int
	body     []byte
	piece    int
	tooLarge bool
}

var _ nethttp.Flusher = (*httpWriter)(nil)

func (a *httpWriter) Header() nethttp.Header { return a.header }

func (a *httpWriter) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *httpWriter) Write(p []byte) (n int, err error) {
	a.WriteHeader(nethttp.StatusOK)
	if a.w.old && len(a.body)+len(p) > maxOld {
		a.tooLarge = true
		return 0, ErrTooLarge
	}
	for n < len(p) {
		if a.ctx.Err() != nil {
			return n, ErrClosed
		}
		k := len(p) - n
		if !a.w.old {
			if len(a.body) >= a.piece {
				a.Flush()
			}
			k = min(k, a.piece-len(a.body))
		}
		a.body = append(a.body, p[n:n+k]...)
		n += k
	}
	return n, nil
}

// Flush sends what there is and waits until the client has taken it.
func (a *httpWriter) Flush() {
	a.WriteHeader(nethttp.StatusOK)
	if a.w.old {
		return
	}
	taken := make(chan struct{})
	if a.post(func(w *Response) {
		w.Flush()
		w.body = nil // it is the handler's again
		w.whenTaken(func() { close(taken) })
	}) != nil {
		return
	}
	select {
	case <-taken:
		a.body = a.body[:0]
	case <-a.ctx.Done():
		a.body = nil
	}
}

// post runs fn on the loop with what has been written, unless the answer is over.
// There is one at a time for each handler, so Go's bound is theirs too.
func (a *httpWriter) post(fn func(w *Response)) error {
	return a.w.c.loop.reactor.Post(func() {
		w := a.w
		if w.done {
			return
		}
		if !w.started {
			w.status, w.header = a.status, a.sent
		}
		w.body = a.body
		fn(w)
	}, 0)
}

// serve calls the handler and ends the answer.
func (a *httpWriter) serve(h nethttp.Handler, r *nethttp.Request) {
	returned := false
	defer func() { // not returned: it has panicked or called Goexit
		p := recover()
		a.end(returned, p == nethttp.ErrAbortHandler)
		if p != nil && p != nethttp.ErrAbortHandler {
			panic(p) // Go tells of it
		}
	}()
	h.ServeHTTP(a, r)
	returned = true
}

func (a *httpWriter) end(returned, abort bool) {
	a.WriteHeader(nethttp.StatusOK)
	_ = a.post(func(w *Response) { // a stopped worker has no clients
		switch {
		case abort:
			w.c.loop.destroy(w.c, ErrPanic)
		case !returned || a.tooLarge:
			w.broken()
		default:
			w.End()
		}
	})
}
