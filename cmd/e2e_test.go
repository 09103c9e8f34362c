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

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

// twoWorkers is the config of most tests here.
const twoWorkers = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/echo" = "echo", "/chat" = "chat" }
`

func TestStartStatusConnectionsStop(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Manual: true})
	out := s.MustRun("start", "-d")
	for _, want := range []string{"NAME", "push", "broker", fmt.Sprintf("websocket://127.0.0.1:%d", s.Port), "http://" + s.API, "ready"} {
		if !strings.Contains(out, want) {
			t.Errorf("start does not show %q:\n%s", want, out)
		}
	}
	c := s.Dial("/echo?x=1")
	c.SendText("hello")
	c.WantText("hello")

	var status struct {
		Version string
		Master  struct {
			PID     int
			Started time.Time
		}
		Workers []map[string]any
		Broker  struct {
			PID   int
			State string
		}
	}
	if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	if status.Master.PID == 0 || status.Master.Started.IsZero() || status.Broker.State != "ready" || len(status.Workers) != 2 {
		t.Errorf("status: %+v", status)
	}
	for _, key := range []string{"name", "slot", "pid", "state", "generation", "started", "listen", "connections", "messages_in",
		"messages_out", "send_failures", "queue_bytes", "timers", "rss_bytes", "loop_lag_ms", "restarts"} {
		if _, there := status.Workers[0][key]; !there {
			t.Errorf("status --json has no %s", key)
		}
	}
	if n := s.Status().Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if table := s.MustRun("status"); !strings.Contains(table, "push/1") {
		t.Errorf("status:\n%s", table)
	}
	checkConnections(t, s)
	c.Close()
	s.Stop()
	r := s.Run("stop")
	if r.Code != 1 || !strings.Contains(r.Stderr, s.Dir+"/run") {
		t.Errorf("second stop: %d %q", r.Code, r.Stderr)
	}
}

func checkConnections(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	var list struct {
		Connections []map[string]any
		Complete    bool
	}
	if err := json.Unmarshal([]byte(s.MustRun("connections", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Connections) != 1 || !list.Complete {
		t.Fatalf("connections: %+v", list)
	}
	for _, key := range []string{"id", "worker", "slot", "pid", "uid", "protocol", "path", "ip", "port", "local", "connected", "idle_s",
		"recv_queue", "send_queue", "bytes_in", "bytes_out", "messages_in", "messages_out", "channels"} {
		if _, there := list.Connections[0][key]; !there {
			t.Errorf("connections --json has no %s", key)
		}
	}
	id := list.Connections[0]["id"].(string)
	if table := s.MustRun("connections"); !strings.Contains(table, id) || !strings.Contains(table, "127.0.0.1") {
		t.Errorf("connections:\n%s", table)
	}
	for line := range strings.Lines(s.MustRun("connections")) {
		if n := len([]rune(line)); n > 101 {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
	for _, filter := range [][]string{{"--uid", "nobody"}, {"--channel", "none"}, {"--ip", "10.9.9.9"}, {"--worker", "other"}} {
		if out := s.MustRun(append([]string{"connections"}, filter...)...); strings.Contains(out, id) {
			t.Errorf("connections %v lists it:\n%s", filter, out)
		}
	}
}

func TestSecondStart(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	pid := fmt.Sprint(s.Status().Master.PID)
	best := time.Hour // of several: the machine may be busy with other tests
	for _, args := range [][]string{{"start", "-d"}, {"start"}, {"start", "--json"}} {
		r := s.Run(args...)
		best = min(best, r.Took)
		if r.Code != 1 || !strings.Contains(r.Stderr, "pid "+pid+" ") {
			t.Errorf("%v: %d %q", args, r.Code, r.Stderr)
		}
	}
	if best > time.Second {
		t.Errorf("a second start takes %s to fail", best)
	}
	c := s.Dial("/echo")
	c.SendText("x")
	c.WantText("x")
	c.Close()
	if fmt.Sprint(s.Status().Master.PID) != pid {
		t.Error("the running master is another one now")
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	before := s.Status()
	s.WriteConfig(strings.ReplaceAll(twoWorkers, `"/chat" = "chat"`, `"/new" = "echo"`))
	var report struct {
		OK    bool
		Slots []map[string]any
	}
	if err := json.Unmarshal([]byte(s.MustRun("reload", "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || len(report.Slots) < 2 {
		t.Errorf("report: %+v", report)
	}
	after := s.Status()
	if after.Master.PID != before.Master.PID {
		t.Errorf("master %d became %d", before.Master.PID, after.Master.PID)
	}
	for i, w := range after.Workers {
		if w.PID == before.Workers[i].PID || w.Generation != 2 || w.State != "ready" {
			t.Errorf("worker after reload: %+v, before: %+v", w, before.Workers[i])
		}
	}
	n := s.Dial("/new")
	n.SendText("x")
	n.WantText("x")
	n.Close()
	if out := s.MustRun("reload"); !strings.Contains(out, "reloaded: ") {
		t.Errorf("reload says %q", out)
	}
}

func TestBrokenReloadKeepsServing(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	before := s.Status()
	c := s.Dial("/echo")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tc := range []struct{ name, config, want string }{
		{"syntax", "drain = \n" + twoWorkers, "pushd.toml:1"},
		{"unknown key", strings.Replace(twoWorkers, "count", "cuont", 1), `unknown key (did you mean "count"?)`},
		{"unknown handler", strings.Replace(twoWorkers, `"chat"`, `"cat"`, 1), `handler "cat" is not in this program`},
		{"unknown option", strings.Replace(twoWorkers, `= "chat"`, `= { handler = "chat", options = { rom = 1 } }`, 1), `"rom"`},
		{"port in use", twoWorkers + fmt.Sprintf("[[worker]]\nlisten = \"text://%s\"\nhandler = \"echo\"\n", busy.Addr()), busy.Addr().String()},
		{"gone", "", "pushd.toml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.config == "" {
				os.Remove(s.Config)
			} else {
				s.WriteConfig(tc.config)
			}
			r := s.Run("reload", "--json")
			if r.Code != 1 || !strings.Contains(r.Stderr, tc.want) || !strings.Contains(r.Stderr, "the old code keeps serving") {
				t.Errorf("reload: %d\n%s", r.Code, r.Stderr)
			}
			var failure struct {
				OK    *bool
				Error string
				Step  string
			}
			if err := json.Unmarshal([]byte(r.Stdout), &failure); err != nil || failure.OK == nil || *failure.OK || failure.Error == "" || failure.Step == "" {
				t.Errorf("--json: %v %s", err, r.Stdout)
			}
			c.SendText("still here")
			c.WantText("still here")
		})
	}
	if after := s.Status(); fmt.Sprint(after.Workers[0].PID, after.Workers[1].PID) != fmt.Sprint(before.Workers[0].PID, before.Workers[1].PID) {
		t.Error("workers were replaced")
	}
	s.WriteConfig(twoWorkers)
	s.MustRun("reload")
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	first := s.Status().Master.PID
	s.WriteConfig(strings.Replace(twoWorkers, `"chat"`, `"cat"`, 1))
	if r := s.Run("restart", "-d"); r.Code != 1 || s.Status().Master.PID != first {
		t.Errorf("restart with a broken config: %d %s", r.Code, r.Stderr)
	}
	s.WriteConfig(twoWorkers)
	s.MustRun("restart", "-d")
	if s.Status().Master.PID == first {
		t.Error("restart left the old master")
	}
	s.Stop()
	s.MustRun("restart", "-d") // of nothing
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tc := range []struct{ name, config, want string }{
		{"config", "drian = 1\n", "pushd.toml:1: drian: unknown key"},
		{"handler", strings.Replace(twoWorkers, `"chat"`, `"cat"`, 1), `handler "cat"`},
		{"port in use", fmt.Sprintf("[[worker]]\nlisten = \"text://%s\"\nhandler = \"echo\"\n", busy.Addr()), busy.Addr().String()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: tc.config, Manual: true})
			for _, args := range [][]string{{"start", "-d"}, {"start"}} {
				r := s.Run(args...)
				if r.Code != 1 || !strings.Contains(r.Stderr, tc.want) || strings.Contains(r.Stdout, "ready") {
					t.Errorf("%v: %d\n%s\n%s", args, r.Code, r.Stdout, r.Stderr)
				}
				if left := s.Processes(); len(left) > 0 {
					t.Errorf("%v left %v", args, left)
				}
			}
		})
	}
}

// foreground starts a server as a child of the test and waits until it says
// that it is ready.
func foreground(t *testing.T, s *pushdtest.Server) (c *exec.Cmd, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	t.Cleanup(cancel)
	c = s.Command(ctx, "start")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			over := make(chan error, 1)
			go func() { io.Copy(io.Discard, out); over <- c.Wait() }()
			return c, over
		}
	}
	c.Wait()
	t.Fatalf("not ready: %s", log.String())
	return nil, nil
}

func TestForegroundSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Manual: true})
			c, ended := foreground(t, s)
			c.Process.Signal(sig)
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
			if left := s.Processes(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A service manager sends SIGTERM to every process of the group: the clients
// must get their close frame all the same.
func TestSIGTERMToAll(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	c := s.Dial("/echo")
	for _, p := range s.Processes() {
		syscall.Kill(p.PID, syscall.SIGTERM)
	}
	c.WantClose(1001)
	c.Conn.Close()
	pushdtest.Eventually(t, "all processes are gone", func() bool { return len(s.Processes()) == 0 })
}

func TestKilledMaster(t *testing.T) {
	t.Parallel()
	long := strings.Replace(twoWorkers, `"100ms"`, `"4s"`, 1)
	s := pushdtest.Start(t, pushdtest.Options{Config: long})
	s.Dial("/echo")
	syscall.Kill(s.Status().Master.PID, syscall.SIGKILL)
	s.MustRun("start", "-d")
	n := s.Dial("/echo")
	n.SendText("x")
	n.WantText("x")
	syscall.Kill(s.Status().Master.PID, syscall.SIGKILL)
	if out := s.MustRun("stop"); !strings.Contains(out, "was killed") {
		t.Errorf("stop of orphans says %q", out)
	}
	pushdtest.Eventually(t, "the first master's orphans are gone too", func() bool { return len(s.Processes()) == 0 })
}

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
	if out := s.MustRun("publish", "news", `{"a": 1}`); out != "reached 1 connections\n" {
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
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoWorkers, `"100ms"`, `"3s"`, 1), Env: []string{"PUSHD_METRICS_LISTEN=" + addr}})
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
routes = { "/notify" = { handler = "notify", options = { secret = "login-secret" } } }
`})
	if h := pushdtest.Handshake(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/notify"); h.Response.StatusCode != 401 {
		t.Errorf("without a token: %s", h.Response.Status)
	}
	token := strings.TrimSpace(s.MustRun("token", "--uid", "42", "--channel", "news"))
	c := s.Dial("/notify?token=" + token)
	pushdtest.Eventually(t, "the user is reached", func() bool {
		return s.MustRun("send", "--uid", "42", "hi") == "reached 1 connections\n"
	})
	c.WantText("hi")
	defer c.Close()
	if out := s.MustRun("publish", "news", "all"); out != "reached 1 connections\n" {
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
		return s.MustRun("publish", "news", "hello") == "reached 1 connections\n"
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
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	c := s.Command(ctx, "status", "--watch", "--json")
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
