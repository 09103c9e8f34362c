package worker

import "net/netip"

// visitor counts for one address.
type visitor struct {
	conns  int
	second uint32
	recent int // arrivals in that second
}

// tooMany is the cause of a refusal, in metrics and logs.
const tooMany = "per_ip"

const tooManyDetail = "limits.per_ip or limits.per_ip_rate"

// behindProxy reports whether the client's address is not the peer's: a request,
// or the header of the PROXY protocol, has to tell it. It is counted then, and not
// on accept.
func (l *loop) behindProxy(c *Conn) bool {
	peer := c.peer().Addr()
	return c.has(flagHeader) || !peer.IsValid() || c.port.addr.packet == nil && l.proxies.Believed(peer)
}

// visitor returns what is counted for the client's address, nil where nothing is:
// without a limit, or an address. In IPv6 it is counted by /64, which is what one
// customer has.
func (l *loop) visitor(c *Conn) *visitor {
	if l.accept.byIP == nil {
		return nil
	}
	ip := c.RemoteAddr().Addr()
	if !ip.IsValid() {
		return nil
	}
	if ip.Is6() {
		ip = netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	v := l.accept.byIP[ip]
	if v == nil {
		v = &visitor{}
		l.accept.byIP[ip] = v
	}
	return v
}

// arrives counts an arrival of the visitor against per_ip_rate.
func (l *loop) arrives(v *visitor) bool {
	if s := seconds(l.now); v.second != s {
		v.second, v.recent = s, 0
	}
	v.recent++
	most := l.w.Limits.PerIPRate
	return most == 0 || v.recent <= most
}

// welcome counts c for its address, until its end, unless that is too many.
func (l *loop) welcome(c *Conn) bool {
	if c.more != nil && c.more.counted != nil {
		return true
	}
	v := l.visitor(c)
	if v == nil {
		return true
	}
	most := l.w.Limits.PerIP
	if !l.arrives(v) || most > 0 && v.conns >= most {
		return false
	}
	v.conns++
	c.extra().counted = v
	return true
}

// pass counts a request of a client behind a proxy. The connection is the
// proxy's, and serves others next.
func (l *loop) pass(c *Conn) bool {
	if l.accept.byIP == nil || !l.behindProxy(c) {
		return true
	}
	v := l.visitor(c)
	return v == nil || l.arrives(v)
}

// farewell undoes welcome, recount and greet.
func (l *loop) farewell(c *Conn) {
	l.ungreet(c)
	if c.more != nil && c.more.counted != nil {
		c.more.counted.conns--
		c.more.counted = nil
	}
}

// recount counts a connection that another process has let in.
func (l *loop) recount(c *Conn) {
	if l.accept.byIP == nil || c.more != nil && c.more.counted != nil || (!c.transport.talks || c.has(flagHeader)) && l.behindProxy(c) {
		return
	}
	if v := l.visitor(c); v != nil {
		v.conns++
		c.extra().counted = v
	}
}

// forgetVisitors drops the addresses that have no connection and made none in
// this second. It runs once a second.
func (l *loop) forgetVisitors() {
	now := seconds(l.now)
	for ip, v := range l.accept.byIP {
		if v.conns <= 0 && v.second != now {
			delete(l.accept.byIP, ip)
		}
	}
}
