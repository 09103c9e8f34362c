package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/hub"
)

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
