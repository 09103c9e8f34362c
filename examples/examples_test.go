// Package examples holds the programs that people copy, one folder each. Its
// tests run every one of them as its user would and compare what goes over the
// wire byte for byte.
package examples

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// twoProcesses lets a test choose which process a client is connected to.
var twoProcesses = []string{"PUSHD_COUNT=2", "PUSHD_WATCHDOG=0s"}

// TestDocumentedAddresses checks where the programs listen by themselves, and
// that PUSHD_LISTEN moves each.
func TestDocumentedAddresses(t *testing.T) {
	for _, x := range []struct {
		program      string
		plain, moved map[string]string
	}{
		{"swoole-echo", group("swoole-echo", "websocket://0.0.0.0:9501"), group("swoole-echo", "websocket://127.0.0.1:1")},
		{"chat", group("chat", "websocket://0.0.0.0:8080"), group("chat", "websocket://127.0.0.1:1")},
		{"workerman", group("WebSocket", "websocket://0.0.0.0:2346"), group("WebSocket", "websocket://127.0.0.1:1")},
		{"ratchet-pusher", group("pusher", "websocket://0.0.0.0:19920"), group("pusher", "websocket://127.0.0.1:1")},
		{"ratchet-app", group("ratchet-app", "websocket://127.0.0.1:8080"), group("ratchet-app", "websocket://127.0.0.1:1")},
		{"protocol", group("netstring", "netstring://0.0.0.0:7000"), group("netstring", "netstring://127.0.0.1:1")},
		{"two-ports",
			map[string]string{"browsers": "websocket://0.0.0.0:6552", "backend": "udp://127.0.0.1:6553"},
			map[string]string{"browsers": "websocket://127.0.0.1:1", "backend": "udp://127.0.0.1:6553"}},
	} {
		p := prepare(t, x.program)
		for listen, want := range map[string]map[string]string{"": x.plain, "127.0.0.1:1": x.moved} {
			p.env = append(p.env, "PUSHD_LISTEN="+listen)
			got := p.plan()
			for name, planned := range got {
				got[name], _, _ = strings.Cut(planned, " ")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s with PUSHD_LISTEN=%q runs %v, want %v", x.program, listen, got, want)
			}
		}
	}
}

func group(name, listen string) map[string]string { return map[string]string{name: listen} }

// TestPages fetches the page of each program that has one.
func TestPages(t *testing.T) {
	for _, name := range []string{"swoole-echo", "chat", "workerman", "ratchet-pusher"} {
		t.Run(name, func(t *testing.T) { start(t, name).servesPage() })
	}
}

// servesPage checks that index.html is served as it is in the folder.
func (p *program) servesPage() {
	p.t.Helper()
	want, err := os.ReadFile(filepath.Join(p.name, "index.html"))
	must(p.t, err)
	res, body := get(p.t, p.addr, "/")
	if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "text/html; charset=utf-8" || body != string(want) {
		p.t.Errorf("GET / answers %s, %s, %d bytes", res.Status, kind, len(body))
	}
	if res, _ := get(p.t, p.addr, "/favicon.ico"); res.StatusCode != 404 {
		p.t.Errorf("GET /favicon.ico answers %s", res.Status)
	}
}

func TestSwooleEcho(t *testing.T) {
	p := start(t, "swoole-echo")
	c := dial(t, p.addr, "/")
	p.out.await(t, "open ")
	for _, message := range []string{"hello", "", "你好", strings.Repeat("x", 1000)} {
		c.send(text, message)
		c.expect(text, "已收到你的消息:"+message)
	}
	c.leave()
	p.out.await(t, "close ")
}

func TestChat(t *testing.T) {
	p := start(t, "chat", twoProcesses...)
	bySlot := p.dialEach("chat", "/", 2)
	sender, near, far := bySlot[0][0], bySlot[0][1], bySlot[1][0]
	others := []*client{near, far, bySlot[1][1]}
	for _, c := range append(others, sender) {
		c.expect(text, "Connected successfully!")
	}
	all := func(op byte, message string) {
		t.Helper()
		for _, c := range others {
			c.expect(op, message)
		}
	}
	sender.send(text, "hello, all")
	all(text, "hello, all")
	sender.send(binMsg, "\x00\xff")
	all(binMsg, "\x00\xff")
	far.send(text, "hello, you")
	for _, c := range []*client{sender, near, bySlot[1][1]} { // the sender has not heard itself
		c.expect(text, "hello, you")
	}
	sender.leave()
	all(text, "A user has left")
	far.leave() // and has not heard itself either
}

// TestWorkerman counts the ticks between two marks that come from elsewhere:
// each of the connections, which are spread over all processes, must have the
// same number of them, whenever it was opened and however slow the machine is.
func TestWorkerman(t *testing.T) {
	const processes, each, ticks = 4, 10, 4
	p := start(t, "workerman", "PUSHD_WATCHDOG=0s")
	if got, want := p.plan(), "websocket://"+p.addr+" 4"; got["WebSocket"] != want {
		t.Fatalf("plan is %v, want %s", got, want)
	}
	bySlot := p.dialEach("WebSocket", "/", each)
	if len(bySlot) != processes {
		t.Fatalf("%d processes, want %d", len(bySlot), processes)
	}
	p.out.awaitCount(t, "New connection", processes*each)

	first := bySlot[3][0] // not of the process that ticks
	first.expect(text, "Welcome!")
	p.mark("begin", processes*each)
	first.ticksUntil("begin")
	begun := time.Now()
	for range ticks {
		first.expect(text, "Welcome!")
	}
	if took := time.Since(begun); took < ticks*time.Second/2 {
		t.Errorf("%d ticks took only %s: does every process tick?", ticks, took)
	}
	p.mark("end", processes*each)
	want := ticks + first.ticksUntil("end")
	for slot, clients := range bySlot {
		for i, c := range clients {
			if c == first {
				continue
			}
			c.ticksUntil("begin")
			if n := c.ticksUntil("end"); n != want {
				t.Errorf("connection %d of process %d got %d ticks, not %d", i, slot, n, want)
			}
		}
	}

	bySlot[1][0].send(text, "hi")
	p.out.await(t, "Received: hi")
	for _, clients := range bySlot {
		for _, c := range clients {
			c.conn.Close()
		}
	}
	p.out.awaitCount(t, "Connection closed", processes*each)
}

// mark sends a message to every connection by the HTTP API.
func (p *program) mark(message string, connections int) {
	p.t.Helper()
	got := p.post("/v1/broadcast", map[string]any{"worker": "WebSocket", "data": message})
	if want := fmt.Sprintf(`{"reached":%d,"complete":true}`, connections); got != want {
		p.t.Fatalf("broadcast answers %s, want %s", got, want)
	}
}

// ticksUntil reads up to a mark and counts what came before.
func (c *client) ticksUntil(mark string) (n int) {
	c.t.Helper()
	for {
		f := c.next()
		switch string(f) {
		case string(frame(text, mark)):
			return n
		case string(frame(text, "Welcome!")):
			n++
		default:
			c.t.Fatalf("got % x %q", f, f)
		}
	}
}

// post asks the HTTP API of the program.
func (p *program) post(path string, body any) string {
	p.t.Helper()
	raw, err := json.Marshal(body)
	must(p.t, err)
	req, err := http.NewRequest("POST", "http://"+p.getenv("PUSHD_API_LISTEN")+path, bytes.NewReader(raw))
	must(p.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.getenv("PUSHD_API_KEY"))
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	must(p.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	must(p.t, err)
	return strings.TrimSpace(string(answer))
}

func TestRatchetPusher(t *testing.T) {
	p := start(t, "ratchet-pusher", twoProcesses...)
	bySlot := p.dialEach("pusher", "/", 2)
	sender, near, far := bySlot[0][0], bySlot[0][1], bySlot[1][0]
	id := p.idOf(sender)
	if !regexp.MustCompile(`^\d+\.\d+$`).MatchString(id) {
		t.Fatalf("id of the sender is %q", id)
	}
	for _, message := range []string{"one", "", "with:colons:"} {
		sender.send(text, message)
		near.expect(text, id+":"+message)
		far.expect(text, id+":"+message)
	}
	far.send(text, "from me")
	sender.expect(text, p.idOf(far)+":from me") // and nothing of its own before
	sender.leave()
}

// idOf finds the id of a connection by the port that it comes from.
func (p *program) idOf(c *client) string {
	p.t.Helper()
	var list struct {
		Connections []struct {
			ID   string
			Port int
		}
	}
	must(p.t, json.Unmarshal([]byte(p.run("connections", "--json")), &list))
	for _, info := range list.Connections {
		if info.Port == c.conn.LocalAddr().(*net.TCPAddr).Port {
			return info.ID
		}
	}
	p.t.Fatalf("no connection comes from %s: %+v", c.conn.LocalAddr(), list)
	return ""
}

// TestTwoPorts goes the whole way: browsers in two processes, the UDP port in a
// third, the datagrams from PHP.
func TestTwoPorts(t *testing.T) {
	p := prepare(t, "two-ports", "PUSHD_WATCHDOG=0s")
	udp := freePort(t)
	p.env = append(p.env, "PUSHD_LISTEN=websocket://"+p.addr+",udp://"+udp)
	p.start()
	p.servesPage()
	log := p.file("two-ports.log")

	bySlot := p.dialEach("browsers", "/", 3)
	if len(bySlot) != 2 {
		t.Fatalf("%d processes serve browsers, want 2", len(bySlot))
	}
	for _, clients := range bySlot {
		clients[0].send(text, `{"school_class_id":"1","school_id":"2"}`)
		clients[1].send(text, `{"school_class_id":"2","school_id":"1"}`)
		clients[2].send(text, `{"school_id":"2"}`) // names no class
		for _, c := range clients {
			c.settled()
		}
	}
	log.await("client joined", 4)
	log.await("client names no class", 2)

	push := filepath.Join("two-ports", "push.php")
	p.php(push, "1", "2", "上课了", udp)
	p.php(push, "2", "1", "for the others", udp)
	back, err := net.Dial("udp", udp)
	must(t, err)
	defer back.Close()
	for _, datagram := range []string{
		`not JSON`, `{"school_class_id":"1","data":"no school"}`, `{"school_class_id":"1","school_id":"2"}`,
		`{"school_class_id":"1","school_id":"2","data":{"lesson":7}}`,
	} {
		_, err := back.Write([]byte(datagram))
		must(t, err)
	}
	for _, clients := range bySlot {
		clients[0].expect(text, "上课了")
		clients[0].expect(text, `{"lesson":7}`)
		clients[1].expect(text, "for the others")
		for _, c := range clients {
			c.leave()
		}
	}
	log.await("datagram names no class", 3)
}

// logFile is a file that a program writes.
type logFile struct {
	t    *testing.T
	path string
}

func (p *program) file(name string) logFile { return logFile{p.t, filepath.Join(p.dir, name)} }

// await waits until words stand in the file n times.
func (f logFile) await(words string, n int) {
	f.t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		raw, err := os.ReadFile(f.path)
		have := strings.Count(string(raw), words)
		if have == n {
			return
		}
		if have > n || time.Since(begun) > patience {
			f.t.Fatalf("%q stands in %s %d times, not %d (%v):\n%s", words, f.path, have, n, err, raw)
		}
	}
}

func TestRatchetApp(t *testing.T) {
	p := start(t, "ratchet-app", twoProcesses...)
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
		{"/websocket", "http://evil.example:3000", 403},
		{"/websocket", "null", 403},
		{"/", "", 404},
		{"/websocket/more", "", 404},
	} {
		var headers []string
		if x.origin != "" {
			headers = []string{"Origin: " + x.origin}
		}
		c, res := upgrade(t, p.addr, x.path, headers...)
		if res.StatusCode != x.status {
			t.Errorf("%s with origin %q: %s, want %d", x.path, x.origin, res.Status, x.status)
		}
		if res.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		c.send(text, "hello")
		c.expect(text, "hello")
		c.send(binMsg, "\x00\xff")
		c.expect(binMsg, "\x00\xff")
		c.leave()
	}
}

// TestPlugin runs the third-party handler beside a built-in one, and counts its
// lines: it is to stay as easy as that.
func TestPlugin(t *testing.T) {
	config, err := filepath.Abs("plugin/pushd.toml")
	must(t, err)
	p := prepare(t, "plugin")
	p.flags = []string{"-c", config}
	p.start()
	c := dial(t, p.addr, "/greet")
	c.send(text, "Ann")
	c.expect(text, "Welcome, Ann!")
	c.leave()
	c = dial(t, p.addr, "/echo")
	c.send(text, "Ann")
	c.expect(text, "Ann")
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
	p := prepare(t, "plugin")
	wrong := `[[worker]]
listen = "websocket://127.0.0.1:2346"
routes = { "/greet" = { handler = "greet", options = { greting = "Hi" } } }
`
	must(t, os.WriteFile(filepath.Join(p.dir, "pushd.toml"), []byte(wrong), 0o600))
	out, err := p.command("check").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `pushd.toml:3`) || !strings.Contains(string(out), `greting`) {
		t.Errorf("check of an unknown option: %v, %s", err, out)
	}
}

func TestProtocol(t *testing.T) {
	p := start(t, "protocol", twoProcesses...)
	conn, err := net.Dial("tcp", p.addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	expect := func(want string) {
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
	expect("15:You said: hello,10:You said: ,")
	_, err = io.WriteString(conn, "hi,3:two,")
	must(t, err)
	expect("12:You said: hi,13:You said: two,")
	_, err = io.WriteString(conn, "05:hello,")
	must(t, err)
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("after a malformed packet came %q, %v, not the end", rest, err)
	}
	if got := p.php("protocol/client.php", "你好", p.addr); got != "You said: 你好\n" {
		t.Errorf("client.php prints %q", got)
	}
}

// TestPHP plays the back end of a page that has told its connection's id.
func TestPHP(t *testing.T) {
	p := prepare(t, "plugin", twoProcesses...)
	config := `[[worker]]
name   = "push"
listen = "websocket://127.0.0.1:2346"
routes = { "/notify" = { handler = "notify", options = { anonymous = true, channels = ["news"] } } }
`
	must(t, os.WriteFile(filepath.Join(p.dir, "pushd.toml"), []byte(config), 0o600))
	p.start()
	bySlot := p.dialEach("push", "/notify?hello=1", 1)
	ann, bob := bySlot[0][0], bySlot[1][0]
	id := p.idOf(ann)
	ann.expect(text, `{"id":"`+id+`"}`)
	bob.expect(text, `{"id":"`+p.idOf(bob)+`"}`)

	run := func(want string, args ...string) {
		t.Helper()
		args[0] = filepath.Join("php", args[0])
		if got := p.php(args...); got != want {
			t.Errorf("%v prints %q, want %q", args, got, want)
		}
	}
	run("reached 2 clients\n", "publish.php", "news", "Hello, all")
	run("42 is not online\n", "send.php", "42", "Hello?")
	run("bound to 42\n", "bind.php", id, "42")
	run("reached 1 clients\n", "send.php", "42", "Hello, you")
	run("closed 1 clients\n", "kick.php", "42")
	ann.expect(text, "Hello, all")
	ann.expect(text, "Hello, you")
	ann.expect(closes, "\x0f\xa1signed in elsewhere") // 4001
	bob.expect(text, "Hello, all")
	bob.leave()

	p.env = append(p.env, "PUSHD_API_KEY=wrong")
	out, err := p.phpCommand("php/publish.php", "news", "forged").CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "pushd: ") || strings.Contains(string(out), "of-the-test") {
		t.Errorf("publish with a wrong key: %v, %s", err, out)
	}
}
