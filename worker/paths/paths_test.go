package paths_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/paths"
)

func mapOf(t testing.TB, patterns ...string) *paths.Map[string] {
	t.Helper()
	m := &paths.Map[string]{}
	for _, text := range patterns {
		p, err := paths.Parse(text)
		if err == nil {
			err = m.Add(p, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestExactBeforeParametersBeforeTheLongestPrefix(t *testing.T) {
	m := mapOf(t, "/s/*", "/*", "/s/deep/*", "/app/{key}", "/app/one", "/a/{x}/b/{y}", "/")
	for path, want := range map[string]string{
		"/": "/", "/app/one": "/app/one", "/app/two": "/app/{key}", "/app/": "/*", "/app/two/": "/*", "/a/1/b/2": "/a/{x}/b/{y}",
		"/a//b/2": "/*", "/s": "/*", "/s/": "/s/*", "/s/x": "/s/*", "/s/deep/x/y": "/s/deep/*", "": "", "s/x": "",
	} {
		if got := m.Find(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	var all []string
	m.Each(func(text string) { all = append(all, text) })
	if slices.Sort(all); len(all) != 7 || len(slices.Compact(all)) != 7 {
		t.Errorf("each: %q", all)
	}
	if got := mapOf(t, "/only").Find("/other"); got != "" {
		t.Errorf("found %q", got)
	}
}

func TestParameters(t *testing.T) {
	p, err := paths.Parse("/a/{x}/b/{y}")
	if err != nil {
		t.Fatal(err)
	}
	if x, y, z := p.Param("/a/1/b/2", "x"), p.Param("/a/1/b/2", "y"), p.Param("/a/1/b/2", "a"); x != "1" || y != "2" || z != "" || p.Exact() != "" {
		t.Errorf("%q %q %q, exact %q", x, y, z, p.Exact())
	}
	if p, _ := paths.Parse("/a"); p.Exact() != "/a" || p.Param("/a", "x") != "" {
		t.Error("an exact path")
	}
}

func TestBadPatterns(t *testing.T) {
	for _, text := range []string{"", "a", "*", "/a*", "/*/a", "/a/*/", "/{x}/*", "/{}", "/{x", "/x}", "/a{x}", "/{x}{y}", "/{{x}}"} {
		if _, err := paths.Parse(text); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
	for _, text := range []string{"/a", "/{x}", "/a/*"} {
		m := mapOf(t, text)
		p, _ := paths.Parse(text)
		if err := m.Add(p, "again"); err == nil || m.Find("/a/b") == "again" || m.Find("/a") == "again" {
			t.Errorf("%s stands twice: %v", text, err)
		}
	}
}

// FuzzParam: parameters are parts of the path that a pattern is found for, and an exact
// one is that path.
func FuzzParam(f *testing.F) {
	patterns := []string{"/", "/app/{key}", "/a/{x}/b/{y}", "/s/*"}
	m := mapOf(f, patterns...)
	for _, seed := range []string{"/", "/app/k", "/app/", "/a/1/b/2", "/s/x/y", "", "//", "/app/k/", "/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		text := m.Find(path)
		if text == "" {
			return
		}
		p, _ := paths.Parse(text)
		for _, name := range []string{"key", "x", "y", "none"} {
			v := p.Param(path, name)
			if known := strings.Contains(text, "{"+name+"}"); known != (v != "") || strings.Contains(v, "/") || !strings.Contains(path, v) {
				t.Fatalf("%q: %s = %q", path, name, v)
			}
		}
		if e := p.Exact(); e != "" && e != path {
			t.Fatalf("%q found %q", path, e)
		}
	})
}
