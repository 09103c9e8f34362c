package worker

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/hub"
)

// FuzzOrigin: a page of another host is never let in by the default rule, and
// nothing that a client sends makes the rule panic.
func FuzzOrigin(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://example.com", "example.com"}, {"null", "a"}, {"http://[::1]:80", "[::1]"}, {"http://a@b", "b"},
		{"https://EXAMPLE.com:8443", "example.com:443"}, {"//x", "x"}, {"http://x/", "x"}, {"%zz", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	rule, err := parseOrigins([]string{"https://good.test", "*.sub.test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, origin, host string) {
		if !rule.allows(origin, host) {
			return
		}
		_, rest, ok := strings.Cut(origin, "://")
		name, _ := splitHost(rest)
		own, _ := splitHost(host)
		if !ok || name != own && name != "good.test" && !strings.HasSuffix(name, ".sub.test") {
			t.Fatalf("origin %q was let in at host %q", origin, host)
		}
	})
}

// FuzzForwarded: the address that comes out of a proxy's headers is never left of
// a hop that is no trusted proxy, and is plain.
func FuzzForwarded(f *testing.F) {
	f.Add("9.9.9.9, 203.0.113.7, 127.0.0.1", "", "")
	f.Add("[2001:db8::1]:443", "127.0.0.5,", "10.0.0.1")
	f.Add(",,", "unix:, ::1", "::ffff:1.2.3.4%eth0")
	trusted := proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	peer := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, first, second, real string) {
		a := trusted.client(peer, []string{first, second}, []string{real})
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

// FuzzRoute: a path finds the same route with and without its query, and the
// parameters are parts of it.
func FuzzRoute(f *testing.F) {
	m, err := newPathMap([]Route{
		{Pattern: "/", Handler: 1}, {Pattern: "/app/{key}", Handler: 2}, {Pattern: "/a/{x}/b/{y}", Handler: 3}, {Pattern: "/s/*", Handler: 4},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"/", "/app/k", "/app/", "/a/1/b/2", "/s/x/y", "", "//", "/app/k/", "/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r := m.find(path)
		for _, name := range []string{"key", "x", "y", "none"} {
			v := ""
			if r != nil {
				v = r.param(path, name)
			}
			known := r != nil && strings.Contains(r.pattern, "{"+name+"}")
			if known != (v != "") || strings.Contains(v, "/") || !strings.Contains(path, v) {
				t.Fatalf("%q: %s = %q", path, name, v)
			}
		}
		if r != nil && r.exact != "" && r.exact != path {
			t.Fatalf("%q found %q", path, r.exact)
		}
	})
}

// FuzzID: only what String writes is an id.
func FuzzID(f *testing.F) {
	f.Add("8237.1942")
	f.Add("01.2")
	f.Add("18446744073709551616.1")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := ParseID(s); ok && id.String() != s {
			t.Fatalf("%q is the id %q", s, id)
		}
	})
}

// FuzzQuery: whatever the master or another process asks, the loop answers.
func FuzzQuery(f *testing.F) {
	l := &loop{w: New(), plain: &route{}}
	f.Add("connections", []byte(`{"limit":5,"cursor":"1.2"}`))
	f.Add("channels", []byte(`{"prefix":"x"}`))
	f.Add("?", []byte(`{`))
	f.Fuzz(func(t *testing.T, what string, args []byte) {
		if what == "stats" {
			return // needs a broker
		}
		l.hub = hub.New[*Conn]()
		out, err := l.query(what, args)
		if err == nil && !json.Valid(out) {
			t.Fatalf("%s", out)
		}
	})
}
