package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// joined connects a client and finds its id.
func joined(t *testing.T, s *pushdtest.Server) (c *pushdtest.Client, id string) {
	t.Helper()
	c = s.Dial("/echo")
	var list struct{ Connections []struct{ ID string } }
	if err := json.Unmarshal([]byte(s.MustRun("connections", "--json")), &list); err != nil || len(list.Connections) != 1 {
		t.Fatalf("connections: %v %+v", err, list)
	}
	return c, list.Connections[0].ID
}

func TestPublishFindsTheGeneratedKey(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Env: []string{"PUSHD_API_KEY="}})
	file := filepath.Join(s.Dir, "data", "api.key")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v %v", info, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Key = strings.TrimSpace(string(raw))
	c, id := joined(t, s)
	if status, answer := s.Post("/v1/join", map[string]any{"connection": id, "channel": "news"}); status != 200 {
		t.Fatalf("join: %d %v", status, answer)
	}
	if status, answer := s.Post("/v1/bind", map[string]any{"connection": id, "uid": "42"}); status != 200 {
		t.Fatalf("bind: %d %v", status, answer)
	}
	if out := s.MustRun("publish", "news", `{"a": 1}`); out != "reached 1 connection\n" {
		t.Errorf("publish says %q", out)
	}
	c.WantText(`{"a": 1}`)
	s.MustRun("send", "--connection", id, "to the connection")
	c.WantText("to the connection")
	s.MustRun("send", "--uid", "42", "to the user")
	c.WantText("to the user")
	if out := s.MustRun("connections", "--uid", "42", "--channel", "news"); !strings.Contains(out, id) {
		t.Errorf("filters lose it:\n%s", out)
	}
	s.MustRun("kick", "--uid", "42", "--code", "3001", "--reason", "bye")
	c.WantClose(3001)
	s.MustRun("reload")
	s.MustRun("restart", "-d")
	if again, _ := os.ReadFile(file); !bytes.Equal(again, raw) {
		t.Error("the key changed with a restart")
	}
	if strings.Contains(s.Log(), s.Key) {
		t.Error("the log holds the key")
	}
}

func TestServicesOfTheBrokerProcess(t *testing.T) {
	t.Parallel()
	udp := pushdtest.FreeAddr(t)
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers + `
[[ingest]]
listen = "udp://` + udp + `"
key = "ingest-key"
[[ingest]]
listen = "unix://lines.sock"
handler = "echo"
`})
	c, id := joined(t, s)
	conn, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, `{"key":"ingest-key","connection":%q,"data":"by datagram"}`, id)
	c.WantText("by datagram")

	line, err := net.Dial("unix", filepath.Join(s.Dir, "lines.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	line.SetDeadline(time.Now().Add(pushdtest.Timeout))
	fmt.Fprint(line, "bytes")
	got := make([]byte, 5)
	if _, err := io.ReadFull(line, got); err != nil || string(got) != "bytes" {
		t.Errorf("ingest with a handler: %q %v", got, err)
	}
	if out := s.MustRun("status"); !strings.Contains(out, "ingest-2/0") {
		t.Errorf("the ingest group is missing:\n%s", out)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	addr := pushdtest.FreeAddr(t)
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoWorkers, `"100ms"`, `"20s"`, 1), Env: []string{"PUSHD_METRICS_LISTEN=" + addr}})
	body := ""
	get := func(path string) int {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pushdtest.Timeout}
		res, err := client.Get("http://" + addr + path)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		body = string(raw)
		return res.StatusCode
	}
	pushdtest.Eventually(t, "/readyz answers 200", func() bool { return get("/readyz") == 200 })
	if get("/healthz") != 200 || get("/metrics") != 200 || get("/v1/stats") != 404 {
		t.Errorf("healthz %d, metrics %d, stats %d", get("/healthz"), get("/metrics"), get("/v1/stats"))
	}
	if get("/metrics"); !strings.Contains(body, `pushd_connections{slot="1",worker="push"} 0`) {
		t.Errorf("metrics of the workers are missing:\n%s", body)
	}
	c := s.Dial("/echo")
	stopped := make(chan struct{})
	go func() { s.Run("stop"); close(stopped) }()
	pushdtest.Eventually(t, "readiness fails while clients drain", func() bool { return get("/readyz") == 503 })
	c.WantClose(1001)
	c.Conn.Close()
	<-stopped
}

func TestTokenOpensNotify(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: `
drain = "100ms"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/notify" = { handler = "notify", options = { secret = "login-secret-of-a-test" } } }
`})
	if h := pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/notify"); h.Response.StatusCode != 401 {
		t.Errorf("without a token: %s", h.Response.Status)
	}
	token := strings.TrimSpace(s.MustRun("token", "--uid", "42", "--channel", "news"))
	c := s.Dial("/notify?token=" + token)
	pushdtest.Eventually(t, "the user is reached", func() bool {
		return s.MustRun("send", "--uid", "42", "hi") == "reached 1 connection\n"
	})
	c.WantText("hi")
	defer c.Close()
	if out := s.MustRun("publish", "news", "all"); out != "reached 1 connection\n" {
		t.Errorf("publish says %q", out)
	}
	c.WantText("all")
	if log := s.Log() + s.MustRun("connections", "--json") + s.MustRun("plan", "--json"); strings.Contains(log, token) || strings.Contains(log, "login-secret") {
		t.Error("token or secret is shown")
	}
}

func TestOwnProgram(t *testing.T) {
	t.Parallel()
	udp := pushdtest.FreeAddr(t)
	listen := fmt.Sprintf("websocket://127.0.0.1:%d,udp://%s", pushdtest.FreePort(t), udp)
	s := pushdtest.Start(t, pushdtest.Options{Package: "cmd/testdata/own", Env: []string{"PUSHD_LISTEN=" + listen, "PUSHD_DRAIN=100ms"}})
	addr := strings.TrimPrefix(strings.Split(listen, ",")[0], "websocket://")
	clients := []*pushdtest.Client{pushdtest.Dial(t, addr, "/"), pushdtest.Dial(t, addr, "/"), pushdtest.Dial(t, addr, "/")}
	conn, err := net.Dial("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pushdtest.Eventually(t, "all three are members", func() bool {
		_, answer := s.Post("/v1/publish", map[string]any{"channel": "all", "data": "probe"})
		return answer["reached"] == 3.0
	})
	fmt.Fprint(conn, "through user code")
	for _, c := range clients {
		for {
			_, got := c.Read()
			if string(got) == "probe" {
				continue
			}
			if string(got) != "through user code" {
				t.Errorf("got %q", got)
			}
			break
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "own.log")); err != nil {
		t.Errorf("the program's own log file: %v", err)
	}
	for _, c := range clients {
		c.Close()
	}
	if st := s.Status(); len(st.Workers) != 3 || st.Workers[0].Name+st.Workers[2].Name != "wsin" && st.Workers[0].Name+st.Workers[2].Name != "inws" {
		t.Errorf("status: %+v", st)
	}
	s.Stop()
	os.WriteFile(filepath.Join(s.Dir, "pushd.toml"), []byte("[[worker]]\nlisten = \"text://127.0.0.1:1\"\n"), 0o600)
	if r := s.Run("check"); r.Code != 1 || !strings.Contains(r.Stderr, "declares its workers in its code") {
		t.Errorf("[[worker]]: %d %s", r.Code, r.Stderr)
	}
}

func TestReloadUnderGoRun(t *testing.T) {
	t.Parallel()
	c := exec.Command("go", "run", "./cmd/testdata/own", "reload", "--runtime-dir", t.TempDir())
	c.Dir = pushdtest.Root(t)
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "under `go run` there is no program on disk") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{})
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 200 || !bytes.Contains(page, []byte("<html")) {
		t.Errorf("page: %s %v %d bytes", res.Status, err, len(page))
	}
	n := s.Dial("/notify")
	pushdtest.Eventually(t, "an anonymous client gets the news", func() bool {
		return s.MustRun("publish", "news", "hello") == "reached 1 connection\n"
	})
	n.WantText("hello")
	n.Close()
	if out := s.MustRun("check"); !strings.Contains(out, "built-in defaults") {
		t.Errorf("check: %q", out)
	}
}

func TestOwnProgramFailsToStart(t *testing.T) {
	t.Parallel()
	listen := fmt.Sprintf("websocket://%s,udp://%s", pushdtest.FreeAddr(t), pushdtest.FreeAddr(t))
	s := pushdtest.Start(t, pushdtest.Options{Package: "cmd/testdata/own", Manual: true, Env: []string{"PUSHD_LISTEN=" + listen, "OWN_FAILS=1"}})
	if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "no database") {
		t.Errorf("start: %d %s", r.Code, r.Stderr)
	}
	if left := s.Processes(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	for _, command := range []string{"status", "connections"} {
		watch(t, s, command)
	}
}

func watch(t *testing.T, s *pushdtest.Server, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	c := s.Command(ctx, command, "--watch", "--json")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() || !json.Valid(lines.Bytes()) {
			t.Errorf("line %q", lines.Text())
		}
	}
	c.Process.Signal(syscall.SIGINT)
	io.Copy(io.Discard, out)
	if err := c.Wait(); err != nil {
		t.Errorf("watch ended with %v", err)
	}
}
