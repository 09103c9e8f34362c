package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestRecoverExample presses the button of examples/recover, behind which a page
// has no network for 5 s, while another one talks.
func TestRecoverExample(t *testing.T) {
	t.Parallel()
	config, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "examples/recover/pushd.toml"))
	must(t, err)
	s := pushdtest.Start(t, pushdtest.Options{Package: "examples/recover", Env: []string{"PUSHD_DRAIN=0s"}, Config: strings.ReplaceAll(string(config), "8095", "{{port}}")})
	b, url := openBrowser(t), fmt.Sprintf("http://127.0.0.1:%d/", s.Port)
	here, there := b.open(t, url), b.open(t, url)
	const heard = `Number(document.getElementById("heard").textContent)`
	for _, tb := range []*tab{here, there} {
		tb.until(heard + ` > 4`)
	}
	here.eval(`document.getElementById("drop").click()`)
	here.until(`document.getElementById("state").textContent === "away"`)
	there.until(fmt.Sprintf("%s > %v + 4", heard, there.eval(heard)))
	here.until(`/^[1-9]\d* messages came later$/.test(document.getElementById("state").textContent)`)
	here.until(fmt.Sprintf("%s > %v + 4", heard, here.eval(heard)))
	for _, tb := range []*tab{here, there} {
		if n := tb.text("faults"); n != "0" {
			t.Errorf("%s messages are missing, twice or out of order", n)
		}
		tb.noTroubles()
	}
}

// TestRecoverExampleEvents is its page for EventSource, whose stream is at a second
// origin: full for a while (a minute with PUSHD_TEST_FULL), then through a reload, a
// restart, killed workers and a killed broker process. It does nothing to come back
// and misses nothing that anybody has.
func TestRecoverExampleEvents(t *testing.T) {
	t.Parallel()
	config, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "examples/recover/pushd.toml"))
	must(t, err)
	second := pushdtest.FreeAddr(t)
	s := pushdtest.Start(t, pushdtest.Options{Package: "examples/recover", Env: []string{"PUSHD_DRAIN=0s"}, Config: strings.ReplaceAll(string(config), "8095", "{{port}}") + `
[[worker]]
name = "streams"
listen = "websocket://` + second + `"
count = 1
limits = { max_connections = 1 }
[worker.routes]
"/listen" = { handler = "notify", origins = ["http://127.0.0.1:{{port}}"], options = { anonymous = true, public_history = true, channels = ["chat:lobby"] } }
[history]
store = "disk"
`})
	b, url := openBrowser(t), fmt.Sprintf("http://127.0.0.1:%d/events.html?at=http://%s", s.Port, second)
	const heard, state = `Number(document.getElementById("heard").textContent)`, `document.getElementById("state").textContent`
	hears := func(tb *tab, more int) {
		t.Helper()
		tb.until(fmt.Sprintf("%s > %v + %d", heard, tb.eval(heard), more))
	}
	open := func() *tab {
		tb := b.open(t, url)
		tb.until(`document.readyState === "complete" && typeof source === "object"`)
		return tb
	}
	first := open()
	hears(first, 4)
	page := open()
	page.eval(`window.opens = 0; window.was = source; source.addEventListener("open", () => opens++)`)
	page.until(state + ` === "away"`)
	rounds := 2
	if os.Getenv("PUSHD_TEST_FULL") == "1" {
		rounds = 120 // of half a second: two pages talk
	}
	for range rounds {
		hears(first, 4)
		if got := page.eval(state); got != "away" {
			t.Fatalf("full, and the page is %v", got)
		}
	}
	if n := page.eval(`opens`); n == 0.0 {
		t.Log("it was never answered while it was full")
	}
	first.eval(`source.close()`)
	page.until(state + ` !== "away" && ` + heard + ` > 4`)
	page.eval(`opens = 0`)
	s.MustRun("reload")
	hears(page, 4)
	if n := page.eval(`opens`); n != 0.0 {
		t.Errorf("the reload has cut it: opened %v times since", n)
	}
	s.MustRun("restart", "-d")
	page.until(`opens > 0`)
	hears(page, 4)
	for _, w := range s.Status().Workers {
		if w.Name == "streams" { // the others talk on
			s.Kill(w.PID)
		}
	}
	page.until(`opens > 1`)
	hears(page, 4)
	if n := page.text("faults"); n != "0" {
		t.Errorf("%s messages are missing, twice or out of order", n)
	}
	s.Kill(s.Status().Broker.PID)
	hears(page, 8)
	died := page.text("faults") // what was said in that moment has died with the process, for all
	if page.eval(`source === was`) != true {
		t.Error("it is another EventSource")
	}
	page.eval(`document.getElementById("drop").click()`)
	page.until(`/^[1-9]\d* messages came later$/.test(` + state + `)`)
	hears(page, 4)
	if n := page.text("faults"); n != died {
		t.Errorf("after its own break %s are missing, not %s", n, died)
	}
}
