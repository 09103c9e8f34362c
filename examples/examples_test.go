// Package examples holds the programs that people copy, one folder each. Its
// tests run every one of them as its user would and compare what goes over the
// wire byte for byte.
package examples

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const (
	text   = pushdtest.OpText
	binary = pushdtest.OpBinary
	closes = pushdtest.OpClose
)

// TestAddresses checks where the programs listen by themselves, and that
// PUSHD_LISTEN moves each.
func TestAddresses(t *testing.T) {
	type groups = map[string]string
	for _, x := range []struct {
		program      string
		plain, moved groups
	}{
		{"swoole-echo", groups{"swoole-echo": "websocket://0.0.0.0:9501"}, groups{"swoole-echo": "websocket://127.0.0.1:1"}},
		{"chat", groups{"chat": "websocket://0.0.0.0:8080"}, groups{"chat": "websocket://127.0.0.1:1"}},
		{"workerman", groups{"WebSocket": "websocket://0.0.0.0:2346"}, groups{"WebSocket": "websocket://127.0.0.1:1"}},
		{"ratchet-pusher", groups{"pusher": "websocket://0.0.0.0:19920"}, groups{"pusher": "websocket://127.0.0.1:1"}},
		{"pusher", groups{"pusher": "websocket://0.0.0.0:8090"}, groups{"pusher": "websocket://127.0.0.1:1"}},
		{"ratchet-app", groups{"ratchet-app": "websocket://127.0.0.1:8080"}, groups{"ratchet-app": "websocket://127.0.0.1:1"}},
		{"protocol", groups{"netstring": "netstring://0.0.0.0:7000"}, groups{"netstring": "netstring://127.0.0.1:1"}},
		{"two-ports",
			groups{"browsers": "websocket://0.0.0.0:6552", "backend": "udp://127.0.0.1:6553"},
			groups{"browsers": "websocket://127.0.0.1:1", "backend": "udp://127.0.0.1:6553"}},
	} {
		for listen, want := range map[string]groups{"": x.plain, "127.0.0.1:1": x.moved} {
			p := run(t, x.program, pushdtest.Options{Manual: true, Env: []string{"PUSHD_LISTEN=" + listen}})
			got := groups{}
			for _, w := range p.plan() {
				got[w.Name] = strings.Join(w.Listen, " ")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s with PUSHD_LISTEN=%q listens on %v, want %v", x.program, listen, got, want)
			}
		}
	}
}

type planned struct {
	Name   string
	Listen []string
	Count  int
}

// plan returns the worker groups that the program would run.
func (p *program) plan() []planned {
	p.t.Helper()
	var plan struct{ Workers []planned }
	must(p.t, json.Unmarshal([]byte(p.MustRun("plan", "--json")), &plan))
	return plan.Workers
}

func TestSwooleEcho(t *testing.T) {
	p := start(t, "swoole-echo")
	p.servesPage()
	c := p.dial("/")
	for _, message := range []string{"hello", "", "你好", strings.Repeat("x", 60_000)} {
		c.send(text, message)
		c.want(text, "已收到你的消息:"+message)
	}
	id := p.id(c)
	c.leave()
	p.prints("open "+id+"\n", 1)
	p.prints("close "+id+"\n", 1)
}

func TestChat(t *testing.T) {
	p := start(t, "chat", "PUSHD_COUNT=2")
	p.servesPage()
	bySlot := p.dialEach("chat", "/", 2)
	sender, near, far, last := bySlot[0][0], bySlot[0][1], bySlot[1][0], bySlot[1][1]
	for _, c := range []client{sender, near, far, last} {
		c.want(text, "Connected successfully!")
	}
	hear := func(op byte, message string, clients ...client) {
		t.Helper()
		for _, c := range clients {
			c.want(op, message)
		}
	}
	sender.send(text, "hello, all")
	hear(text, "hello, all", near, far, last)
	sender.send(binary, "\x00\xff")
	hear(binary, "\x00\xff", near, far, last)
	far.send(text, "hello, you")
	hear(text, "hello, you", sender, near, last) // and sender has not heard itself
	sender.leave()
	hear(text, "A user has left", near, far, last)
	near.Conn.Close() // without a goodbye
	hear(text, "A user has left", far, last)
	far.leave()
	hear(text, "A user has left", last)
	last.leave()
}

// TestWorkerman counts the ticks between two marks that come from elsewhere:
// each of the connections, which are spread over all processes, must have the
// same number of them, whenever it was opened and however slow the machine is.
func TestWorkerman(t *testing.T) {
	const processes, each, all, ticks = 4, 10, 40, 4
	p := start(t, "workerman")
	p.servesPage()
	if got := p.plan()[0]; got.Name != "WebSocket" || got.Count != processes {
		t.Fatalf("plan is %+v", got)
	}
	bySlot := p.dialEach("WebSocket", "/", each)
	if len(bySlot) != processes {
		t.Fatalf("%d processes, want %d", len(bySlot), processes)
	}
	p.prints("New connection\n", all)

	first := bySlot[processes-1][0] // not of the process that ticks
	first.want(text, "Welcome!")
	p.broadcast("begin", all)
	first.ticks("Welcome!", "begin")
	begun := time.Now()
	for range ticks {
		first.want(text, "Welcome!")
	}
	if took := time.Since(begun); took < ticks*time.Second/2 { // a bound that a slow machine cannot break
		t.Errorf("%d ticks took only %s: does every process tick?", ticks, took)
	}
	p.broadcast("end", all)
	want := ticks + first.ticks("Welcome!", "end")
	for slot, clients := range bySlot {
		for i, c := range clients {
			if c == first {
				continue
			}
			c.ticks("Welcome!", "begin")
			if n := c.ticks("Welcome!", "end"); n != want {
				t.Errorf("connection %d of process %d got %d ticks, not %d", i, slot, n, want)
			}
		}
	}

	bySlot[1][0].send(text, "hi")
	p.prints("Received: hi\n", 1)
	for _, clients := range bySlot {
		for _, c := range clients {
			c.Conn.Close()
		}
	}
	p.prints("Connection closed\n", all)
}

// broadcast sends a message to every connection by the HTTP API.
func (p *program) broadcast(message string, reached int) {
	p.t.Helper()
	status, answer := p.Post("/v1/broadcast", map[string]any{"worker": "WebSocket", "data": message})
	if want := map[string]any{"reached": float64(reached), "complete": true}; status != 200 || !reflect.DeepEqual(answer, want) {
		p.t.Fatalf("broadcast answers %d %v, want %v", status, answer, want)
	}
}

func TestRatchetPusher(t *testing.T) {
	p := start(t, "ratchet-pusher", "PUSHD_COUNT=2")
	p.servesPage()
	bySlot := p.dialEach("pusher", "/", 2)
	sender, near, far := bySlot[0][0], bySlot[0][1], bySlot[1][0]
	id := p.id(sender)
	if !regexp.MustCompile(`^\d+\.\d+$`).MatchString(id) {
		t.Fatalf("id of the sender is %q", id)
	}
	for _, message := range []string{"one", "", "with:colons:"} {
		sender.send(text, message)
		near.want(text, id+":"+message)
		far.want(text, id+":"+message)
	}
	far.send(text, "from me")
	sender.want(text, p.id(far)+":from me") // and nothing of its own before
	sender.leave()
}

// TestTwoPorts goes the whole way: browsers in two processes, the UDP port in a
// third, the datagrams from PHP.
func TestTwoPorts(t *testing.T) {
	udp := pushdtest.FreeAddr(t)
	web := pushdtest.FreePort(t)
	p := run(t, "two-ports", pushdtest.Options{
		Manual: true,
		Env:    []string{"PUSHD_LISTEN=websocket://" + local(web) + ",udp://" + udp},
	})
	p.Port, p.addr = web, local(web)
	p.MustRun("start", "-d")
	p.servesPage()
	log := filepath.Join(p.Dir, "two-ports.log")

	bySlot := p.dialEach("browsers", "/", 3)
	if len(bySlot) != 2 {
		t.Fatalf("%d processes serve browsers, want 2", len(bySlot))
	}
	for _, clients := range bySlot {
		clients[0].send(text, `{"school_class_id":"1","school_id":"2"}`)
		clients[1].send(text, `{"school_class_id":"2","school_id":"1"}`)
		clients[2].send(text, `{"school_id":"2"}`) // names no class
		for _, c := range clients {
			c.settle()
		}
	}
	says(t, log, "client joined", 4)
	says(t, log, "client names no class", 2)

	p.phpPrints("", "two-ports/push.php", "1", "2", "上课了", udp)
	p.phpPrints("", "two-ports/push.php", "2", "1", "for the others", udp)
	backend, err := net.Dial("udp", udp)
	must(t, err)
	defer backend.Close()
	for _, datagram := range []string{
		`not JSON`, `{"school_class_id":"1","data":"no school"}`, `{"school_class_id":"1","school_id":"2"}`,
		`{"school_class_id":"1","school_id":"2","data":{"lesson":7}}`,
	} {
		_, err := io.WriteString(backend, datagram)
		must(t, err)
	}
	for _, clients := range bySlot {
		clients[0].want(text, "上课了")
		clients[0].want(text, `{"lesson":7}`)
		clients[1].want(text, "for the others")
		for _, c := range clients {
			c.leave()
		}
	}
	says(t, log, "datagram names no class", 3)
}

func TestRatchetApp(t *testing.T) {
	ratchetApp(t, start(t, "ratchet-app", "PUSHD_COUNT=2"))
}

// ratchetApp is what clients see of the App of the tutorial, in Go and in PHP: who
// may come in, and that he hears himself.
func ratchetApp(t *testing.T, p *program) {
	t.Helper()
	for _, x := range []struct {
		path, origin string
		status       int
	}{
		{"/websocket", "", 101}, // no browser
		{"/websocket", "http://" + p.addr, 101},
		{"/websocket", "http://127.0.0.1:3000", 101}, // the page comes from another port
		{"/websocket", "http://localhost:3000", 101},
		{"/websocket", "http://evil.example", 403},
		{"/websocket", "http://localhost.evil.example", 403},
		{"/websocket", "null", 403},
		{"/", "", 404},
		{"/websocket/more", "", 404},
	} {
		var header []string
		if x.origin != "" {
			header = []string{"Origin: " + x.origin}
		}
		c := client{pushdtest.Handshake(t, p.addr, x.path, header...), t}
		if c.Response.StatusCode != x.status {
			t.Errorf("%s with origin %q: %s, want %d", x.path, x.origin, c.Response.Status, x.status)
		}
		if c.Response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		c.send(text, "hello")
		c.want(text, "hello")
		c.send(binary, "\x00\xff")
		c.want(binary, "\x00\xff")
		c.leave()
	}
}

// TestPlugin runs the third-party handler beside a built-in one with the config
// that is in its folder, and counts its lines: it is to stay as easy as that.
func TestPlugin(t *testing.T) {
	config, err := os.ReadFile("plugin/pushd.toml")
	must(t, err)
	p := run(t, "plugin", pushdtest.Options{Config: strings.Replace(string(config), "2346", "{{port}}", 1)})
	c := p.dial("/greet")
	c.send(text, "Ann")
	c.want(text, "Welcome, Ann!")
	c.leave()
	c = p.dial("/echo")
	c.send(text, "Ann")
	c.want(text, "Ann")
	c.leave()

	total := 0
	for _, name := range []string{"plugin/main.go", "plugin/greet/greet.go"} {
		raw, err := os.ReadFile(name)
		must(t, err)
		total += strings.Count(string(raw), "\n")
	}
	if total >= 40 {
		t.Errorf("the plugin and its program have %d lines, not under 40", total)
	}
}

// TestPluginOption checks that a handler's own options are checked before
// anything runs.
func TestPluginOption(t *testing.T) {
	p := run(t, "plugin", pushdtest.Options{Manual: true, Config: `[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
routes = { "/greet" = { handler = "greet", options = { greting = "Hi" } } }
`})
	r := p.Run("check")
	if r.Code != 1 || !strings.Contains(r.Stderr, `pushd.toml:3`) || !strings.Contains(r.Stderr, `greting`) {
		t.Errorf("check of an unknown option: %+v", r)
	}
}

func TestProtocol(t *testing.T) {
	p := start(t, "protocol", "PUSHD_COUNT=2")
	conn, err := net.Dial("tcp", p.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(pushdtest.Timeout)))
	want := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	for _, part := range strings.Split("5:hello,0:,2:", "") { // one byte at a time
		_, err := io.WriteString(conn, part)
		must(t, err)
	}
	want("15:You said: hello,10:You said: ,")
	_, err = io.WriteString(conn, "hi,3:two,")
	must(t, err)
	want("12:You said: hi,13:You said: two,")
	_, err = io.WriteString(conn, "05:hello,")
	must(t, err)
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("after a malformed packet came %q, %v, not the end", rest, err)
	}
	p.phpPrints("You said: 你好\n", "protocol/client.php", "你好", p.addr)
}

// TestPHP plays the back end of a page that has told its connection's id.
func TestPHP(t *testing.T) {
	p := run(t, "plugin", pushdtest.Options{Config: `[[worker]]
name   = "push"
listen = "websocket://127.0.0.1:{{port}}"
count  = 2
routes = { "/notify" = { handler = "notify", options = { anonymous = true, channels = ["news"] } } }
`})
	bySlot := p.dialEach("push", "/notify?hello=1", 1)
	ann, bob := bySlot[0][0], bySlot[1][0]
	ann.want(text, `{"id":"`+p.id(ann)+`"}`)
	bob.want(text, `{"id":"`+p.id(bob)+`"}`)

	p.phpPrints("reached 2 clients\n", "php/publish.php", "news", "Hello, all")
	p.phpPrints("42 is not online\n", "php/send.php", "42", "Hello?")
	p.phpPrints("bound to 42\n", "php/bind.php", p.id(ann), "42")
	p.phpPrints("reached 1 clients\n", "php/send.php", "42", "Hello, you")
	p.phpPrints("closed 1 clients\n", "php/kick.php", "42")
	ann.want(text, "Hello, all")
	ann.want(text, "Hello, you")
	ann.want(closes, "\x0f\xa1signed in elsewhere") // 4001
	bob.want(text, "Hello, all")

	forged := p.php("php/publish.php", "news", "forged")
	forged.Env = append(forged.Env, "PUSHD_API_KEY=wrong")
	out, err := forged.CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "pushd: ") || strings.Contains(string(out), p.Key) {
		t.Errorf("publish with a wrong key: %v, %s", err, out)
	}
	bob.leave() // and has not got the forgery
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
