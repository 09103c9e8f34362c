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

// TestSubprotocolsThatNobodyOffers: an entry that could never match is refused.
func TestSubprotocolsThatNobodyOffers(t *testing.T) {
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
