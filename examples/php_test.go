package examples

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// The tutorials' programs in PHP, each run as `pushd php FILE` and met by the
// clients that the programs in Go are met by.

// startPHP runs an example in PHP, moved to a free port, until the end of the
// test.
func startPHP(t *testing.T, file string, env ...string) *program {
	t.Helper()
	p := runPHP(t, file, pushdtest.Options{Manual: true, Env: env})
	p.MustRun("start", "-d")
	return p
}

func runPHP(t *testing.T, file string, o pushdtest.Options) *program {
	t.Helper()
	abs, err := filepath.Abs(file)
	must(t, err)
	o.Prefix = []string{"php", abs}
	o.Env = append([]string{"PUSHD_DRAIN=0s", "PUSHD_WATCHDOG=0s", "PUSHD_ALLOW_ROOT=1"}, o.Env...) // dialEach stops processes
	s := pushdtest.Start(t, o)
	return &program{s, t, "pushd", local(s.Port)}
}

func TestPHPAddresses(t *testing.T) {
	for _, x := range []struct{ file, listen string }{
		{"workerman/start.php", "WebSocket websocket://0.0.0.0:2346"},
		{"swoole-echo/server.php", "server websocket://0.0.0.0:9501"},
		{"chat/chat.php", "chat websocket://0.0.0.0:8080"},
		{"ratchet-pusher/pusher.php", "pusher websocket://0.0.0.0:19920"},
		{"two-ports/server.php", "server websocket://0.0.0.0:6552 udp://127.0.0.1:6553"},
		{"ratchet-app/app.php", "app websocket://127.0.0.1:8080"},
		{"php-chat/start.php", "chat websocket://0.0.0.0:2356"},
	} {
		p := runPHP(t, x.file, pushdtest.Options{Manual: true, Env: []string{"PUSHD_LISTEN="}})
		got := []string{}
		for _, w := range p.plan() {
			got = append(got, w.Name+" "+strings.Join(w.Listen, " "))
		}
		if len(got) != 1 || got[0] != x.listen {
			t.Errorf("%s listens on %q, want %q", x.file, got, x.listen)
		}
	}
}

func TestPHPSwooleEcho(t *testing.T) {
	p := startPHP(t, "swoole-echo/server.php")
	c := p.dial("/")
	for _, message := range []string{"hello", "", "你好", strings.Repeat("x", 60_000)} {
		c.send(text, message)
		c.want(text, "已收到你的消息:"+message)
	}
	c.leave()
	p.printsLike(`(?m)^open \d+$`, 1)
	p.printsLike(`(?m)^close \d+$`, 1)
}

func TestPHPChat(t *testing.T) {
	p := startPHP(t, "chat/chat.php", "PUSHD_COUNT=2")
	bySlot := p.dialEach("chat", "/", 2)
	sender, near, far, last := bySlot[0][0], bySlot[0][1], bySlot[1][0], bySlot[1][1]
	for _, c := range []client{sender, near, far, last} {
		c.want(text, "Connected successfully!")
	}
	hear := func(message string, clients ...client) {
		t.Helper()
		for _, c := range clients {
			c.want(text, message)
		}
	}
	sender.send(text, "hello, all")
	hear("hello, all", near, far, last)
	far.send(text, "hello, you")
	hear("hello, you", sender, near, last) // and sender has not heard itself
	sender.leave()
	hear("A user has left", near, far, last)
	near.Conn.Close() // without a goodbye
	hear("A user has left", far, last)
	last.leave()
}

// TestPHPWorkerman has a timer in each process, as the tutorial does, so that
// processes may differ by one tick.
func TestPHPWorkerman(t *testing.T) {
	const processes, each, all, ticks = 4, 3, 12, 3
	p := startPHP(t, "workerman/start.php")
	bySlot := p.dialEach("WebSocket", "/", each)
	if len(bySlot) != processes {
		t.Fatalf("%d processes, want %d", len(bySlot), processes)
	}
	p.prints("New connection\n", all)
	first := bySlot[processes-1][0]
	first.want(text, "Welcome!")
	p.broadcast("begin", all)
	first.ticks("Welcome!", "begin")
	for range ticks {
		first.want(text, "Welcome!")
	}
	p.broadcast("end", all)
	want := ticks + first.ticks("Welcome!", "end")
	for slot, clients := range bySlot {
		for i, c := range clients {
			if c == first {
				continue
			}
			c.ticks("Welcome!", "begin")
			if n := c.ticks("Welcome!", "end"); n < want-1 || n > want+1 {
				t.Errorf("connection %d of process %d got %d ticks, not about %d", i, slot, n, want)
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

func TestPHPRatchetPusher(t *testing.T) {
	p := startPHP(t, "ratchet-pusher/pusher.php")
	sender, other := p.dial("/"), p.dial("/")
	sender.send(text, "one")
	_, got := other.next()
	id, message, _ := strings.Cut(got, ":")
	if !regexp.MustCompile(`^\d+$`).MatchString(id) || message != "one" {
		t.Fatalf("got %q", got)
	}
	p.MustRun("reload") // the object storage and the ids outlive it
	for _, message := range []string{"two", "", "with:colons:"} {
		sender.send(text, message)
		other.want(text, id+":"+message)
	}
	sender.leave()
	p.prints("Connection "+id+" has disconnected\n", 1)
}

func TestPHPTwoPorts(t *testing.T) {
	udp, web := pushdtest.FreeAddr(t), pushdtest.FreePort(t)
	p := runPHP(t, "two-ports/server.php", pushdtest.Options{
		Manual: true,
		Env:    []string{"PUSHD_LISTEN=websocket://" + local(web) + ",udp://" + udp},
	})
	p.Port, p.addr = web, local(web)
	p.MustRun("start", "-d")
	log := filepath.Join(p.Dir, "two-ports.log")
	one, two, none := p.dial("/"), p.dial("/"), p.dial("/")
	one.send(text, `{"school_class_id":"1","school_id":"2"}`)
	two.send(text, `{"school_class_id":"2","school_id":"1"}`)
	none.send(text, `{"school_id":"2"}`)
	says(t, log, "client joined\n", 2)
	says(t, log, "client names no class\n", 1)
	p.MustRun("reload") // who is in which class outlives it
	p.phpPrints("", "two-ports/push.php", "1", "2", "上课了", udp)
	p.phpPrints("", "two-ports/push.php", "2", "1", "for the others", udp)
	backend, err := net.Dial("udp", udp)
	must(t, err)
	defer backend.Close()
	for _, datagram := range []string{`not JSON`, `{"school_class_id":"1","data":"x"}`, `{"school_class_id":"1","school_id":"2","data":{"lesson":7}}`} {
		_, err := io.WriteString(backend, datagram)
		must(t, err)
	}
	one.want(text, "上课了")
	one.want(text, `{"lesson":7}`)
	two.want(text, "for the others")
	for _, c := range []client{one, two, none} {
		c.leave()
	}
	says(t, log, "datagram names no class\n", 2)
}

func TestPHPRatchetApp(t *testing.T) {
	ratchetApp(t, startPHP(t, "ratchet-app/app.php"))
}

func TestPHPOwnChat(t *testing.T) {
	p := startPHP(t, "php-chat/start.php", "PUSHD_COUNT=2")
	bySlot := p.dialEach("chat", "/", 1)
	ann, bob := bySlot[0][0], bySlot[1][0]
	ann.send(text, `{"type":"say","text":"x"}`)
	ann.want(text, `{"type":"error","text":"log in first"}`)
	ann.send(text, `{"type":"login","name":"Ann"}`)
	ann.want(text, `{"type":"joined","name":"Ann","room":"lobby"}`)
	bob.send(text, `{"type":"login","name":"Bob"}`)
	for nextOf(bob, "joined")["name"] != "Bob" {
		// Ann's was still on its way to his process.
	}
	ann.want(text, `{"type":"joined","name":"Bob","room":"lobby"}`)
	p.MustRun("reload") // names and rooms outlive it
	ann.send(text, `{"type":"say","text":"你好"}`)
	ann.want(text, `{"type":"say","from":"Ann","text":"你好"}`)
	bob.want(text, `{"type":"say","from":"Ann","text":"你好"}`)
	bob.send(text, `{"type":"to","name":"Ann","text":"psst"}`)
	ann.want(text, `{"type":"private","from":"Bob","text":"psst"}`)
	bob.send(text, `{"type":"who"}`)
	bob.want(text, `{"type":"who","names":["Ann","Bob"]}`)
	bob.send(text, `{"type":"join","room":"tea"}`)
	ann.want(text, `{"type":"left","name":"Bob","room":"lobby"}`)
	if got := nextOf(bob, "joined"); got["room"] != "tea" {
		t.Errorf("bob is in %v", got)
	}
	bob.leave()
	ann.send(text, `{"type":"nonsense"}`)
	ann.want(text, `{"type":"error","text":"there is no \"nonsense\""}`)
	ann.leave()
}

// nextOf returns the next message of a type.
func nextOf(c client, kind string) map[string]any {
	c.t.Helper()
	for {
		_, raw := c.next()
		var m map[string]any
		must(c.t, json.Unmarshal([]byte(raw), &m))
		if m["type"] == kind {
			return m
		}
	}
}

// printsLike waits until the log has lines of that form.
func (p *program) printsLike(form string, n int) {
	p.t.Helper()
	log, re := filepath.Join(p.Dir, "run", p.name+".log"), regexp.MustCompile(form)
	pushdtest.Eventually(p.t, form+" stands in the log", func() bool {
		raw, err := os.ReadFile(log)
		return err == nil && len(re.FindAll(raw, -1)) == n
	})
}

// TestPHPPush sends from another PHP process, with address and key as the
// commands of the program tell them: the API's unix socket and a generated key.
func TestPHPPush(t *testing.T) {
	p := startPHP(t, "php-chat/start.php", "PUSHD_COUNT=1", "PUSHD_API_LISTEN=", "PUSHD_API_KEY=")
	p.API = regexp.MustCompile(`unix:///\S+`).FindString(p.MustRun("plan"))
	p.Key = strings.TrimSpace(p.MustRun("key"))
	c := p.dial("/")
	c.send(text, `{"type":"login","name":"ann"}`)
	c.want(text, `{"type":"joined","name":"ann","room":"lobby"}`)
	p.phpPrints("reached 1 clients\n", "php/send.php", "ann", "Hello, you")
	c.want(text, "Hello, you")
}
