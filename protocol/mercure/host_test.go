package mercure

import (
	"strings"
	"testing"
)

// Section "URL Pattern": hosts are what the URL standard makes of them, in topics and
// in patterns, so that it does not matter who writes them how.
func TestHosts(t *testing.T) {
	h := hub(t, false)
	for _, c := range []struct {
		match, topic string
		want         bool
	}{
		{"https://bücher.example/:id", "https://bücher.example/1", true},
		{"https://bücher.example/:id", "https://xn--bcher-kva.example/1", true},
		{"https://xn--bcher-kva.example/:id", "https://BÜCHER.example/1", true},
		{"https://b%C3%BCcher.example/:id", "https://bu\u0308cher.example/1", true}, // escaped, and in two characters
		{"https://bücher.example/:id", "https://bucher.example/1", false},
		{"https://:shop.bücher.example/*", "https://a.xn--bcher-kva.example/1", true},
		{"https://*.bücher.example/*", "https://a.b.BÜCHER.example/1", true},
		{"https://{www.}?bücher.example/", "https://bücher.example/", true},
		{"https://bücher.:tld/", "https://bücher.example/", true},
		{"https://例え。テスト/*", "https://xn--r8jz45g.xn--zckzah/1", true},  // the full stop of the script
		{"https://faß.example/*", "https://xn--fa-hia.example/1", true}, // not transitional: ß is no ss
		{"https://faß.example/*", "https://fass.example/1", false},
		{"https://example。com/*", "https://example.com/1", true},
		{"*://bücher.example/*", "http://xn--bcher-kva.example/1", true},
		// what cannot be a host is matched by nothing
		{"https://*/*", "https://xn--a/1", false},
		{"https://*/*", "https://\u05d0a.example/1", false}, // from both directions
		{"https://*/*", "https://a\u2100b/1", false},        // becomes a/cb
		{"https://*/*", "https://a%2fb/1", false},
		{"https://*/*", "https://" + strings.Repeat("é", 128) + "/1", false}, // too long to be translated
		{"https://*/*", "https://" + strings.Repeat("é", 127) + "/1", true},
		// numbers
		{"https://127.0.0.1/*", "https://0x7f.1/1", true},
		{"https://0x7F.0.0.1/*", "https://127.0.0.1/1", true},
		{"https://2130706433/*", "https://017700000001/1", true},
		{"https://192.168.0.*/*", "https://192.168.0.7/1", true},
		{"https://*/*", "https://256.0.0.1/1", false},
		{"https://*/*", "https://1.2.3.4.5/1", false},
		{`https://[\:\:1]/*`, "https://[0:0:0:0:0:0:0:1]/1", true},
		{`https://[\:\:FFFF\:1.2.3.4]/*`, "https://[::ffff:102:304]/1", true},
		{"https://*/*", "https://[::1%25eth0]/1", false},
		// schemes whose hosts are what they are
		{"foo://Bücher/*", "foo://B%C3%BCcher/1", true},
		{"foo://bücher/*", "foo://Bücher/1", false},
	} {
		if got := selects(t, h, URLPattern, c.match, c.topic); got != c.want {
			t.Errorf("%q selects %q: %v", c.match, c.topic, got)
		}
	}
}

// Section "Subscription": a pattern whose host, port or scheme cannot be one is no
// pattern: it is refused and not a subscription to nothing.
func TestHostsRefused(t *testing.T) {
	h := hub(t, false)
	for _, bad := range []string{
		"https://exa mple.com/*", "https://xn--a/*", "https://a|b/*", "https://*.a^b/*", "https://{a<}?b/*", "https://:a{<}?/*",
		"https://\u05d0a.example/*", "https://a\u2100b/*", "https://a%00b/*", "https://a%25b/*",
		"https://256.0.0.1/*", `https://[\:\:g]/*`, `https://[\:\:1/*`,
		"https://" + strings.Repeat("é", 128) + "/*",
		"https://example.com:99999/", "https://example.com:8o/", "https://example.com:*x/", "ht!tp://example.com/",
	} {
		if m, err := h.Matcher(URLPattern, bad); err == nil {
			t.Errorf("pattern %q is taken: %+v", bad, m.pattern)
		} else if !strings.Contains(err.Error(), errPattern.Error()) {
			t.Errorf("pattern %q: %v", bad, err)
		}
	}
}

// FuzzHost: whatever is written as a host ends in one form, which stays as it is.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"bücher.example", "0x7f.1", "[::ffff:1.2.3.4]", "a.xn--bcher-kva", "1.", "%41", "。", "a\u2100b", "[", "xn--"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, special bool) {
		host, err := parseHost(s, special)
		if err != nil {
			return
		}
		if again, err := parseHost(host, special); err != nil || again != host {
			t.Errorf("%q becomes %q, and that %q, %v", s, host, again, err)
		}
		for i := range len(host) {
			if host[i] > 0x7e || host[i] <= ' ' {
				t.Fatalf("%q becomes %q", s, host)
			}
		}
	})
}
