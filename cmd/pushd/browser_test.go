package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const pageConfig = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/"       = { handler = "demo", options = { api = "http://{{api}}", key_file = "{{dir}}/the key" } }
"/chat"   = "chat"
"/notify" = { handler = "notify", options = { anonymous = true, channels = ["news"] } }
`

// site is a server of two workers and a browser.
type site struct {
	*pushdtest.Server
	browser *browser
	url     string
}

func newSite(t *testing.T, o pushdtest.Options) *site {
	t.Helper()
	s := pushdtest.Start(t, o)
	must(t, os.WriteFile(filepath.Join(s.Dir, "the key"), []byte(s.Key+"\n"), 0o600))
	return &site{s, openBrowser(t), fmt.Sprintf("http://127.0.0.1:%d/", s.Port)}
}

// visitors are two tabs with the page.
type visitors struct {
	*site
	t    *testing.T
	a, b *tab
}

func (s *site) visit(t *testing.T) *visitors {
	t.Helper()
	s.browser.forgive()
	v := &visitors{s, t, s.browser.open(t, s.url), s.browser.open(t, s.url)}
	v.live()
	return v
}

// live waits until all sockets of both pages are open.
func (v *visitors) live() {
	v.t.Helper()
	for _, tb := range []*tab{v.a, v.b} {
		tb.until(`document.getElementById("status").textContent === "live" && document.getElementById("connection").textContent !== "…"`)
	}
}

// chat types text in one tab and waits for it in the other.
func chat(from, to *tab, text string) {
	from.t.Helper()
	from.eval(`document.getElementById("chat-text").focus()`)
	from.say(text)
	to.until(`document.querySelector("#chat-log li:last-child:not(.mine)")?.textContent === "` + text + `"`)
	from.until(`document.querySelector("#chat-log li.mine:last-child")?.textContent === "` + text + `"`)
}

// run runs a command that the page shows, as someone does who has pasted it
// into a shell on the server.
func (v *visitors) run(command string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir = v.Dir
	c.Env = append(v.Command(ctx).Env, "PATH="+links(v.t)+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

const lastPush = `document.querySelector("#pushes li:last-child span")?.textContent`

func TestPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, pushdtest.Options{Config: pageConfig})
	for _, check := range []struct {
		name string
		run  func(*visitors)
	}{
		{"tabs chat", tabsChat},
		{"its commands push", commandsPush},
		{"counters of all processes", countersOfAllProcesses},
		{"fits every width in both themes", fits},
		{"no foreign script", noForeignScript},
		{"comes back with the server", comesBack},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(s.visit(t)) })
	}
}

// Without any config, and with the key that the first start generates.
func TestPageOfTheDefaults(t *testing.T) {
	t.Parallel()
	v := newSite(t, pushdtest.Options{Env: []string{"PUSHD_API_KEY="}}).visit(t)
	chat(v.a, v.b, "hello")
	v.a.reload() // what was said is there again, one's own too
	v.a.until(`[...document.querySelectorAll("#chat-log li")].map((li) => li.textContent).join() === "hello"`)
	v.live()
	chat(v.b, v.a, "and on")
	if log := v.a.eval(`[...document.querySelectorAll("#chat-log li")].map((li) => li.textContent).join()`); log != "hello,and on" {
		t.Errorf("the page shows %v", log)
	}
	v.run(v.a.text("command-cli"))
	v.b.until(lastPush + ` === "Hello from a terminal"`)
	v.run(v.a.text("command-publish"))
	v.b.until(lastPush + ` === "Hello from curl"`)
	v.run(v.a.text("command-send"))
	v.a.until(lastPush + ` === "Hi"`)
	v.a.noTroubles()
}

func tabsChat(v *visitors) {
	chat(v.a, v.b, "hello from the first tab")
	chat(v.b, v.a, "<b>and back</b> ✓")
	if n := v.a.eval(`document.querySelectorAll("#chat-log li").length`); n != 2.0 {
		v.t.Errorf("the first tab shows %v messages, want its own and the other's", n)
	}
	v.a.noTroubles()
}

func commandsPush(v *visitors) {
	answer := v.run(v.a.text("command-publish"))
	if !strings.Contains(answer, `"reached":2`) || !strings.Contains(answer, `"complete":true`) {
		v.t.Errorf("publish answered %s", answer)
	}
	v.a.until(lastPush + ` === "Hello from curl"`)
	v.b.until(lastPush + ` === "Hello from curl"`)
	v.run(v.a.text("command-cli"))
	v.a.until(lastPush + ` === "Hello from a terminal"`)
	v.b.until(lastPush + ` === "Hello from a terminal"`)
	answer = v.run(v.a.text("command-send"))
	if !strings.Contains(answer, `"reached":1`) {
		v.t.Errorf("send answered %s", answer)
	}
	v.a.until(lastPush + ` === "Hi"`)
	v.run(v.a.text("command-publish")) // behind it in the other tab's stream
	v.b.until(lastPush + ` === "Hello from curl"`)
	if n := v.b.eval(`document.querySelectorAll("#pushes li").length`); n != 3.0 {
		v.t.Errorf("the other tab shows %v pushes, want 3: one was for the first tab alone", n)
	}
	v.a.noTroubles()
}

// cell is the sum of a column of the table of workers.
func cell(column int) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#workers td:nth-child(%d)")].reduce((n, td) => n + Number(td.textContent.replaceAll(",", "")), 0)`, column)
}

// spikes: the curve shows traffic.
const spikes = `document.querySelector("#spark polyline").getAttribute("points").split(" ").some((p) => p && Number(p.split(",")[1]) < 19)`

func countersOfAllProcesses(v *visitors) {
	v.a.until(`document.querySelectorAll("#workers tr").length === 2`)
	// Three sockets of each page; Chromium may hold more connections.
	v.a.until(`Number(document.getElementById("connections").textContent) >= 6`)
	v.a.until(cell(3) + ` >= 6`)
	before := v.a.eval(cell(4))
	for i := range 20 {
		chat(v.a, v.b, fmt.Sprint("message ", i))
	}
	v.a.until(fmt.Sprintf("%s >= %v + 20", cell(4), before))
	v.a.until(spikes)
	v.MustRun("reload")
	chat(v.a, v.b, "in new processes")
	v.a.until(fmt.Sprintf("%s >= %v + 21", cell(4), before)) // they go on to count
	v.a.noTroubles()
}

func comesBack(v *visitors) {
	says := func(text string) string {
		return fmt.Sprintf("document.getElementById(\"running\").textContent.startsWith(%q)", text)
	}
	v.a.until(says("is running"))
	v.Stop()
	v.a.until(`document.getElementById("status").textContent === "connecting"`)
	v.a.until(says("does not answer"))
	v.MustRun("start", "-d")
	v.live()
	v.a.until(says("is running"))
	chat(v.a, v.b, "still here")
}

// The policy lets run what pushd wrote and nothing that got into the page.
func noForeignScript(v *visitors) {
	v.a.eval(`document.body.append(Object.assign(document.createElement("script"), { textContent: "window.foreign = true" }))`)
	if v.a.eval(`window.foreign === true`) != false {
		v.t.Error("an injected script ran")
	}
}

// Screenshots in both themes and three widths, kept by `go test -artifacts`.
func fits(v *visitors) {
	chat(v.a, v.b, "Hello! Anyone in the other tab?")
	chat(v.b, v.a, "Here I am.")
	chat(v.a, v.b, strings.Repeat("a long message that has to wrap ", 6)+strings.Repeat("x", 90))
	v.run(v.a.text("command-publish"))
	v.run(v.a.text("command-send"))
	v.a.until(lastPush + ` === "Hi"`)
	v.a.until(spikes)
	dir := v.t.ArtifactDir()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{360, 800, 1280} {
			v.a.shoot(filepath.Join(dir, fmt.Sprintf("%s-%d.png", scheme, width)), scheme, width)
			if v.a.eval(`document.documentElement.scrollWidth > innerWidth`) != false {
				v.t.Errorf("at %d pixels the page is wider than the window", width)
			}
		}
	}
}
