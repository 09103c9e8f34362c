package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/protocol/certs"
)

// Secure makes Serve and ServeMetrics speak TLS to those who come through ln,
// each with what config returns at that moment. To another broker process move
// those to whom nothing has been sent; what is under way is finished before, and then
// they are closed, as after their idle time.
func Secure(ln net.Listener, config func() *tls.Config) net.Listener {
	return &secured{ln, config}
}

type secured struct {
	net.Listener
	config func() *tls.Config
}

// secureListener puts TLS on what a bounded listener accepts.
type secureListener struct {
	*boundedListener
	config func() *tls.Config
	failed func(client net.Addr, err error)
}

// Accept implements net.Listener. It does not wait for the handshake.
func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.boundedListener.Accept()
	if err != nil {
		return nil, err
	}
	raw := c.(*boundedConn)
	s := &secureConn{Conn: tls.Server(raw, l.config()), raw: raw, failed: l.failed}
	raw.farewell = func() { _ = s.CloseWrite() }
	return s, nil
}

// secureConn is a connection whose handshake is made by the first read, so within
// the time for a request's header. To net/http it is a plain one, which does not
// log the health checks of balancers.
type secureConn struct {
	*tls.Conn
	raw    *boundedConn
	failed func(net.Addr, error)
	shaken atomic.Bool
}

// Read implements net.Conn. After a failed handshake there is nothing to answer.
func (c *secureConn) Read(b []byte) (int, error) {
	if !c.shaken.Load() {
		if err := c.HandshakeContext(context.Background()); err != nil {
			c.refuse(err)
			return 0, io.EOF
		}
		c.shaken.Store(true)
	}
	return c.Conn.Read(b)
}

func (c *secureConn) refuse(err error) {
	switch {
	case c.shaken.Swap(true):
		return
	case c.raw.silent.Load(): // who connects and leaves wants to know whether the port is open
		return
	case c.raw.isTaken(): // it is shaken hands with by another process, or not waited for any more
		return
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && certs.IsHTTP(header.RecordHeader) {
		_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c.raw, certs.Clear)
	}
	c.failed(c.RemoteAddr(), err)
}

// shakeFailed logs failed handshakes, one a second.
func (s *Server) shakeFailed(client net.Addr, err error) {
	hint := certs.Hint(err)
	if hint == "" {
		return
	}
	s.shakes.more.Add(1)
	if !s.shakes.logged.Allow(time.Now()) {
		return
	}
	s.log.Warn("TLS handshake failed", "client", client, "error", err, "hint", hint, "more", s.shakes.more.Swap(0)-1)
}

// boundedOf returns what is under a connection that net/http has.
func boundedOf(c net.Conn) *boundedConn {
	switch c := c.(type) {
	case *boundedConn:
		return c
	case *secureConn:
		return c.raw
	}
	return nil
}
