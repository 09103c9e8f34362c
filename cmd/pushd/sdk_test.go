package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// These tests drive pushd with the SDKs that people have: pusher-js,
// laravel-echo and pusher of npm, pusher-http-go, and the requests of
// pusher-http-php. Each reloads the server in its middle.

const sdkKey, sdkSecret = "278d425bdf160c739803", "7ad3773142a6692b25b8"

const sdkConfig = `
drain = "100ms"
[[app]]
id = "1"
key = "` + sdkKey + `"
secret = "` + sdkSecret + `"
client_events = true
subscription_count = true
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
[worker.routes]
"/app/{key}" = { handler = "pusher", origins = ["*"] }
"/pusher/*"  = { handler = "pusher", origins = ["*"] }
"/apps/*"    = "pusher"
`

func startApps(t *testing.T) *pushdtest.Server {
	t.Helper()
	return pushdtest.Start(t, pushdtest.Options{Config: sdkConfig})
}

// moved reloads the server, which has to move so many connections at least.
func moved(t *testing.T, s *pushdtest.Server, least int) {
	t.Helper()
	var r struct {
		OK      bool
		Moved   int
		Drained int
	}
	out := s.MustRun("reload", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.OK || r.Moved < least || r.Drained > 0 {
		t.Errorf("reload: %v, %s", err, out)
	}
}

// sdk is the folder of the programs; it fails the test if their packages are
// not installed.
func sdk(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(pushdtest.Root(t), "cmd/pushd/testdata/sdk")
	if _, err := os.Stat(filepath.Join(dir, "node_modules/pusher-js")); err != nil {
		t.Fatal("the SDKs of npm are not installed: run make deps")
	}
	return dir
}

// program is one that talks in lines with the test.
type program struct {
	t      *testing.T
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	ended  chan error
}

// steer does to the server what the program says, until that has seen enough.
func (p *program) steer(s *pushdtest.Server) {
	p.t.Helper()
	for {
		switch word := p.line(); word {
		case "reload":
			s.MustRun("reload")
		case "kill worker":
			for _, w := range s.Status().Workers {
				s.Kill(w.PID)
			}
		case "kill broker":
			s.Kill(s.Status().Broker.PID)
		case "ok":
			return
		default:
			p.t.Fatalf("it says %q", word)
		}
		fmt.Fprintln(p.in, "done")
	}
}

// talk runs a program; when the test ends its input does, and it has to leave.
func talk(t *testing.T, s *pushdtest.Server, name string, args ...string) *program {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run make deps", name)
	}
	p := &program{t: t, ended: make(chan error, 1)}
	c := exec.Command(bin, args...)
	c.Env = append(os.Environ(), "APP_ID=1", "APP_KEY="+sdkKey, "APP_SECRET="+sdkSecret, fmt.Sprint("PORT=", s.Port))
	if s.Secure {
		c.Env = append(c.Env, "SECURE=1", "NODE_EXTRA_CA_CERTS="+filepath.Join(s.Dir, "ca.pem"))
	}
	c.Stderr = &p.stderr
	p.in, err = c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, 1<<20)
	must(t, c.Start())
	t.Cleanup(func() {
		p.in.Close()
		late := time.AfterFunc(3*patience, func() { t.Errorf("%s does not end", name); c.Process.Kill() })
		for p.out.Scan() {
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p.stderr.Bytes())
		}
		late.Stop()
	})
	return p
}

// line reads a line; "" is the end.
func (p *program) line() string {
	p.t.Helper()
	p.out.Scan()
	return p.out.Text()
}

// scene runs a scenario in Node and reloads the server when it asks for that.
func scene(t *testing.T, s *pushdtest.Server, args ...string) {
	t.Helper()
	args[0] = filepath.Join(sdk(t), args[0])
	p := talk(t, s, "node", args...)
	if got := p.line(); got != "reload" {
		t.Fatalf("it says %q before the reload", got)
	}
	moved(t, s, 2)
	fmt.Fprintln(p.in, "done")
	if got := p.line(); got != "ok" {
		t.Errorf("it says %q at the end", got)
	}
}

func TestPusherJSChannels(t *testing.T) { scene(t, startApps(t), "channels.mjs") }

func TestPusherJSUsers(t *testing.T) { scene(t, startApps(t), "users.mjs") }

func TestLaravelEcho(t *testing.T) {
	t.Parallel()
	s := startApps(t)
	for _, broadcaster := range []string{"reverb", "pusher"} {
		t.Run(broadcaster, func(t *testing.T) { scene(t, s, "echo.mjs", broadcaster) })
	}
}

// TestPusherJSInBrowser is the browser build of both client SDKs in Chromium.
func TestPusherJSInBrowser(t *testing.T) {
	t.Parallel()
	s := startApps(t)
	inBrowser(t, s, openBrowser(t), "", "")
}

// inBrowser has a page of ann and one of bob, each with a query.
func inBrowser(t *testing.T, s *pushdtest.Server, b *browser, annQuery, bobQuery string) {
	t.Helper()
	site := talk(t, s, "node", filepath.Join(sdk(t), "backend.mjs")).line()
	back := newBackEnd(t, s, "node", filepath.Join(sdk(t), "server.mjs"))
	ann, bob := b.open(t, site+"/"+annQuery+"#ann"), b.open(t, site+"/"+bobQuery+"#bob")
	for _, tb := range []*tab{ann, bob} {
		tb.until(`ready() && here.length === 2 && pusher.channel("presence-room").members.count === 2`)
	}
	everything := func(n int) {
		t.Helper()
		for _, c := range []string{"news", "private-orders", "presence-room", "private-encrypted-safe"} {
			back.ok("trigger", "channels", []string{c}, "event", "e", "data", n)
		}
		back.ok("trigger", "channels", []string{"presence-echo-room"}, "event", `App\Events\Said`, "data", n)
		back.ok("sendToUser", "user", "ann", "event", "mail", "data", n)
		bob.eval(fmt.Sprintf(`pusher.channel("presence-room").trigger("client-wave", %d)`, n))
		want := fmt.Sprintf(`[["echo","Said",%[1]d,""],["news","e",%[1]d,""],["presence-room","client-wave",%[1]d,"bob"],["presence-room","e",%[1]d,""],`+
			`["private-encrypted-safe","e",%[1]d,""],["private-orders","e",%[1]d,""],["user","mail",%[1]d,""]]`, n)
		ann.until(`got.length >= 7`)
		if got := ann.eval(`JSON.stringify(got.splice(0).sort())`); got != want {
			t.Errorf("ann got  %v\nwant %s", got, want)
		}
	}
	everything(1)
	moved(t, s, 4)
	everything(2)
	for _, tb := range []*tab{ann, bob} {
		if got := tb.eval(`JSON.stringify(states)`); got != "[]" {
			t.Errorf("the connection changed: %v", got)
		}
		if annQuery == "" {
			tb.noTroubles() // a refused WebSocket is one, to the browser
		} else {
			t.Logf("connected after %.1f s, by %v", tb.eval(`connected / 1000`), tb.eval(`pusher.connection.connection.transport.name`))
		}
	}
}

// backEnd is an app's back end that runs a server SDK.
type backEnd struct {
	*program
}

func newBackEnd(t *testing.T, s *pushdtest.Server, name string, args ...string) *backEnd {
	t.Helper()
	return &backEnd{program: talk(t, s, name, args...)}
}

// call has the SDK called; pairs are names and values of its arguments.
func (b *backEnd) call(name string, pairs ...any) (answer any, failure string) {
	b.t.Helper()
	command := map[string]any{"call": name}
	for i := 0; i < len(pairs); i += 2 {
		command[pairs[i].(string)] = pairs[i+1]
	}
	raw, err := json.Marshal(command)
	must(b.t, err)
	fmt.Fprintf(b.in, "%s\n", raw)
	var reply struct {
		Answer any
		Error  string
	}
	line := b.line()
	if err := json.Unmarshal([]byte(line), &reply); err != nil {
		b.t.Fatalf("%s answers %q: %v\n%s", raw, line, err, b.stderr.Bytes())
	}
	return reply.Answer, reply.Error
}

// ok is call for what has to succeed.
func (b *backEnd) ok(name string, pairs ...any) any {
	b.t.Helper()
	answer, failure := b.call(name, pairs...)
	if failure != "" {
		b.t.Fatalf("%s %v: %s", name, pairs, failure)
	}
	return answer
}

// want is ok for one that has to answer this JSON.
func (b *backEnd) want(want, name string, pairs ...any) {
	b.t.Helper()
	got, err := json.Marshal(b.ok(name, pairs...))
	must(b.t, err)
	if string(got) != want {
		b.t.Errorf("%s %v answers\n%s, want\n%s", name, pairs, got, want)
	}
}

// refused wants the call to fail with these words.
func (b *backEnd) refused(words, name string, pairs ...any) {
	b.t.Helper()
	if answer, failure := b.call(name, pairs...); failure == "" || !strings.Contains(failure, words) {
		b.t.Errorf("%s %v answers %v, %q; want a failure with %q", name, pairs, answer, failure, words)
	}
}
