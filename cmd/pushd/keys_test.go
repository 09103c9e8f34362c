package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// allKeys is a config with keys of all tables; the addresses are filled in.
const allKeys = `
runtime_dir = "{{dir}}/run"
data_dir = "{{dir}}/data"
log_file = "{{dir}}/one.log"
log_level = "info"
log_format = "text"
drain = "100ms"
watchdog = "5s"
trusted_proxies = []
[api]
listen = "{{api}}"
key = "test-key"
[metrics]
listen = ""
[broker]
url = ""
[[worker]]
name = "push"
listen = ["websocket://127.0.0.1:{{port}}"]
count = 2
user = ""
routes = { "/echo" = "echo", "/chat" = { handler = "chat", origins = [] } }
slow = "close"
ping_interval = "55s"
compression = false
limits = { max_message = "64KiB", max_header = "8KiB", max_rate = 0, per_ip = 0 }
`

// keyChange is a change of the config and what a reload makes of it.
type keyChange struct {
	key      string // as the reference names it
	old, new string // text of allKeys
	broker   bool   // the broker process is replaced too
	refused  string // the reload is, with that in its reason
	check    func(t *testing.T, s *pushdtest.Server)
}

// TestEveryKeyIsRenewedOrRefused goes through the keys of the config, one
// reload each, with a client that stays from the first to the last.
func TestEveryKeyIsRenewedOrRefused(t *testing.T) {
	t.Parallel()
	other, metrics, api, ingest := pushdtest.FreeAddr(t), pushdtest.FreeAddr(t), pushdtest.FreeAddr(t), pushdtest.FreeAddr(t)
	port := func(s *pushdtest.Server) string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }
	inLog := func(file, want string) func(*testing.T, *pushdtest.Server) {
		return func(t *testing.T, s *pushdtest.Server) {
			pushdtest.Eventually(t, file+" has "+want, func() bool {
				text, _ := os.ReadFile(filepath.Join(s.Dir, file))
				return strings.Contains(string(text), want)
			})
		}
	}
	upgrade := func(addr, path string, status int, header ...string) func(*testing.T, *pushdtest.Server) {
		return func(t *testing.T, s *pushdtest.Server) {
			if addr == "" {
				addr = port(s)
			}
			c := pushdtest.Handshake(t, addr, path, header...)
			defer c.Conn.Close()
			if c.Response.StatusCode != status {
				t.Errorf("%s%s: %s, want %d", addr, path, c.Response.Status, status)
			}
		}
	}
	get := func(url string, status int, key string) func(*testing.T, *pushdtest.Server) {
		return func(t *testing.T, s *pushdtest.Server) {
			req, _ := http.NewRequest(http.MethodGet, url, nil)
			req.Header.Set("Authorization", "Bearer "+key)
			req.Close = true
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != status {
				t.Errorf("%s: %s, want %d", url, res.Status, status)
			}
		}
	}
	plan := func(want string) func(*testing.T, *pushdtest.Server) {
		return func(t *testing.T, s *pushdtest.Server) {
			if got := s.MustRun("plan", "--json"); !strings.Contains(got, want) {
				t.Errorf("the plan has no %s: %s", want, got)
			}
		}
	}
	rows := []keyChange{
		{key: "runtime_dir", old: "{{dir}}/run", new: "{{dir}}/elsewhere", refused: "runtime_dir is"},
		{key: "broker.url", old: `url = ""`, new: `url = "nats://127.0.0.1:1"`, refused: "broker.url has changed, and reload cannot change it: use restart"},
		{key: "data_dir", old: "{{dir}}/data", new: "{{dir}}/data2", broker: true, check: plan("/data2")},
		{key: "log_level", old: `log_level = "info"`, new: `log_level = "debug"`, broker: true},
		{key: "log_level", old: `log_level = "info"`, new: `log_level = "error"`, broker: true, check: func(t *testing.T, s *pushdtest.Server) {
			if text, _ := os.ReadFile(filepath.Join(s.Dir, "one.log")); bytes.Contains(text[bytes.LastIndex(text, []byte("reload begins")):], []byte("reload done")) {
				t.Error("the master still writes lines of level info")
			}
		}},
		{key: "log_format", old: `log_format = "text"`, new: `log_format = "json"`, broker: true, check: inLog("one.log", `"msg":"reload done","process":"master"`)},
		{key: "log_file", old: "one.log", new: "two.log", check: inLog("two.log", "reload done")},
		{key: "drain", old: `drain = "100ms"`, new: `drain = "200ms"`, broker: true, check: plan(`"drain_ms":200`)},
		{key: "watchdog", old: `watchdog = "5s"`, new: `watchdog = "2s"`, check: func(t *testing.T, s *pushdtest.Server) {
			st := s.Status()
			slot := 0
			if st.Workers[0].Connections > 0 { // the client that stays
				slot = 1
			}
			victim := st.Workers[slot].PID
			if err := syscall.Kill(victim, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			pushdtest.Eventually(t, "the watchdog replaces it", func() bool {
				w := s.Status().Workers[slot]
				return w.PID != victim && w.State == "ready"
			})
		}},
		{key: "trusted_proxies", old: "trusted_proxies = []", new: `trusted_proxies = ["127.0.0.1"]`, check: func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/echo", "X-Forwarded-For: 203.0.113.7")
			defer c.Conn.Close()
			if out := s.MustRun("connections", "--ip", "203.0.113.7", "--json"); !strings.Contains(out, "203.0.113.7") {
				t.Errorf("connections: %s", out)
			}
		}},
		{key: "api.listen", old: `listen = "{{api}}"`, new: `listen = "` + api + `"`, broker: true, check: get("http://"+api+"/healthz", 200, "")},
		{key: "api.key", old: `key = "test-key"`, new: `key = "another"`, broker: true, check: func(t *testing.T, s *pushdtest.Server) {
			get("http://"+s.API+"/v1/channels", 200, "another")(t, s)
			get("http://"+s.API+"/v1/channels", 401, "test-key")(t, s)
		}},
		{key: "metrics.listen", old: "[metrics]\nlisten = \"\"", new: "[metrics]\nlisten = \"" + metrics + "\"", broker: true, check: get("http://"+metrics+"/metrics", 200, "")},
		{key: "ingest", old: "[[worker]]", new: "[[ingest]]\nlisten = \"tcp://" + ingest + "\"\n[[worker]]", broker: true, check: func(t *testing.T, s *pushdtest.Server) {
			if c, err := net.Dial("tcp", ingest); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
		}},
		{key: "ingest.handler", old: "[[worker]]", new: "[[ingest]]\nlisten = \"tcp://" + ingest + "\"\nhandler = \"echo\"\n[[worker]]", check: func(t *testing.T, s *pushdtest.Server) {
			if n := len(s.Status().Workers); n != 3 {
				t.Errorf("%d workers", n)
			}
			for group, want := range map[string]int{"ingest-1": 200, "pusch": 404} {
				if status, answer := s.Post("/v1/broadcast", map[string]any{"worker": group, "data": 1}); status != want {
					t.Errorf("to %s: %d %v", group, status, answer)
				}
			}
		}},
		{key: "app", old: "[[worker]]", new: "[[app]]\nid = \"1\"\nkey = \"2\"\nsecret = \"3\"\n[[worker]]", broker: true},
		{key: "worker.listen", old: `listen = ["`, new: `listen = ["websocket://` + other + `", "`, check: upgrade(other, "/echo", 101)},
		{key: "worker.count", old: "count = 2", new: "count = 3", check: func(t *testing.T, s *pushdtest.Server) {
			if n := len(s.Status().Workers); n != 3 {
				t.Errorf("%d workers", n)
			}
		}},
		{key: "worker.routes", old: `"/echo" = "echo"`, new: `"/echo" = "echo", "/new" = "echo"`, check: upgrade("", "/new", 101)},
		{key: "worker.handler", old: "slow =", new: "handler = \"echo\"\nslow =", check: upgrade("", "/anything", 101)},
		{key: "origins", old: "origins = []", new: `origins = ["https://example.com"]`, check: upgrade("", "/chat", 101, "Origin: https://example.com")},
		{key: "slow", old: `slow = "close"`, new: `slow = "latest"`, check: dropsForSlow},
		{key: "ping_interval", old: `ping_interval = "55s"`, new: `ping_interval = "1s"`, check: func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/echo")
			defer c.Conn.Close()
			if _, err := c.Conn.Read(make([]byte, 1)); err != nil {
				t.Errorf("no ping: %v", err)
			}
		}},
		{key: "compression", old: "compression = false", new: "compression = true", check: func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/echo", "Sec-WebSocket-Extensions: permessage-deflate")
			defer c.Conn.Close()
			if c.Response.Header.Get("Sec-WebSocket-Extensions") == "" {
				t.Error("no compression is agreed on")
			}
		}},
		{key: "limits.max_message", old: `max_message = "64KiB"`, new: `max_message = "16"`, check: func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/echo")
			defer c.Conn.Close()
			c.SendText("more than sixteen bytes")
			c.WantClose(1009)
		}},
		{key: "limits.max_header", old: `max_header = "8KiB"`, new: `max_header = "1KiB"`, check: upgrade("", "/echo", 431, "X-Long: "+strings.Repeat("x", 2000))},
		{key: "limits.max_rate", old: "max_rate = 0", new: "max_rate = 20", check: func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/echo")
			defer c.Conn.Close()
			if _, err := io.WriteString(c.Conn, strings.Repeat(string(pushdtest.Frame(pushdtest.OpText, []byte("x"))), 21)); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				c.WantText("x")
			}
			c.WantClose(1008)
		}},
		{key: "limits.per_ip", old: "per_ip = 0", new: "per_ip = 1", check: refusesSecond},
	}
	if os.Geteuid() == 0 {
		rows = append(rows, keyChange{key: "user", old: `user = ""`, new: `user = "nobody"`, refused: "user has changed, and reload cannot change it: use restart"})
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: allKeys, Env: []string{"PUSHD_RUNTIME_DIR=", "PUSHD_DATA_DIR=", "PUSHD_API_LISTEN=", "PUSHD_API_KEY="}})
	stays := s.Dial("/echo")
	for _, row := range rows {
		t.Run(row.key, func(t *testing.T) { row.test(t, s, stays) })
	}
}

var missed = regexp.MustCompile(`"dropped": ?[1-9]`)

// dropsForSlow: a client that reads nothing misses messages and stays.
func dropsForSlow(t *testing.T, s *pushdtest.Server) {
	c := s.Dial("/echo")
	defer c.Conn.Close()
	message := bytes.Repeat([]byte("x"), 60<<10)
	pushdtest.Eventually(t, "it misses messages", func() bool {
		if err := c.Try(pushdtest.OpText, message); err != nil {
			t.Fatalf("it was closed: %v", err)
		}
		return missed.MatchString(s.MustRun("connections", "--json"))
	})
}

// refusesSecond: each of the two processes has one client of an address, and the
// client that stays is one of them.
func refusesSecond(t *testing.T, s *pushdtest.Server) {
	in := 0
	for range 4 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(pushdtest.Timeout))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // 404 and stays
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && res.StatusCode == http.StatusNotFound {
			in++
		}
	}
	if in > 1 {
		t.Errorf("%d of 4 more clients were let in, want 1 at most", in)
	}
}

// test reloads with the change, then without it.
func (row *keyChange) test(t *testing.T, s *pushdtest.Server, stays *pushdtest.Client) {
	changed := strings.Replace(allKeys, row.old, row.new, 1)
	if changed == allKeys {
		t.Fatalf("%q is not in the config", row.old)
	}
	before := s.Status()
	s.WriteConfig(changed)
	res := s.Run("reload", "--json", "--runtime-dir", filepath.Join(s.Dir, "run"))
	switch {
	case row.refused != "":
		var r struct{ Error, Step string }
		if err := json.Unmarshal([]byte(res.Stdout), &r); res.Code != 1 || r.Step != "plan" || !strings.Contains(r.Error, row.refused) || !strings.Contains(r.Error, "restart") {
			t.Errorf("exit %d, %s %s, %v", res.Code, res.Stdout, res.Stderr, errors.Join(err))
		}
		s.WriteConfig(allKeys)
		if now := s.Status(); now.Workers[0].PID != before.Workers[0].PID || now.Broker.PID != before.Broker.PID {
			t.Error("a refused reload has replaced processes")
		}
	case res.Code != 0:
		t.Errorf("exit %d, %s %s", res.Code, res.Stdout, res.Stderr)
	default:
		now := s.Status()
		if replaced := now.Broker.PID != before.Broker.PID; replaced != row.broker {
			t.Errorf("broker process replaced: %v, want %v", replaced, row.broker)
		}
		if row.check != nil {
			row.check(t, s)
		}
		s.WriteConfig(allKeys)
		s.MustRun("reload")
	}
	stays.SendText(row.key)
	stays.WantText(row.key)
}
