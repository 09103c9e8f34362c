package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = time.Minute

// browser is a headless Chromium, driven by the DevTools protocol over a pair
// of pipes: JSON objects that end with a zero byte.
type browser struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	log bytes.Buffer // stderr; read it after the end only

	mu       sync.Mutex
	last     int
	waiting  map[int]chan reply
	troubles []string // what pages complained about
	ended    bool
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// openBrowser starts Chromium with an empty profile, and further flags, and ends it
// with the test.
func openBrowser(t *testing.T, flags ...string) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs Chromium: install the Debian package chromium (apt-get install chromium)")
	}
	theirIn, in, err := os.Pipe()
	must(t, err)
	out, theirOut, err := os.Pipe()
	must(t, err)
	b := &browser{t: t, in: in, waiting: map[int]chan reply{}}
	b.cmd = exec.Command(program, append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")...)
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	b.cmd.Stderr = &b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, b.cmd.Start())
	theirIn.Close()
	theirOut.Close()
	heard := make(chan struct{})
	go func() { defer close(heard); b.hear(out) }()
	t.Cleanup(func() { b.close(heard) })
	return b
}

// close ends Chromium with all of its processes.
func (b *browser) close(heard chan struct{}) {
	b.in.Close() // Chromium leaves when its pipe ends
	done := make(chan error, 1)
	go func() { done <- b.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		b.t.Error("Chromium did not leave")
	}
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	<-heard
	if b.t.Failed() {
		b.t.Logf("Chromium's log:\n%s", b.log.Bytes())
	}
}

// hear hands out replies and notes what goes wrong in pages, until the pipe ends.
func (b *browser) hear(out *os.File) {
	defer out.Close()
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			break
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			reply
		}
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.waiting[m.ID]; answer != nil {
			delete(b.waiting, m.ID)
			answer <- m.reply
		}
		if m.Method == "Runtime.exceptionThrown" || m.Method == "Log.entryAdded" {
			b.troubles = append(b.troubles, string(m.Params))
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	b.ended = true
	for id, answer := range b.waiting {
		delete(b.waiting, id)
		close(answer)
	}
	b.mu.Unlock()
}

// call runs a DevTools method; session "" is the browser itself.
func (b *browser) call(session, method string, params map[string]any, result any) error {
	answer := make(chan reply, 1)
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return errors.New("Chromium has ended")
	}
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: Chromium has ended", method)
		case r.Error != nil:
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		case result != nil:
			return json.Unmarshal(r.Result, result)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer", method)
	}
}

// tab is one page.
type tab struct {
	*browser
	t       *testing.T
	session string
}

// open opens a tab that is closed when the test ends.
func (b *browser) open(t *testing.T, url string) *tab {
	t.Helper()
	var target struct{ TargetID string }
	must(t, b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	t.Cleanup(func() {
		if err := b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil); err != nil {
			t.Error(err)
		}
	})
	var attached struct{ SessionID string }
	must(t, b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	tb := &tab{b, t, attached.SessionID}
	for _, method := range []string{"Runtime.enable", "Log.enable", "Page.enable"} {
		tb.do(method, nil, nil)
	}
	tb.do("Page.navigate", map[string]any{"url": url}, nil)
	return tb
}

func (tb *tab) do(method string, params map[string]any, result any) {
	tb.t.Helper()
	must(tb.t, tb.call(tb.session, method, params, result))
}

// eval returns the value of a JavaScript expression in the page.
func (tb *tab) eval(expression string) any {
	tb.t.Helper()
	value, err := tb.try(expression)
	must(tb.t, err)
	return value
}

// try is eval for a page that may just be giving way to another: then it fails.
func (tb *tab) try(expression string) (any, error) {
	tb.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	err := tb.call(tb.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		tb.t.Fatalf("%s: %s", expression, r.ExceptionDetails)
	}
	return r.Result.Value, err
}

// reload loads the page anew, and returns when the old one is gone.
func (tb *tab) reload() {
	tb.t.Helper()
	tb.eval(`window.isOld = true`)
	tb.do("Page.reload", nil, nil)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if old, err := tb.try(`window.isOld === true`); err == nil && old == false {
			return
		}
	}
	tb.t.Fatal("the page is not loaded anew")
}

// until waits for an expression to become true.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if tb.eval(`document.readyState === "complete" && Boolean(`+expression+`)`) == true {
			return
		}
	}
	tb.t.Fatalf("never true: %s\nthe page says:\n%v", expression, tb.eval("document.body.innerText"))
}

// text returns what the element with that id shows.
func (tb *tab) text(id string) string {
	tb.t.Helper()
	s, _ := tb.eval(`document.getElementById("` + id + `").textContent`).(string)
	return s
}

// say types into the focused element, as a keyboard does.
func (tb *tab) say(text string) {
	tb.t.Helper()
	tb.do("Input.insertText", map[string]any{"text": text}, nil)
	for _, kind := range []string{"keyDown", "keyUp"} {
		tb.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}, nil)
	}
}

// forgive forgets what pages have complained about.
func (b *browser) forgive() {
	b.mu.Lock()
	b.troubles = nil
	b.mu.Unlock()
}

// noTroubles checks that no page has thrown, logged an error or been refused
// something by its security policy.
func (tb *tab) noTroubles() {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, text := range tb.troubles {
		tb.t.Errorf("a page complains: %s", text)
	}
}

// shoot writes a PNG of the whole page.
func (tb *tab) shoot(file, scheme string, width int) {
	tb.t.Helper()
	tb.do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	tb.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	var shot struct{ Data string }
	tb.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	must(tb.t, err)
	must(tb.t, os.WriteFile(file, png, 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
