package worker

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestParseQuery(t *testing.T) {
	for raw, want := range map[string]url.Values{
		"":                       {},
		"room=a;b":               {"room": {"a;b"}},
		"room=50%":               {"room": {"50%"}},
		"room=100%%20fun":        {"room": {"100% fun"}},
		"a=%zz&b=%4&c=%":         {"a": {"%zz"}, "b": {"%4"}, "c": {"%"}},
		"a=1&&a=2&=x&b":          {"a": {"1", "2"}, "": {"x"}, "b": {""}},
		"%72oom=%C3%bc+y&x=1%2B": {"room": {"ü y"}, "x": {"1+"}},
		"a==b":                   {"a": {"=b"}},
	} {
		if got := ParseQuery(raw); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// FuzzParseQuery: what net/http's parser takes is the same here; of what it drops
// nothing is lost; and the memory is in proportion.
func FuzzParseQuery(f *testing.F) {
	f.Add("a=1&b=%20+&c;d=e&%zz=%")
	f.Fuzz(func(t *testing.T, raw string) {
		var got url.Values
		if n := allocated(func() { got = ParseQuery(raw) }); n > uint64(200*len(raw))+64<<10 {
			t.Fatalf("%d bytes are allocated for %d", n, len(raw))
		}
		if want, err := url.ParseQuery(raw); err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %q, want %q", raw, got, want)
		}
		n, pairs := 0, 0
		for _, v := range got {
			n += len(v)
		}
		for pair := range strings.SplitSeq(raw, "&") {
			if pair != "" {
				pairs++
			}
		}
		if n != pairs {
			t.Fatalf("%q: %d of %d parameters", raw, n, pairs)
		}
	})
}

// FuzzCookie: a cookie that net/http reads is the same here, whatever stands
// beside it.
func FuzzCookie(f *testing.F) {
	f.Add("tok", `prefs={"a":1}; flag; tok=x; city=Zürich`)
	f.Add("a", `a="b"; a=c`)
	f.Fuzz(func(t *testing.T, name, header string) {
		got := findCookie(header, name)
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {header}}}).CookiesNamed(name) {
			if c.Value != "" && got == "" {
				t.Fatalf("%q of %q is lost", name, header)
			}
		}
	})
}

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
		o, err := parseOrigins([]string{entry})
		if err != nil {
			t.Errorf("%s: %v", entry, err)
		}
		for _, from := range c.passes {
			if !o.allows(from, "push.test") {
				t.Errorf("%s: %s is refused", entry, from)
			}
		}
		for _, from := range c.not {
			if o.allows(from, "push.test") {
				t.Errorf("%s: %s passes", entry, from)
			}
		}
	}
	for _, entry := range []string{
		"", "https://", "https://example.com/", "example.com/x", "https://münchen.de", "https://user@example.com", "example.com:abc", "example.com:0443",
		"example.com:", "example.com:99999", "wss://example.com", "file:///", "file://x", "https://example.com?x", "https://example.com#x", "http:example.com",
		"a b", "*.", "*.*.com", "https://[fe80::1%eth0]", "[0:0::1]", "exa*mple.com", "Null", "://x",
	} {
		if _, err := parseOrigins([]string{entry}); err == nil {
			t.Errorf("%q is taken, and can never match", entry)
		}
	}
	if err := CheckRoutes([]Route{{Pattern: "/a", Handler: 1, Protocols: []string{"a b"}}}); err == nil {
		t.Error("a subprotocol that nobody can offer is taken")
	}
}

// TestQueryAsBrowsersWriteIt: of handshakes and of requests.
func TestQueryAsBrowsersWriteIt(t *testing.T) {
	w := New(anyWS)
	w.OnHandshake = func(c *Conn, h *Handshake) { _ = c.Set("room", h.Query().Get("room")) }
	w.OnConnect = func(c *Conn) { _ = c.SendText(c.Get("room")) }
	w.OnRequest = func(w *Response, r *Request) { _, _ = w.WriteString(r.Query().Get("room")) }
	s := serve(t, w)
	for sent, want := range map[string]string{"a;b": "a;b", "50%": "50%", "100%%20fun": "100% fun", "a&x=%zz;": "a"} {
		connect(t, s.addrs[0], "/?y=;%&room="+sent).want(want)
		if _, body := dial(t, s.addrs[0]).get("GET /?y=;%&room=" + sent + " HTTP/1.1\r\nHost: a\r\n\r\n"); body != want {
			t.Errorf("%s: got %q, want %q", sent, body, want)
		}
	}
}
