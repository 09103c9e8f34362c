// Package forwarded finds out who the client behind trusted proxies is, by the
// headers that they add to its requests.
package forwarded

import (
	"net/netip"
	"strings"
)

// Proxies are the networks whose word about their clients is believed.
type Proxies []netip.Prefix

func (p Proxies) trust(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Client returns the address of the client behind peer, a trusted proxy: going
// from it to the left through X-Forwarded-For, the first that no trusted proxy
// has, else the left-most. A hop that cannot be read ends the way at the one
// before. Without the header X-Real-IP says, if it stands there once.
func (p Proxies) Client(peer netip.Addr, forwarded, realIP []string) netip.Addr {
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

// Believed reports whether a peer is a trusted proxy. A unix socket's has no
// address; it is believed when any proxy is.
func (p Proxies) Believed(peer netip.Addr) bool {
	return len(p) > 0 && (!peer.IsValid() || p.trust(peer))
}
