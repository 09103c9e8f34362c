package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestMercureExample has two pages of examples/mercure in Chromium, each with an
// EventSource and a WebSocket in one room: what either says, all four hear, through
// a reload that cuts none of them; and after killed processes, once and in order.
func TestMercureExample(t *testing.T) {
	t.Parallel()
	config, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "examples/mercure/pushd.toml"))
	must(t, err)
	s := pushdtest.Start(t, pushdtest.Options{Package: "examples/mercure", Config: strings.Replace(string(config), "127.0.0.1:8096", "127.0.0.1:{{port}}", 1)})
	b, url := openBrowser(t), fmt.Sprintf("http://localhost:%d/", s.Port)
	here, there := b.open(t, url), b.open(t, url)
	pages := []*tab{here, there}
	open := func() {
		for _, p := range pages {
			p.until(`document.getElementById("sse-state").textContent === "open" && document.getElementById("ws-state").textContent === "open"`)
		}
	}
	heard := func(list string, texts ...string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("#%s li")].map(e => e.textContent).reverse().join() === %q`, list, strings.Join(texts, ","))
	}
	say := func(p *tab, text string) {
		p.eval(fmt.Sprintf(`document.getElementById("text").value = %q; document.getElementById("form").requestSubmit()`, text))
	}
	open()
	say(here, "one")
	for _, p := range pages {
		p.until(heard("sse", "one"))
		p.until(heard("ws", "one"))
		p.eval(`window.cut = 0; addEventListener("error", () => {}); new MutationObserver(() => window.cut++).observe(document.getElementById("sse-state"), { childList: true })`)
	}
	s.MustRun("reload")
	say(there, "two")
	for _, p := range pages {
		p.until(heard("sse", "one", "two"))
		p.until(heard("ws", "one", "two"))
		if cut := p.eval(`window.cut`); cut != 0.0 {
			t.Errorf("a reload has cut the EventSource: %v", cut)
		}
	}
	for _, w := range s.Status().Workers {
		s.Kill(w.PID)
	}
	for _, p := range pages {
		p.until(`window.cut >= 2`)
	}
	open()
	say(here, "three")
	for _, p := range pages {
		p.until(heard("sse", "one", "two", "three"))
	}
}
