package api

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// boundedListener has at most max connections. Beyond it who comes takes the place
// of one that waits for a request, else of one that takes its time over the head of
// a request, before which nobody has shown a key; else it is closed at once. It can
// give up all those that wait (carry.go).
type boundedListener struct {
	net.Listener
	max    int
	sealed bool // TLS: nobody here can tell where a request begins, nor another process go on with what has been answered

	mu       sync.Mutex
	open     map[*boundedConn]struct{}
	patience time.Duration // slowHead

	once   sync.Once
	closed error // of Close
}

func newBounded(ln net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: ln, max: most, open: map[*boundedConn]struct{}{}, patience: slowHead}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &boundedConn{Conn: conn, listener: l, idle: true, since: time.Now()}
		c.silent.Store(true)
		evicted, room := l.enter(c)
		if evicted != nil {
			evicted.Conn.Close()
		}
		if room {
			return c, nil
		}
		conn.Close()
	}
}

// enter gives c a place, and says who had it.
func (l *boundedListener) enter(c *boundedConn) (evicted *boundedConn, room bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max {
		if evicted = l.idlest(); evicted == nil {
			return nil, false
		}
		delete(l.open, evicted)
	}
	l.open[c] = struct{}{}
	return evicted, true
}

// looks bounds the work of a connection that comes when there is no place.
const looks = 64

// slowHead is how long the head of a request is under way before its connection
// gives way.
const slowHead = time.Second

// idlest returns the connection that has waited longest for a request, else whose
// head takes longest, of as many as are looked at; nil for none. mu is held.
func (l *boundedListener) idlest() (found *boundedConn) {
	var since time.Time
	var idle bool
	n := 0
	for c := range l.open { // in random order
		if n++; n > looks {
			break
		}
		at, waits, ok := c.givesWay()
		if ok && (found == nil || waits && !idle || waits == idle && at.Before(since)) {
			found, since, idle = c, at, waits
		}
	}
	return found
}

// Close implements net.Listener; it may be called again.
func (l *boundedListener) Close() error {
	l.once.Do(func() { l.closed = l.Listener.Close() })
	return l.closed
}

// conns returns the connections of now.
func (l *boundedListener) conns() (list []*boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		list = append(list, c)
	}
	return list
}

// boundedConn gives its place back when it is closed. It remembers what has come
// of the next request, also of what net/http has read while the one before it
// was worked on: bytes behind its end, and the single one by which it watches
// for the client's end.
type boundedConn struct {
	net.Conn
	listener *boundedListener

	mu    sync.Mutex
	idle  bool      // no request is being worked on
	since time.Time // of that
	begun time.Time // since when the head of its next request is under way, if there is early
	early []byte    // received of the next request; when one is worked on, behind its head
	body  int64     // bytes still to come of the request that is worked on; -1 = unknown, for good
	taken bool      // it belongs to nobody here any more

	// Of a sealed one.
	shaking  bool // something was sent to it
	heard    bool // something has come since its last answer: of a handshake, or of a request
	farewell func()

	silent atomic.Bool // it has sent nothing yet

	reading sync.Mutex // held while a read is under way
}

// Read implements net.Conn.
func (c *boundedConn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.isTaken() {
		return 0, os.ErrDeadlineExceeded // to which net/http answers nothing
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.silent.Store(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received(b[:n])
	return n, err
}

// received notes what has come. mu is held.
func (c *boundedConn) received(b []byte) {
	switch {
	case c.idle:
		if len(c.early) == 0 && !c.heard {
			c.begun = time.Now()
		}
		c.heard = c.listener.sealed
		if !c.shaking {
			c.early = append(c.early, b...)
		}
	case c.listener.sealed:
	case c.body >= 0:
		own := min(c.body, int64(len(b)))
		c.body -= own
		c.early = append(c.early, b[own:]...)
	}
}

// Write implements net.Conn.
func (c *boundedConn) Write(b []byte) (int, error) {
	if !c.maySend() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// maySend is asked before something is sent. From then on a sealed connection is
// this process's, which says farewell to it even when it is taken.
func (c *boundedConn) maySend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener.sealed && !c.taken {
		c.shaking, c.early = true, nil
	}
	return c.shaking || !c.taken
}

// SetReadDeadline implements net.Conn. One that is taken is not to be read, ever.
func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *boundedConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// Close implements net.Conn. One that is taken is closed by who took it.
func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	if c.isTaken() {
		return nil
	}
	return c.Conn.Close()
}

func (c *boundedConn) isTaken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// entered notes what net/http says of the connection.
func (c *boundedConn) entered(state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.taken:
	case state == http.StateActive:
		c.idle, c.early = false, behindHead(c.early)
	case state == http.StateIdle:
		now := time.Now()
		c.idle, c.since, c.begun, c.heard = true, now, now, false
	}
}

// unread reports whether there may be more to come of the request's body.
func (c *boundedConn) unread() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body != 0
}

// givesWay reports whether the connection may be closed for another one: it waits
// for a request, or takes its time over the head of one; and since when. The
// listener's mu is held.
func (c *boundedConn) givesWay() (since time.Time, waits, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.idle || c.taken:
		return time.Time{}, false, false
	case len(c.early) == 0 && !c.heard:
		return c.since, true, true
	}
	return c.begun, false, time.Since(c.begun) > c.listener.patience
}

// behindHead cuts off the head of the request that data begins with.
func behindHead(data []byte) []byte {
	data = bytes.TrimLeft(data, "\r\n") // net/http skips those
	for {
		_, rest, found := bytes.Cut(data, []byte("\n"))
		switch {
		case !found:
			return nil
		case bytes.HasPrefix(rest, []byte("\n")):
			return bytes.Clone(rest[1:])
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return bytes.Clone(rest[2:])
		}
		data = rest
	}
}

// begin is called before a request is worked on, with the length of its body;
// -1 = it comes in chunks. False means that the connection was taken: the
// request travels with it.
func (c *boundedConn) begin(body int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken {
		return false
	}
	if c.body < 0 {
		return true
	}
	early := c.early
	c.early, c.body = nil, body
	c.received(early)
	return true
}

// take ends all use of an idle connection here and returns what has come of
// its next request; false means that one is being worked on, or, unless it is late,
// that a handshake or the request behind it is under way. Nobody knows where a
// request in chunks ends: after one, body is -1 and early not to be relied on.
func (c *boundedConn) take(late bool) (early []byte, ok bool) {
	c.mu.Lock()
	if !c.idle || c.taken || c.shaking && c.heard && !late {
		c.mu.Unlock()
		return nil, false
	}
	c.taken = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // ends a read under way
	c.mu.Unlock()
	c.reading.Lock() // after it
	defer c.reading.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.early, true
}

// carries reports whether another process can go on with a connection that was taken.
func (c *boundedConn) carries() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.shaking && c.body >= 0
}
