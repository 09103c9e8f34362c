package worker

import (
	"net/netip"
	"strings"
)

// proxies are the networks whose word about their clients is believed.
type proxies []netip.Prefix

func (p proxies) trust(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// client returns the address of the client behind peer, a trusted proxy: going
// from it to the left through X-Forwarded-For, the first that no trusted proxy
// has, else the left-most. A hop that cannot be read ends the way at the one
// before. Without the header X-Real-IP says, if it stands there once.
func (p proxies) client(peer netip.Addr, forwarded, realIP []string) netip.Addr {
	known := false
	at := peer
	for i := len(forwarded) - 1; i >= 0; i-- {
		for list, more := forwarded[i], true; more; {
			var hop string
			if hop, list, more = cutMember(list); hop == "" {
				continue // as in any list in a header
			}
			known = true
			a := parseHop(hop)
			if !a.IsValid() {
				return at
			}
			if at = a; !p.trust(a) {
				return at
			}
		}
	}
	if known || len(realIP) != 1 {
		return at
	}
	if a := parseHop(realIP[0]); a.IsValid() {
		return a
	}
	return peer
}

// cutMember cuts off the last member of a list.
func cutMember(list string) (last, rest string, more bool) {
	i := strings.LastIndexByte(list, ',')
	return strings.TrimSpace(list[i+1:]), list[:max(i, 0)], i >= 0
}

// parseHop reads an address with or without a port. One with a zone is none: that
// means nothing elsewhere, and may be any text.
func parseHop(s string) netip.Addr {
	s = strings.TrimSpace(s)
	ap, err := netip.ParseAddrPort(s)
	a := ap.Addr()
	if err != nil {
		a, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	}
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}

// headers returns the values of all lines of a name, which is in lower case.
type headers func(lower string) []string

// believe takes the client's address and the host from the headers of a trusted
// proxy, and returns the host that the client asked for. What the request before
// on this connection has said is forgotten: it was another client's.
func (c *Conn) believe(host string, header headers) string {
	l := c.loop
	if len(l.proxies) == 0 {
		return host
	}
	peer := c.peer().Addr()
	if !l.proxies.believed(peer) {
		c.remember(fieldIP, "", "")
		return host
	}
	told := ""
	if a := l.proxies.client(peer, header("x-forwarded-for"), header("x-real-ip")); a != peer {
		told = a.String()
	}
	c.remember(fieldIP, "", told)
	if list := header("x-forwarded-host"); len(list) == 1 {
		if first, _, _ := strings.Cut(list[0], ","); strings.TrimSpace(first) != "" {
			return strings.TrimSpace(first)
		}
	}
	return host
}

// believed reports whether a peer is a trusted proxy. A unix socket's has no
// address; it is believed when any proxy is.
func (p proxies) believed(peer netip.Addr) bool {
	return len(p) > 0 && (!peer.IsValid() || p.trust(peer))
}
