package client

import (
	"crypto/tls"
	"net"
	"os"
	"sync"
	"time"
)

// secure is what a connection to a wss address has between its socket and its
// frames. The handshake has a goroutine, which waits for what the loop feeds it;
// from then on the loop drives conn and nothing waits.
type secure struct {
	conn *tls.Conn
	send func([]byte) // puts bytes of the handshake on the loop

	mu   sync.Mutex
	more *sync.Cond
	in   []byte // received, not yet read by conn
	out  []byte // sealed by the loop, not yet written
	open bool   // the handshake is over
	end  error  // of the socket
}

// errAgain says that what follows has not come yet. crypto/tls reads on after it.
type errAgain struct{}

func (errAgain) Error() string   { return "nothing there yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// Read implements net.Conn.
func (s *secure) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.in) == 0 && s.end == nil && !s.open {
		s.more.Wait()
	}
	switch {
	case len(s.in) > 0:
		n := copy(p, s.in)
		s.in = s.in[n:]
		return n, nil
	case s.end != nil:
		return 0, s.end
	}
	return 0, errAgain{}
}

// Write implements net.Conn.
func (s *secure) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		s.out = append(s.out, p...)
	} else {
		s.send(append([]byte(nil), p...))
	}
	return len(p), nil
}

func (s *secure) feed(b []byte) {
	s.mu.Lock()
	s.in = append(s.in, b...)
	s.mu.Unlock()
	s.more.Signal()
}

// fail ends a handshake that waits.
func (s *secure) fail() {
	s.mu.Lock()
	s.end = os.ErrClosed
	s.mu.Unlock()
	s.more.Signal()
}

// The rest of net.Conn means nothing here.

func (s *secure) Close() error                     { return nil }
func (s *secure) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *secure) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *secure) SetDeadline(time.Time) error      { return nil }
func (s *secure) SetReadDeadline(time.Time) error  { return nil }
func (s *secure) SetWriteDeadline(time.Time) error { return nil }

// shake begins the TLS handshake of a socket that has its peer.
func (l *Loop) shake(c *Conn, config *tls.Config) {
	s := &secure{send: func(b []byte) {
		l.Post(func() {
			if c.state == shaking {
				l.put(c, b)
			}
		})
	}}
	s.more = sync.NewCond(&s.mu)
	s.conn = tls.Client(s, config)
	c.secure, c.state = s, shaking
	l.watch(c)
	go func() {
		err := s.conn.Handshake()
		l.Post(func() { l.shaken(c, err) })
	}()
}

// shaken goes on when the handshake is over.
func (l *Loop) shaken(c *Conn, err error) {
	if c.state != shaking {
		return
	}
	if err != nil {
		l.drop(c, err)
		return
	}
	c.secure.open = true
	l.request(c)
	l.unseal(c, nil)
}

// unseal decrypts what has come.
func (l *Loop) unseal(c *Conn, b []byte) {
	s := c.secure
	s.in = append(s.in, b...)
	for c.state < gone {
		n, err := s.conn.Read(l.plain)
		if n > 0 {
			l.input(c, l.plain[:n])
		}
		if _, again := err.(errAgain); again {
			break
		}
		if err != nil {
			l.drop(c, err)
		}
	}
	if len(s.in) == 0 {
		s.in = nil
	}
	if out := s.out; len(out) > 0 && c.state < gone { // the answer to a KeyUpdate
		s.out = nil
		l.put(c, out)
	}
}

// seal encrypts b, if the connection does so.
func (c *Conn) seal(b []byte) []byte {
	s := c.secure
	if s == nil {
		return b
	}
	if _, err := s.conn.Write(b); err != nil {
		return nil // the next read says why
	}
	out := s.out
	s.out = nil
	return out
}

// Resumed reports whether TLS has gone on with a session of before.
func (c *Conn) Resumed() bool { return c.secure != nil && c.secure.conn.ConnectionState().DidResume }
