package worker

import (
	"errors"
	"net/netip"

	"github.com/pushd/pushd/protocol/proxy"
	"github.com/pushd/pushd/worker/record"
)

// ErrIntroduction ends a connection of a trusted proxy that does not begin with
// the header of the PROXY protocol, where the group asks for one.
var ErrIntroduction = errors.New("no header of the PROXY protocol from a trusted proxy")

// expectsHeader reports whether a new connection begins with a header of the
// PROXY protocol. Nobody but a trusted proxy is asked for one, or believed.
func (l *loop) expectsHeader(c *Conn) bool {
	return l.w.ProxyProtocol && l.proxies.Believed(c.peer().Addr())
}

// introduce takes the header at the beginning of p and returns what follows it.
// From then on the peer is the client that it names, and the connection counts for
// that one. A header that is not whole is all returned.
func (c *Conn) introduce(p []byte) []byte {
	l := c.loop
	from, n, err := proxy.Parse(p)
	switch {
	case err != nil:
		l.refused("proxy", c.peer(), err.Error()+" from a trusted proxy")
		l.destroy(c, ErrIntroduction)
		return nil
	case n == 0:
		return p
	}
	c.clear(flagHeader)
	if from.IsValid() {
		c.remember(record.Peer, "", from.String())
	}
	if !l.behindProxy(c) && !l.welcome(c) {
		l.refused(tooMany, c.peer(), tooManyDetail)
		if c.asks() {
			l.reject(c, 429, "there are too many connections from your address")
		} else {
			l.destroy(c, nil)
		}
		return nil
	}
	if !c.transport.requests { // a request is due when the header was
		l.expect(c, 0)
		c.transport.open(c)
	}
	return p[n:]
}

// peer returns the address at the other end of the socket, or that of the client
// whose bytes a proxy passes through.
func (c *Conn) peer() netip.AddrPort {
	if text := c.text(record.Peer, ""); text != "" {
		if a, err := netip.ParseAddrPort(text); err == nil {
			return a
		}
	}
	return c.sock.Peer()
}
