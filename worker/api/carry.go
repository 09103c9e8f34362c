package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// When the broker process is replaced, clients keep their connections: those of
// HTTP between two requests, those of ingest between two lines. Listeners are
// the master's and stay open anyway.

// Carried is a client's connection on its way to another process.
type Carried struct {
	Door   string   // listener it came through
	TLS    bool     // which speaks it: so will its client
	Prefix []byte   // received, not worked on
	File   *os.File // a duplicate of the socket; whoever gets it closes it
}

// doorOf names a listener alike in both processes.
func doorOf(ln net.Listener) string { return ln.Addr().Network() + "/" + ln.Addr().String() }

// doors are the listeners that connections can come and go through.
type doors struct {
	mu      sync.Mutex
	leaving bool
	http    map[*boundedListener]string
	in      map[string]door // by name
	serving sync.WaitGroup  // servers of http
}

// door is where connections of another process come in.
type door struct {
	tls   bool // spoken behind it
	admit func(net.Conn)
}

// guests is a listener for connections that another process has accepted.
type guests struct {
	net.Listener // of those of its own, for Addr
	c            chan net.Conn
	closed       chan struct{}
	once         sync.Once
}

func (g *guests) Accept() (net.Conn, error) {
	select {
	case c := <-g.c:
		return c, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

func (g *guests) Close() error {
	g.once.Do(func() { close(g.closed) })
	return nil
}

// serve runs an HTTP server on ln, and on what comes through its door later.
func (s *Server) serve(h *http.Server, ln net.Listener) error {
	tls, _ := ln.(*secured)
	if tls != nil {
		ln = tls.Listener
	}
	own := newBounded(ln, s.o.Connections)
	g := &guests{Listener: ln, c: make(chan net.Conn), closed: make(chan struct{})}
	theirs := newBounded(g, s.o.Connections)
	name := doorOf(ln)
	var inside, outside net.Listener = own, theirs
	if tls != nil {
		own.sealed, theirs.sealed = true, true
		inside, outside = &secureListener{own, tls.config, s.shakeFailed}, &secureListener{theirs, tls.config, s.shakeFailed}
	}
	s.doors.mu.Lock()
	if s.doors.leaving { // before this one was served: Export does not know it, nor wait for it
		s.doors.mu.Unlock()
		return own.Close()
	}
	s.doors.http[own], s.doors.http[theirs] = name, name
	s.doors.in[name] = door{tls != nil, func(c net.Conn) {
		if b, ok := c.(*begunConn); ok {
			b.idle.Store(len(b.prefix) == 0 && tls == nil)
		}
		select {
		case g.c <- c:
		case <-g.closed:
			c.Close()
		}
	}}
	s.doors.serving.Add(2)
	s.doors.mu.Unlock()
	go func() {
		defer s.doors.serving.Done()
		_ = h.Serve(outside) // ends with h
	}()
	defer s.doors.serving.Done()
	err := h.Serve(inside)
	if errors.Is(err, http.ErrServerClosed) || s.doors.isLeaving() {
		return nil
	}
	return err
}

func (d *doors) isLeaving() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leaving
}

// doorPatience is how long an imported connection waits for its listener to be
// served.
const doorPatience = 2 * time.Second

// Import serves a connection of another process as if it had been accepted
// here. One without a listener here is closed.
func (s *Server) Import(c Carried) error {
	conn, err := net.FileConn(c.File) // duplicates it
	c.File.Close()
	if err == nil {
		go s.doors.enter(c.Door, c.TLS, &begunConn{Conn: conn, prefix: c.Prefix})
	}
	return err
}

func (d *doors) enter(name string, tls bool, conn net.Conn) {
	for deadline := time.Now().Add(doorPatience); ; time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		in, open := d.in[name]
		d.mu.Unlock()
		if open && in.tls == tls {
			in.admit(conn)
			return
		}
		if open || time.Now().After(deadline) { // or it came when this port spoke something else
			conn.Close()
			return
		}
	}
}

// begunConn is a connection of which something was read before. One between two
// requests may go on to say nothing for as long as any such: net/http takes it
// for new, and gives it the time for the head of a request only.
type begunConn struct {
	net.Conn
	prefix []byte
	idle   atomic.Bool // nothing of its next request has come yet
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	if n > 0 && c.idle.Swap(false) {
		_ = c.Conn.SetReadDeadline(time.Now().Add(headTimeout))
	}
	return n, err
}

// SetReadDeadline implements net.Conn. A time that is over ends a read, and holds.
func (c *begunConn) SetReadDeadline(t time.Time) error {
	if now := time.Now(); c.idle.Load() && t.After(now) {
		t = now.Add(idleTimeout)
	}
	return c.Conn.SetReadDeadline(t)
}

// firstRequest is how long Export waits, within its ctx, for the request of a client
// whose TLS handshake is under way here, or was made.
const firstRequest = time.Second

// Export closes the listeners here, lets the requests in flight finish until
// ctx is over, and gives up the connections of all clients by calling give for
// each. Those over TLS that have been answered end here. Close has to follow.
func (s *Server) Export(ctx context.Context, give func(Carried)) {
	d := &s.doors
	d.mu.Lock()
	d.leaving = true
	listeners := map[*boundedListener]string{}
	for ln, name := range d.http {
		listeners[ln] = name
	}
	d.mu.Unlock()
	for ln := range listeners {
		ln.Close()
	}
	s.ingest.carry(give)
	d.serving.Wait() // nobody comes any more
	for begin := time.Now(); ; {
		busy := 0
		for ln, name := range listeners {
			for _, c := range ln.conns() {
				early, ok := c.take(time.Since(begin) > firstRequest)
				if !ok {
					busy++
					continue
				}
				switch {
				case c.carries(): // else a client finds it closed, as after its idle time
					carryConn(Carried{Door: name, TLS: ln.sealed, Prefix: early}, c.Conn, give)
				case c.farewell != nil:
					c.farewell()
				}
				c.Conn.Close()
				c.Close() // to be forgotten
			}
		}
		if busy == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// carryConn gives a duplicate of conn. A connection that cannot be duplicated
// is closed with its process, as any is in a crash.
func carryConn(c Carried, conn net.Conn, give func(Carried)) {
	if b, ok := conn.(*begunConn); ok {
		c.Prefix = append(c.Prefix, b.prefix...)
		conn = b.Conn
	}
	f, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return
	}
	if file, err := f.File(); err == nil {
		c.File = file
		give(c)
	}
}

// connKey is where a request's connection is found.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, boundedOf(c))
}

func noteState(c net.Conn, state http.ConnState) {
	if b := boundedOf(c); b != nil {
		b.entered(state)
	}
}

// restOfBody is how long a body that nobody has read may still take: it is thrown
// away, and its client has had its answer, or gets it then.
const restOfBody = time.Second

// unlessTaken keeps a request from being worked on here whose connection was
// given up at the moment at which its last byte came: it travels with it.
func (d *doors) unlessTaken(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(*boundedConn)
		if c != nil && !c.begin(r.ContentLength) {
			panic(http.ErrAbortHandler)
		}
		if c != nil && c.listener.sealed {
			w = lastAnswer{w, d}
		}
		h.ServeHTTP(w, r)
		if c != nil && c.unread() {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restOfBody))
		}
	})
}

// lastAnswer tells the client of a connection that does not move that it is to come
// back by another one.
type lastAnswer struct {
	http.ResponseWriter
	doors *doors
}

// WriteHeader implements http.ResponseWriter.
func (w lastAnswer) WriteHeader(status int) {
	w.tell()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w lastAnswer) Write(b []byte) (int, error) {
	w.tell()
	return w.ResponseWriter.Write(b)
}

// tell has no effect once the head of the answer is out.
func (w lastAnswer) tell() {
	if w.doors.isLeaving() {
		w.Header().Set("Connection", "close")
	}
}

// Unwrap is for http.ResponseController.
func (w lastAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
