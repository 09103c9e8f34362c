package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/worker"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const config = `
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/" = "demo", "/echo" = "echo" }
`

// ask makes a plain request for the page.
func ask(t *testing.T, s *pushdtest.Server, method string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/", s.Port), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func TestPageIsServed(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	get, page := ask(t, s, http.MethodGet)
	if get.StatusCode != http.StatusOK || !strings.HasPrefix(page, "<!doctype html>") || strings.Contains(page, "{{") {
		t.Fatalf("%s\n%.200s", get.Status, page)
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-cache",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := get.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	policy := get.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", policy)
	}
	for _, outside := range []string{" src=", "@import", "url(", "href=\"http"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q: it must not need anything from elsewhere", outside)
		}
	}
	head, none := ask(t, s, http.MethodHead)
	if head.StatusCode != http.StatusOK || none != "" || head.ContentLength != int64(len(page)) || head.Header.Get("ETag") != get.Header.Get("ETag") {
		t.Errorf("HEAD: %s, %d bytes announced, want %d: %q", head.Status, head.ContentLength, len(page), none)
	}
	post, _ := ask(t, s, http.MethodPost)
	if post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s, Allow: %s", post.Status, post.Header.Get("Allow"))
	}
}

func TestBrowserKeepsThePage(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	get, _ := ask(t, s, http.MethodGet)
	etag := get.Header.Get("ETag")
	for tags, want := range map[string]int{
		etag:                         http.StatusNotModified,
		`"old", W/` + etag:           http.StatusNotModified,
		"*":                          http.StatusNotModified,
		`"old"`:                      http.StatusOK,
		strings.Trim(etag, `"`):      http.StatusOK,
		`"old", "` + etag[1:2] + `"`: http.StatusOK,
	} {
		r, body := ask(t, s, http.MethodGet, "If-None-Match: "+tags)
		if r.StatusCode != want || (body == "") != (want == http.StatusNotModified) {
			t.Errorf("If-None-Match: %s: %s with %d bytes, want %d", tags, r.Status, len(body), want)
		}
	}
}

// next reads counters.
func next(t *testing.T, c *pushdtest.Client) (n counters) {
	t.Helper()
	op, raw := c.Read()
	if err := json.Unmarshal(raw, &n); err != nil || op != pushdtest.OpText {
		t.Fatalf("counters: opcode %d %q: %v", op, raw, err)
	}
	return n
}

func (n *counters) sum() (connections int, in, out uint64) {
	for _, w := range n.Workers {
		connections, in, out = connections+w.Connections, in+w.MessagesIn, out+w.MessagesOut
	}
	return connections, in, out
}

func TestFeedCountsAllProcesses(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	feed := s.Dial("/")
	for range 9 {
		s.Dial("/echo").SendText("x")
	}
	pushdtest.Eventually(t, "ten connections in two processes, nine messages each way", func() bool {
		n := next(t, feed)
		connections, in, out := n.sum()
		return n.Complete && len(n.Workers) == 2 && n.Workers[0].Slot == 0 && n.Workers[1].Slot == 1 &&
			n.Workers[0].Name == "push" && n.Workers[0].Generation == 1 && connections == 10 && in == 9 && out >= 9
	})
}

// timers is the sum of the timers of both processes.
func timers(t *testing.T, s *pushdtest.Server) (n int) {
	t.Helper()
	var st struct{ Workers []struct{ Timers int } }
	if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
		t.Fatal(err)
	}
	for _, w := range st.Workers {
		n += w.Timers
	}
	return n
}

func TestNobodyWatchesNobodyIsAsked(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	idle := s.Dial("/echo") // what a connection as such needs
	pushdtest.Eventually(t, "the connection is there", func() bool { return s.Status().Connections() == 1 })
	before := timers(t, s)
	feed := s.Dial("/")
	next(t, feed)
	if n := timers(t, s); n <= before {
		t.Errorf("%d timers while somebody watches, %d before", n, before)
	}
	feed.Close()
	pushdtest.Eventually(t, "the period ends with its last page", func() bool { return timers(t, s) <= before })
	idle.SendText("x")
	idle.WantText("x")
}

func TestFeedWhileTheBrokerIsStopped(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Env: []string{"PUSHD_WATCHDOG=0"}}) // which would end who stands still
	feed, echo := s.Dial("/"), s.Dial("/echo")
	next(t, feed)
	broker := s.Status().Broker.PID
	if err := syscall.Kill(broker, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(broker, syscall.SIGCONT)
	pushdtest.Eventually(t, "this process's counters alone", func() bool {
		n := next(t, feed)
		return !n.Complete && len(n.Workers) == 1
	})
	echo.SendText("the loop is not held up")
	echo.WantText("the loop is not held up")
	if err := syscall.Kill(broker, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "all counters again", func() bool {
		n := next(t, feed)
		return n.Complete && len(n.Workers) == 2
	})
}

func TestForeignPageGetsNoCounters(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: config})
	c := pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/", "Origin: http://evil.example")
	if c.Response.StatusCode != http.StatusForbidden {
		t.Fatalf("%s", c.Response.Status)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []string{
		`{"chat":"chat"}`, `{"notify":"//evil.example/x"}`, `{"channel":""}`, `{"api":"127.0.0.1:2347"}`,
		`{"api":"ftp://x"}`, `{"api":"http://user:secret@x"}`, `{"api":"unix://"}`, `{"colour":"red"}`,
	} {
		if _, err := New(worker.Options(o)); err == nil {
			t.Errorf("options %s are taken", o)
		} else if strings.Contains(err.Error(), "secret@") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
	for _, o := range []string{``, `{"api":"unix:///run/pushd/api.sock","key_file":"/x"}`, `{"api":"https://api.example/"}`} {
		if _, err := New(worker.Options(o)); err != nil {
			t.Errorf("options %s: %v", o, err)
		}
	}
}

// What options hold can neither end the element that they stand in nor be taken
// for a part of the page.
func TestOptionsStayInTheirElement(t *testing.T) {
	p, err := newPage(&Options{Channel: `</script><script>alert(1)</script>{{script}}`})
	if err != nil {
		t.Fatal(err)
	}
	page := string(p.body)
	if n := strings.Count(page, "</script>"); n != 2 || strings.Contains(page, "alert(1)</script>") || strings.Count(page, "'use strict'") != 1 {
		t.Errorf("%d ends of scripts:\n%s", n, page[strings.Index(page, "settings"):])
	}
}

func TestQuotedWordsReachTheShell(t *testing.T) {
	for _, word := range []string{"plain/path-1.key", "with space", "it's", `"$HOME"`, "`id`", "$(id)", "a\nb", "~", "*", ""} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q became %q: %v", word, out, err)
		}
	}
	if got := curl("unix:///run/a b.sock"); got != "curl --unix-socket '/run/a b.sock' http://localhost" {
		t.Errorf("got %s", got)
	}
}
