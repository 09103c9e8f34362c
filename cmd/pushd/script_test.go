package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// walkerConfig runs testdata/script/walker.py in one worker process. {{start}}
// and {{more}} are filled in by walker.
const walkerConfig = `
drain = "100ms"
[[worker]]
name = "script"
listen = ["websocket://127.0.0.1:{{port}}", "udp://127.0.0.1:{{port}}"]
count = 1
allow_root = true
script = "python3 {{walker}} {{start}}"
{{more}}
`

// walkerText fills in a config.
func walkerText(t *testing.T, start, more string) string {
	t.Helper()
	walker := filepath.Join(pushdtest.Root(t), "cmd/pushd/testdata/script/walker.py")
	if start != "never" {
		more = "start = \"1m\"\n" + more // Python takes its time where others are at work
	}
	return strings.NewReplacer("{{walker}}", walker, "{{start}}", start, "{{more}}", more).Replace(walkerConfig)
}

// scripted is a server whose handler is the walker.
type scripted struct {
	*pushdtest.Server
	t *testing.T
}

func walk(t *testing.T, start, more string, flags ...string) scripted {
	t.Helper()
	return scripted{pushdtest.Start(t, pushdtest.Options{Config: walkerText(t, start, more), Flags: flags,
		Env: []string{"PUSHD_TEST_FAULT=fault"}}), t}
}

// ask says something and returns the answer.
func ask(t *testing.T, c *pushdtest.Client, text string) string {
	t.Helper()
	c.SendText(text)
	_, answer := c.Read()
	return string(answer)
}

func says(t *testing.T, c *pushdtest.Client, text, answer string) {
	t.Helper()
	if got := ask(t, c, text); got != answer {
		t.Fatalf("%q was answered with %q, not %q", text, got, answer)
	}
}

// script is the part of `status --json` that is about programs.
type script struct {
	PID, Births, Batches, Waiting, Told, Bound int
	State, Title                               string
	RSSBytes                                   int64 `json:"rss_bytes"`
	Doubts                                     int   `json:"closed_in_doubt"`
	Strands                                    int   `json:"closed_held"`
	Packets                                    int   `json:"packets_lost"`
	Holds                                      int
}

// scripts are all of them: a new worker that is late with its numbers has none yet.
func (s scripted) scripts() (list []script) {
	s.t.Helper()
	pushdtest.Eventually(s.t, "the status tells of the program", func() bool {
		var st struct{ Workers []struct{ Scripts []script } }
		if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
			s.t.Fatal(err)
		}
		for _, w := range st.Workers {
			list = append(list, w.Scripts...)
		}
		return len(list) > 0
	})
	return list
}

// idle waits until the program has done all that it was told.
func (s scripted) idle() (one script) {
	s.t.Helper()
	pushdtest.Eventually(s.t, "the program has nothing to do", func() bool {
		list := s.scripts()
		if len(list) == 1 {
			one = list[0]
		}
		return len(list) == 1 && one.State == "ready" && one.Waiting == 0
	})
	return one
}

// TestScript: what a program can do it can do over the wire.
func TestScript(t *testing.T) {
	t.Parallel()
	s := walk(t, "prints", "")
	a, b := s.Dial("/a?x=1"), s.Dial("/b")
	says(t, a, "hi", "hi")
	says(t, b, "hi", "hi")
	says(t, a, "seen", "open open")
	says(t, a, `set {"name":"Ann"}`, "set")
	says(t, a, "get", `{"name":"Ann"}`)

	a.SendText("all to all")
	a.WantText("to all")
	b.WantText("to all")
	a.SendText("many to many")
	a.WantText("to many")
	b.WantText("to many")

	says(t, a, "join room", "joined")
	b.SendText("publish room to the room")
	a.WantText("to the room")
	says(t, b, "subscribe room", "subscribed")
	b.SendText("publish room once more")
	got := map[string]bool{}
	for range 2 {
		_, text := a.Read()
		got[string(text)] = true
	}
	if !got["once more"] || !got["heard roomonce more"] {
		t.Errorf("a member and a process were told %v", got)
	}
	b.WantText("heard roomonce more")

	says(t, a, "bind 7", "bound")
	says(t, a, "bind a\tb", "bound") // nobody could send to such a user
	b.SendText(`order {"op":"send","uid":"7","data":"to you"}`)
	a.WantText("to you")
	b.WantText("answer 0 {}")
	says(t, b, `order {"op":"dance"}`, `answer 1 {"error":"op: one of [\"bind\" \"broadcast\" \"join\" \"kick\" \"leave\" \"publish\" \"send\" \"unbind\"] is needed","field":"op"}`)
	says(t, b, `order {"op":"send","uid":"7","dat":"x"}`, `answer 1 {"error":"unknown field \"dat\"; known are uid, uids, connection, connections, data, data_base64, app, event","field":"dat"}`)
	says(t, b, `call {"what":"count","channel":"room"}`, `answer 0 {"complete":true,"count":1}`)
	says(t, b, `call {"what":"online","uids":["7","8","a\tb"]}`, `answer 0 {"complete":true,"online":{"7":1}}`)
	if m := ask(t, b, `call {"what":"members","channel":"room"}`); !strings.Contains(m, `"uid":"7"`) || !strings.Contains(m, `"total":1`) {
		t.Error(m)
	}
	if m := ask(t, b, `call {"what":"weather"}`); !strings.HasPrefix(m, `answer 1 {"error":`) {
		t.Error(m)
	}
	says(t, b, "timer 5", "alarm")
	a.Close()
	pushdtest.Eventually(t, "the program knows", func() bool { return ask(t, b, "seen") == "close:1000" })
	if one := s.idle(); one.Births != 1 || one.Told != 1 || one.Batches == 0 {
		t.Errorf("%+v", one)
	}
	if log := s.Log(); !strings.Contains(log, "hello from the program before it is ready") {
		t.Errorf("the log has not what the program prints:\n%s", log)
	}
	if table := s.MustRun("status"); !strings.Contains(table, "walker.py") {
		t.Errorf("status does not show the program:\n%s", table)
	}
}

// TestScriptNoClient: the program's own socket is no connection of anybody's.
func TestScriptNoClient(t *testing.T) {
	t.Parallel()
	s := walk(t, "", "")
	if n := s.Status().Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
	if n := len(listing(t, s.Server, "")); n != 0 {
		t.Errorf("%d are listed", n)
	}
	a := s.Dial("/")
	if status, answer := s.Post("/v1/broadcast", map[string]any{"data": "hi"}); status != 200 || answer["reached"] != 1.0 {
		t.Errorf("%d %v", status, answer)
	}
	a.WantText("hi")
	says(t, a, "still there", "still there")
	s.change(`ping_interval = "50s"`)
	if r := reload(t, s.Server); r.Moved != 1 {
		t.Errorf("%+v", r)
	}
}

// TestScriptPacket: a datagram reaches the program, whose answer comes back.
func TestScriptPacket(t *testing.T) {
	t.Parallel()
	s := walk(t, "", "")
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(pushdtest.Timeout))
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "got ping" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// TestScriptHTTP: requests and handshakes are the program's to answer, if it
// wants to.
func TestScriptHTTP(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "request handshake open" }`)
	url := fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	resp, err := http.Post(url+"/made?x=1", "text/plain", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	body := readAll(t, resp)
	if resp.StatusCode != 201 || resp.Header.Get("X-By") != "script" || body != "POST /made?x=1 HTTP/1.1|the body" {
		t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
	if resp, err = http.Get(url + "/stream"); err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp); body != "data: 1\n\ndata: 2\n\n" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v %q", resp.Header, body)
	}
	if resp, err = http.Get(url + "/die"); err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 502 {
		t.Errorf("a program that died: %d", resp.StatusCode)
	}
	for _, status := range []string{"099", "100", "101", "103", "199"} { // which nobody waits for
		if resp, err = http.Get(url + "/begins=" + status); err != nil {
			t.Fatal(err)
		}
		if readAll(t, resp); resp.StatusCode != 502 {
			t.Errorf("an answer that begins with %s is %d", status, resp.StatusCode)
		}
	}
	if !strings.Contains(s.Log(), "200 or more, not 99") { // of the others a number is told
		t.Errorf("the log says nothing of it")
	}
	c := pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/?token=wrong")
	if body := readAll(t, c.Response); c.Response.StatusCode != 403 || body != "no such token\n" {
		t.Errorf("a wrong token: %d %q", c.Response.StatusCode, body)
	}
	c = pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/?token=none")
	if body := readAll(t, c.Response); c.Response.StatusCode != 401 || c.Response.Header.Get("WWW-Authenticate") != "Bearer" || body != "{}\n" {
		t.Errorf("a whole answer: %d %q %v", c.Response.StatusCode, body, c.Response.Header)
	}
	c = s.Dial("/?token=right")
	if c.Response.Header.Get("X-By") != "script" || c.Response.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("the headers of the program are not there: %v", c.Response.Header)
	}
	says(t, c, "seen", "open")

	// Two that ask at the same time: each OPEN has the head of its own handshake, and
	// what is said behind an ACCEPT reaches the new client.
	one := make(chan *pushdtest.Client)
	go func() { one <- s.Dial("/?token=pair&name=one") }()
	two := s.Dial("/?token=pair&name=two")
	for name, c := range map[string]*pushdtest.Client{"one": <-one, "two": two} {
		if _, first := c.Read(); string(first) != "welcome" {
			t.Errorf("%s: the first word is %q", name, first)
		}
		says(t, c, "head", "/?token=pair&name="+name)
	}

	plain := walk(t, "", "")
	if resp, err = http.Get(fmt.Sprintf("http://127.0.0.1:%d/", plain.Port)); err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 426 {
		t.Errorf("a program without requests: %d", resp.StatusCode)
	}
}

// TestScriptDies: however a process ends, one connection at most is closed, the
// next process answers, and what it had said of itself is in the log.
func TestScriptDies(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `callback = "10s"
memory = "64MiB"
max_messages = 0`)
	a, b := s.Dial("/"), s.Dial("/")
	says(t, a, "set Ann", "set")
	for _, x := range []struct{ what, log string }{
		{"exit", "status 3: the last words"}, {"die", "ended by killed"}, {"dump", "ended by segmentation fault"},
		{"loop", "takes too long"}, {"eat", "MemoryError"}, {"garbage", "what cannot be read"}, {"huge", "SEND of 4294967295 bytes"},
	} {
		says(t, b, "before", "before")
		s.idle()
		c := s.Dial("/")
		c.SendText(x.what)
		if code := closed(t, c); code != 1011 {
			t.Errorf("%s: its connection was closed with %d", x.what, code)
		}
		says(t, b, "after", "after")
		says(t, a, "get", "Ann")
		if log := s.Log(); !strings.Contains(log, x.log) {
			t.Errorf("%s: the log has no %q:\n%s", x.what, x.log, log)
		}
	}
	if one := s.idle(); one.Births != 8 || one.Doubts != 7 || one.Strands != 0 {
		t.Errorf("%+v", one)
	}
}

// TestScriptLongSession: a session that is too long takes the one before away, and the
// process alone knows its connection then.
func TestScriptLongSession(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "names" }`)
	a, b, c := s.Dial("/"), s.Dial("/"), s.Dial("/")
	for _, x := range []*pushdtest.Client{a, b, c} {
		says(t, x, "set admin", "set")
	}
	says(t, a, "set "+strings.Repeat("x", 65001), "set")
	says(t, c, "set "+strings.Repeat("x", 65000), "set")
	unixKill(t, ask(t, b, "pid"))
	if code := closed(t, a); code != 1012 {
		t.Errorf("it is closed with %d", code)
	}
	says(t, b, "get", "admin")
	says(t, c, "get", strings.Repeat("x", 65000))
	if log := s.Log(); !strings.Contains(log, "a session has 65001 bytes, and 65000 at most") || !strings.Contains(log, "closed_held=1") {
		t.Errorf("the log:\n%s", log)
	}
}

// unixKill kills the process of a number in digits.
func unixKill(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err == nil {
		err = unix.Kill(n, unix.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// closed reads until the close frame and returns its code, 0 for an end without.
func closed(t *testing.T, c *pushdtest.Client) int {
	t.Helper()
	for {
		op, payload, err := c.Next(pushdtest.Timeout)
		switch {
		case err != nil:
			return 0
		case op == pushdtest.OpClose:
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

// TestScriptMistakes: what a program does wrong costs nobody else anything.
func TestScriptMistakes(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "catch" }
callback = "3s"`)
	a, b := s.Dial("/"), s.Dial("/")
	says(t, b, "here", "here")
	pid := ask(t, a, "pid")
	says(t, a, "others 12345", "nothing happened")
	c := s.Dial("/")
	c.SendText("closed")
	if code := closed(t, c); code != 4001 {
		t.Errorf("%d", code)
	}
	c = s.Dial("/")
	c.SendText("throw")
	if code := closed(t, c); code != 1011 {
		t.Errorf("an exception: %d", code)
	}
	c = s.Dial("/")
	c.SendText("loop") // which it throws out of
	if code := closed(t, c); code != 1011 {
		t.Errorf("a loop: %d", code)
	}
	says(t, a, "pid", pid)
	says(t, b, "here", "here")
	if log := s.Log(); !strings.Contains(log, "thrown on purpose") || !strings.Contains(log, "not carried out") {
		t.Errorf("the log:\n%s", log)
	}

	says(t, a, "fork", "forked") // who then holds its socket
	before := s.idle()
	n, _ := strconv.Atoi(pid)
	if err := unix.Kill(n, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "another process is there", func() bool { return s.scripts()[0].Births > before.Births })
	says(t, b, "here", "here")
	s.idle()
	c = s.Dial("/")
	c.SendText("shut")
	if code := closed(t, c); code != 1011 {
		t.Errorf("a closed socket: %d", code)
	}
	says(t, a, "here", "here")
}

// TestScriptPoison: a process that says of what it dies takes one connection
// along, or nobody, and those behind it in the batch are served by the next one.
func TestScriptPoison(t *testing.T) {
	t.Parallel()
	for word, doubts := range map[string]int{"poison": 1, "nobody": 0} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", `env = { WANTS = "open" }`)
			var list []*pushdtest.Client
			for range 5 {
				c := s.Dial("/")
				says(t, c, "here", "here")
				list = append(list, c)
			}
			s.idle()
			list[0].SendText("sleep 0.5") // meanwhile the others come together
			for i, c := range list[1:] {
				text := "echo " + strconv.Itoa(i+1)
				if i == 1 {
					text = word
				}
				c.SendText(text)
				pushdtest.Eventually(t, "it has arrived", func() bool { return s.Status().Workers[0].MessagesIn >= uint64(7+i) })
			}
			list[0].WantText("slept")
			list[1].WantText("1")
			if doubts == 0 {
				list[2].WantText("soon")
				says(t, list[2], "here", "here")
			} else if code := closed(t, list[2]); code != 1011 {
				t.Errorf("the poison: %d", code)
			}
			list[3].WantText("3")
			list[4].WantText("4")
			says(t, list[0], "get", "")
			if one := s.idle(); one.Doubts != doubts {
				t.Errorf("%+v", one)
			}
		})
	}
}

// TestScriptPoisonSlow: a process that says that it dies of a client's being full, or of that
// all is sent to him, takes him along; one that says nothing takes nobody.
func TestScriptPoisonSlow(t *testing.T) {
	for _, x := range []struct {
		at, does string
		closed   int // connections
	}{{"full", "poison", 1}, {"drain", "poison", 1}, {"full", "die", 0}, {"drain", "die", 0}} {
		t.Run(x.at+" "+x.does, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", `limits = { max_queue = "4MiB" }
max_messages = 0
env = { WANTS = "full", AT = "`+x.at+`", DOES = "`+x.does+`" }`)
			slow, other := s.Dial("/"), s.Dial("/")
			says(t, other, "here", "here")
			n := uint64(0)
			pushdtest.Eventually(t, "much waits", func() bool { // for who reads nothing, by steps far below the queue
				n++
				slow.SendText("much 262144")
				pushdtest.Eventually(t, "it has arrived", func() bool { return s.Status().Workers[0].MessagesIn > n })
				s.idle() // a message in the batch that is the last would be in doubt
				return s.Status().Workers[0].QueueBytes >= 2<<20 || s.scripts()[0].Births > 1
			})
			if x.closed > 0 {
				if code := closed(t, slow); code != 1011 {
					t.Errorf("he is closed with %d", code)
				}
				_ = slow.Conn.Close()
			} else {
				for range n {
					slow.Read()
				}
			}
			pushdtest.Eventually(t, "another process is there", func() bool { return s.scripts()[0].Births > 1 })
			if x.closed == 0 {
				says(t, slow, "here", "here")
			}
			says(t, other, "here", "here")
			pushdtest.Eventually(t, "who is in doubt has gone", func() bool { return s.Status().Connections() == 2-x.closed })
			if one := s.idle(); one.Doubts != x.closed {
				t.Errorf("%+v", one)
			}
		})
	}
}

// TestScriptStart: what does not get ready is an error of the start, with the
// program's own words.
func TestScriptStart(t *testing.T) {
	t.Parallel()
	python := `script = "python3 ` + filepath.Join(pushdtest.Root(t), "cmd/pushd/testdata/script/walker.py")
	for _, x := range []struct{ start, more, words string }{
		{"fails", "", "Parse error: syntax error, unexpected end of file in chat.php on line 7"},
		{"never", "", `in PHP all up to the end of onWorkerStart, takes longer or waits (start = "1m" in [[worker]] gives it more); its last words: ["still loading"]`}, // in 10 s, longer than the master waits for who says nothing
		{"shouts", "", "no frame begins like this"},
		{"future", "", "version 7"},
	} {
		t.Run(x.start, func(t *testing.T) {
			t.Parallel()
			config := walkerText(t, x.start, x.more)
			if x.start == "never" { // a shell, which says it at once also where Python takes seconds to begin
				config = strings.Replace(config, python+` never"`, `script = ["sh", "-c", "echo still loading; exec sleep 60"]`, 1)
			}
			s := pushdtest.Start(t, pushdtest.Options{Config: config, Manual: true})
			if r := s.Run("start", "-d"); r.Code == 0 || !strings.Contains(r.Stderr+r.Stdout+s.Log(), x.words) {
				t.Errorf("%+v\n%s", r, s.Log())
			} else if !strings.Contains(r.Stderr+r.Stdout, x.words) {
				t.Errorf("start does not say it:\n%s%s", r.Stdout, r.Stderr)
			}
		})
	}
	t.Run("root", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("not root")
		}
		s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(walkerText(t, "", ""), "allow_root = true", "", 1), Manual: true})
		if r := s.Run("start", "-d"); r.Code == 0 || !strings.Contains(r.Stderr, "not run as root") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("config", func(t *testing.T) {
		for more, words := range map[string]string{
			`callback = "soon"`: `is no duration`, `memory = 5`: "at least 8MiB", `after_crash = "cry"`: "after_crash",
			`handler = "echo"`: "use one of them", `watsh = true`: `did you mean "watch"`, `env = { PUSHD_API_KEY = "x" }`: "is no name",
		} {
			s := pushdtest.Start(t, pushdtest.Options{Config: walkerText(t, "", more), Manual: true})
			if r := s.Run("check"); r.Code == 0 || !strings.Contains(r.Stderr+r.Stdout, words) {
				t.Errorf("%s: %+v", more, r)
			}
		}
	})
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestScriptTitle: a program has the name that the config gives it, else the one that it says.
func TestScriptTitle(t *testing.T) {
	t.Parallel()
	for want, more := range map[string]string{
		"the walker": `env = { WANTS = "title" }`,
		"of ours":    "title = \"of ours\"\n" + `env = { WANTS = "title" }`,
	} {
		s := walk(t, "", more)
		if got := s.idle().Title; got != want {
			t.Errorf("%q is called %q", want, got)
		}
		if out := s.MustRun("status"); !strings.Contains(out, want) {
			t.Errorf("status has no %q:\n%s", want, out)
		}
	}
}
