package http

import (
	"net/http"
	"net/url"
	"reflect"
	"runtime"
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

// allocated returns how many bytes of memory the process asks for during fn.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
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
		got := Cookie(header, name)
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {header}}}).CookiesNamed(name) {
			if c.Value != "" && got == "" {
				t.Fatalf("%q of %q is lost", name, header)
			}
		}
	})
}
