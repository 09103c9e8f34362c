package docs

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// everything is a config of which most metrics and objects are told.
const everything = `
[api]
listen = "{{api}}"
[metrics]
listen = "{{metrics}}"
[[app]]
id = "1"
key = "a"
secret = "s"
webhooks = [{ url = "http://127.0.0.1:9/" }]
[[channel]]
match = "news"
history = 10
[[ingest]]
listen = "udp://127.0.0.1:6553"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
routes = { "/app/{key}" = "pusher", "/echo" = "echo" }
[[worker]]
name = "script"
listen = "unix://{{dir}}/script.sock"
script = "python3 chat.py"
allow_root = true
count = 1
`

// TestNames looks whether the reference has each name of the objects of --json,
// of the metrics, and the values of their labels.
func TestNames(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: everything, Manual: true, Env: []string{"PUSHD_DRAIN=0s"}})
	for name, text := range map[string]string{
		"chat.py": readFile(t, filepath.Join(pushdtest.Root(t), "examples/python/chat.py")),
		"secret":  "0123456789abcdef0123456789abcdef",
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	objects, metrics := words(t, "## JSON"), words(t, "## Metrics")
	has := func(words map[string]bool, of string, names ...string) {
		t.Helper()
		for _, name := range names {
			if !words[name] {
				t.Errorf("the reference does not have %q of %s", name, of)
				words[name] = true // it has been said
			}
		}
	}
	shows := func(command string, opaque ...string) {
		t.Helper()
		has(objects, command, keys(t, s.Run(append(strings.Fields(command), "--json")...).Stdout, opaque)...)
	}
	shows("start -d")
	client := s.Dial("/echo")
	defer client.Close()
	for _, command := range []string{
		"check", "check --channel news", "doctor", "connections", "status", "nodes", "reload --all", "reopen", "key", "version",
		"token --uid 1 --secret-file " + s.Dir + "/secret", "init " + s.Dir + "/new.toml",
	} {
		shows(command)
	}
	shows("plan", "broker", "workers", "listeners")
	for _, m := range regexp.MustCompile(`(?m)^(pushd_\w+)(?:\{(?:cause|result|source)="(\w+)"\})?`).FindAllStringSubmatch(scrape(t, s), -1) {
		has(metrics, "the metrics", m[1])
		if m[2] != "" {
			has(metrics, m[1], m[2])
		}
	}
	s.WriteConfig(everything + "nonsense = 1\n")
	shows("check")
	shows("reload")
	s.WriteConfig(everything)
	shows("stop")
}

// scrape returns the metrics of a server whose config has an address for them.
func scrape(t *testing.T, s *pushdtest.Server) string {
	t.Helper()
	at := regexp.MustCompile(`\[metrics\]\nlisten = "(.*?)"`).FindStringSubmatch(readFile(t, s.Config))
	res, err := http.Get("http://" + at[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || len(text) == 0 {
		t.Fatalf("metrics: %v, %q", err, text)
	}
	return string(text)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// words are those that a chapter of the reference has as code.
func words(t *testing.T, heading string) map[string]bool {
	t.Helper()
	_, chapter, _ := strings.Cut(readFile(t, filepath.Join(pushdtest.Root(t), "docs/reference.md")), heading+"\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	all := map[string]bool{}
	for _, code := range regexp.MustCompile("`[^`\n]*`").FindAllString(chapter, -1) {
		for _, w := range regexp.MustCompile(`\w+`).FindAllString(code, -1) {
			all[w] = true
		}
	}
	if len(all) < 20 {
		t.Fatalf("%q of the reference has only %v", heading, all)
	}
	return all
}

// keys are those of an object and of what is in it, but for what is in the
// opaque ones and in counts by cause.
func keys(t *testing.T, text string, opaque []string) (all []string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				all = append(all, k)
				if !slices.Contains(opaque, k) && !strings.HasSuffix(k, "_by") {
					walk(e)
				}
			}
		}
	}
	walk(v)
	return all
}
