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

// lines is a header of which only these are there.
func lines(name string, values ...string) func(string) []string {
	return func(lower string) []string {
		if lower == name {
			return values
		}
		return nil
	}
}

// TestStandard: who the client is by Forwarded, and what it has asked for.
func TestStandard(t *testing.T) {
	trusted := Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:a::/48")}
	peer := netip.MustParseAddr("127.0.0.1")
	const none = "127.0.0.1"
	for text, want := range map[string]string{
		"":                       none,
		"for=203.0.113.9":        "203.0.113.9",
		"For=203.0.113.9":        "203.0.113.9",
		`for="203.0.113.9"`:      "203.0.113.9",
		`for="203.0.113.9:4711"`: "203.0.113.9",
		"for=203.0.113.9:4711":   "203.0.113.9",
		`for="[2001:db8::1]"`:    "2001:db8::1",
		`for="[2001:db8::1]:80"`: "2001:db8::1",
		"for=[2001:db8::1]:80":   "2001:db8::1",
		`for="\2\03.0.113.9"`:    "203.0.113.9",
		`for="::ffff:10.0.0.1"`:  "10.0.0.1",
		`for="[fe80::1%eth0]"`:   none,
		"for=unknown":            none,
		"for=_hidden":            none,
		"for=":                   none,
		`for=""`:                 none,
		"proto=https":            none + " https",
		"for=203.0.113.9;proto=https;host=a.test;by=10.0.0.1": "203.0.113.9 https a.test",
		` host="a.test:81" ; for=203.0.113.9 ; proto=HTTPS`:   "203.0.113.9 https a.test:81",
		";;for=203.0.113.9;":                    "203.0.113.9",
		`x="a,b;for=6.6.6.6\"";for=203.0.113.9`: "203.0.113.9",
		"for=203.0.113.9;for=6.6.6.6":           none, "for=203.0.113.9 x": none, "for = 203.0.113.9": "203.0.113.9", `for = "203.0.113.9" `: "203.0.113.9", "for": none, `for="203.0.113.9"x`: none, `for="203.0.113.9`: none, `for="203.0.113.9\`: none,
		"for=6.6.6.6, for=203.0.113.9":                                                     "203.0.113.9",
		"for=6.6.6.6;host=evil.test;proto=https, for=203.0.113.9":                          "203.0.113.9",
		"for=203.0.113.9;host=a.test;proto=https, for=10.1.2.3;host=inner.test;proto=http": "203.0.113.9 https a.test",
		"for=203.0.113.9, for=10.1.2.3;host=a.test;proto=https":                            "203.0.113.9 https a.test",
		"for=6.6.6.6;host=evil.test, for=unknown, for=10.1.2.3":                            "10.1.2.3",
		"for=10.0.0.1, for=10.0.0.2":                                                       "10.0.0.1",
		"for=203.0.113.9, ,,":                                                              "203.0.113.9",
		`for="6.6.6.6, for=203.0.113.9`:                                                    "203.0.113.9", // a quote that the client left open
		`for=6.6.6.6;x=", for="[2001:db8::9]:80"`:                                          "2001:db8::9",
		`for="[2001:db8:a::1]", for="[2001:db8:a::2]";host="a\"b"`:                         `2001:db8:a::1  a"b`,
	} {
		said := trusted.Read(peer, lines("forwarded", text))
		if got := strings.TrimSpace(strings.Join([]string{said.Client.String(), said.Proto, said.Host}, " ")); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	both := map[string][]string{"forwarded": {"for=6.6.6.6;host=evil.test;proto=https"}, "x-forwarded-for": {"203.0.113.9"}}
	for _, name := range []string{"x-forwarded-for", "x-real-ip"} {
		if said := trusted.Read(peer, func(lower string) []string { return both[lower] }); said.Client.String() != "203.0.113.9" || said.Host+said.Proto != "" {
			t.Errorf("beside %s: %+v", name, said)
		}
		delete(both, "x-forwarded-for")
		both["x-real-ip"] = []string{"203.0.113.9"}
	}
	both["x-real-ip"] = []string{"1.1.1.1", "2.2.2.2"} // none of them counts, and neither does another header
	if said := trusted.Read(peer, func(lower string) []string { return both[lower] }); said.Client != peer {
		t.Errorf("X-Real-IP twice: %+v", said)
	}
}

// FuzzStandard: what a client has written into Forwarded changes nothing of what
// the proxies behind it have.
func FuzzStandard(f *testing.F) {
	for _, s := range []string{"", "for=6.6.6.6", `for="6.6.6.6`, `x="\`, `for=6.6.6.6;x="`, `\"`, ",;=", `for="\"`} {
		f.Add(s, s)
	}
	trusted := Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	peer := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, first, second string) {
		if a := trusted.Read(peer, lines("forwarded", first, second)).Client; !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			t.Fatalf("%s is no plain address", a)
		}
		for own, want := range map[string]Said{
			`for="[2001:db8::9]:80";host=a.test;proto=https`: {netip.MustParseAddr("2001:db8::9"), "a.test", "https"},
			`for=203.0.113.9`: {Client: netip.MustParseAddr("203.0.113.9")},
			`for=unknown`:     {Client: peer},
		} {
			for _, list := range [][]string{{first, second, own}, {first, second + ", " + own}, {first, second + "," + own, "for=127.0.0.5"}} {
				if own == "for=unknown" && len(list) == 3 && list[2] != own {
					want.Client = netip.MustParseAddr("127.0.0.5")
				}
				if said := trusted.Read(peer, lines("forwarded", list...)); said != want {
					t.Fatalf("%q: %+v, want %+v", list, said, want)
				}
			}
		}
	})
}
