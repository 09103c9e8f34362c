package origin

import (
	"strings"
	"testing"
)

// TestOriginsThatAreNoHosts: pages of apps and files have origins of their own,
// and an entry that could never match is refused.
func TestOriginsThatAreNoHosts(t *testing.T) {
	for entry, c := range map[string]struct{ passes, not []string }{
		"null":                      {[]string{"null"}, []string{"file://", "http://null", "NULL", "https://evil.test"}},
		"file://":                   {[]string{"file://"}, []string{"null", "file:///x", "https://file", "file://x"}},
		"capacitor://localhost":     {[]string{"capacitor://localhost"}, []string{"http://localhost", "null"}},
		"example.com":               {[]string{"https://example.com", "http://example.com:8080"}, []string{"null", "file://", "https://xexample.com"}},
		"https://EXAMPLE.com:443":   {[]string{"https://example.com"}, []string{"https://example.com:8443", "http://example.com"}},
		"example.com:443":           {[]string{"https://example.com", "http://example.com:443"}, []string{"http://example.com", "https://example.com:444"}},
		"*.example.com":             {[]string{"https://a.b.example.com"}, []string{"https://example.com", "https://badexample.com"}},
		"http://[::1]:3000":         {[]string{"http://[::1]:3000"}, []string{"http://[::1]", "http://[::2]:3000"}},
		"::1":                       {[]string{"http://[::1]:3000"}, nil},
		"https://xn--mnchen-3ya.de": {[]string{"https://xn--mnchen-3ya.de"}, nil},
	} {
		o, err := Parse([]string{entry})
		if err != nil {
			t.Errorf("%s: %v", entry, err)
		}
		for _, from := range c.passes {
			if !o.Allows(from, "push.test") {
				t.Errorf("%s: %s is refused", entry, from)
			}
		}
		for _, from := range c.not {
			if o.Allows(from, "push.test") {
				t.Errorf("%s: %s passes", entry, from)
			}
		}
	}
	for _, entry := range []string{
		"", "https://", "https://example.com/", "example.com/x", "https://münchen.de", "https://user@example.com", "example.com:abc", "example.com:0443",
		"example.com:", "example.com:99999", "wss://example.com", "file:///", "file://x", "https://example.com?x", "https://example.com#x", "http:example.com",
		"a b", "*.", "*.*.com", "https://[fe80::1%eth0]", "[0:0::1]", "exa*mple.com", "Null", "://x",
	} {
		if _, err := Parse([]string{entry}); err == nil {
			t.Errorf("%q is taken, and can never match", entry)
		}
	}
}

// FuzzOrigin: a page of another host is never let in by the default rule, and
// nothing that a client sends makes the rule panic.
func FuzzOrigin(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://example.com", "example.com"}, {"null", "a"}, {"http://[::1]:80", "[::1]"}, {"http://a@b", "b"},
		{"https://EXAMPLE.com:8443", "example.com:443"}, {"//x", "x"}, {"http://x/", "x"}, {"%zz", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	rule, err := Parse([]string{"https://good.test", "*.sub.test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, origin, host string) {
		if !rule.Allows(origin, host) {
			return
		}
		_, rest, ok := strings.Cut(origin, "://")
		name, _ := SplitHost(rest)
		own, _ := SplitHost(host)
		if !ok || name != own && name != "good.test" && !strings.HasSuffix(name, ".sub.test") {
			t.Fatalf("origin %q was let in at host %q", origin, host)
		}
	})
}
