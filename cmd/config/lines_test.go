package config

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestKeyLines(t *testing.T) {
	text := `# comment with [table] and "quote
a = 1
b.c = "x # no comment"
long = """
[not.a.table]
d = 2 \"""
"""
'quoted key' = 'it\'
"esc\u0041ped" = 1
list = [ # comment ]
  { x = 1 },
  { y = [1, 2] }, "z",
]
[t.u]
v = {w = 1, q = "}"}
[[arr]]
n = 1
[[arr]]
n = 2
[arr.sub]
deep = 3
[[arr.inner]]
k = 1
[[arr.inner]]
k = 2
`
	var parsed map[string]any
	if err := toml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatalf("the test's text is not TOML: %v", err)
	}
	lines := keyLines(text)
	for path, want := range map[string]int{
		"a": 2, "b.c": 3, "b": 3, "long": 4, "quoted key": 8, "escAped": 9, "list": 10,
		"list[0].x": 11, "list[1].y[1]": 12, "list[2]": 12, "t": 14, "t.u": 14, "t.u.v.w": 15, "t.u.v.q": 15,
		"arr": 16, "arr[0].n": 17, "arr[1]": 18, "arr[1].n": 19, "arr[1].sub.deep": 21, "arr[1].inner[0].k": 23, "arr[1].inner[1].k": 25,
	} {
		if lines[path] != want {
			t.Errorf("%s is on line %d, want %d", path, lines[path], want)
		}
	}
	if n := lines["not.a.table"] + lines["d"]; n != 0 {
		t.Error("keys found within a string")
	}
}

// FuzzParse: no text makes the loader panic, and in every text that is TOML
// each key has a line.
func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("a = \"\"\"\n\"\"\"\"\"\n[[b]]\nc.d = {e = [[1],[{f = 2}]]}\n")
	f.Add("\"a\\u0042\" = 1\n'c d'.e = 2\n[ g . 'h' ]\n[[i.j]]\n[i.j.k]\n")
	f.Add("x = [\n1, # one\n]\r\ny = 1979-05-27T07:32:00Z\nz = inf")
	f.Add("runtime_dir = \"a\\qb\"\n[")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "[") > 1000 || len(text) > 1<<16 {
			t.Skip("deep nesting costs the TOML package, not us")
		}
		Parse(Source{Getenv: none}, "f.toml", []byte(text))
		var values map[string]any
		if toml.Unmarshal([]byte(text), &values) != nil {
			keyLines(text)
			return
		}
		haveLines(t, keyLines(text), "", values)
	})
}

func haveLines(t *testing.T, lines map[string]int, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			p := join(path, key)
			if lines[p] == 0 {
				t.Errorf("key %q has no line", p)
			}
			haveLines(t, lines, p, e)
		}
	case []map[string]any:
		for i, e := range v {
			haveLines(t, lines, index(path, i), e)
		}
	case []any:
		for i, e := range v {
			haveLines(t, lines, index(path, i), e)
		}
	}
}
