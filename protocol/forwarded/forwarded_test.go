package forwarded

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded: the address that comes out of a proxy's headers is never left of
// a hop that is no trusted proxy, and is plain.
func FuzzForwarded(f *testing.F) {
	f.Add("9.9.9.9, 203.0.113.7, 127.0.0.1", "", "")
	f.Add("[2001:db8::1]:443", "127.0.0.5,", "10.0.0.1")
	f.Add(",,", "unix:, ::1", "::ffff:1.2.3.4%eth0")
	trusted := Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	peer := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, first, second, real string) {
		a := trusted.Client(peer, []string{first, second}, []string{real})
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			t.Fatalf("%s is no plain address", a)
		}
		var hops []string
		for hop := range strings.SplitSeq(first+","+second, ",") {
			if hop = strings.TrimSpace(hop); hop != "" {
				hops = append(hops, hop)
			}
		}
		if len(hops) == 0 {
			if b := parseHop(real); a != b && (a != peer || b.IsValid()) {
				t.Fatalf("%s instead of %q", a, real)
			}
			return
		}
		for i := len(hops) - 1; i >= 0; i-- {
			b := parseHop(hops[i])
			if a == b {
				return // nothing right of it is a stranger's
			}
			if !b.IsValid() || !trusted.trust(b) {
				break
			}
		}
		if a != peer || parseHop(hops[len(hops)-1]).IsValid() {
			t.Fatalf("%s is left of a stranger in %q", a, hops)
		}
	})
}
