package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
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
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Manual: true, Env: []string{misspelt + "=1s"}})
	r := s.Run("start", "-d")
	if r.Code != 0 || strings.Count(r.Stderr, "\n") != 1 || !strings.HasPrefix(r.Stderr, "warning: "+misspelt+": ") {
		t.Errorf("start: %d %q", r.Code, r.Stderr)
	}
	out := r.Stdout
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
	r = s.Run("stop")
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
	for _, key := range []string{"id", "worker", "slot", "pid", "uid", "protocol", "tls", "path", "ip", "port", "local", "connected", "idle_s",
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
	for _, filter := range [][]string{{"--uid", "nobody"}, {"--channel", "none"}, {"--ip", "10.9.9.9"}} {
		if out := s.MustRun(append([]string{"connections"}, filter...)...); strings.Contains(out, id) {
			t.Errorf("connections %v lists it:\n%s", filter, out)
		}
	}
	if r := s.Run("connections", "--worker", "other"); r.Code != 1 || !strings.Contains(r.Stderr, `no worker group "other", but push`) {
		t.Errorf("connections of a group that is none: %d %q", r.Code, r.Stderr)
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
	if best > 10*time.Second { // at once, whatever else the machine does
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

// TestNobodyCanTalkToTheMaster: all commands say the same, which works, and stop stops.
func TestNobodyCanTalkToTheMaster(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Env: []string{"PUSHD_TLS_LOOK=1h"}})
	pid := s.Status().Master.PID
	lose := func() {
		t.Helper()
		if err := os.Remove(s.Dir + "/run/control.sock"); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	for _, args := range [][]string{{"status"}, {"reload"}, {"start"}, {"start", "-d"}, {"restart", "-d"}, {"stop", "-g"}, {"doctor"}} {
		if r := s.Run(args...); r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, fmt.Sprintf("`kill -USR1 %d`", pid)) {
			t.Errorf("%v: %d %q", args, r.Code, r.Stderr)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "an answer", func() bool { return s.Run("status").Code == 0 })
	lose()
	s.Stop()
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

func TestForegroundSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Manual: true})
			c, ended := s.Foreground(nil)
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

// A master that is killed while `stop` waits for its answer has left processes
// like any other.
func TestKilledWhileStopWaits(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	pid := s.Status().Master.PID
	pushdtest.Freeze(t, pid) // it accepts and does not answer
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	stop := s.Command(ctx, "stop")
	out, err := stop.StdoutPipe()
	if err == nil {
		err = stop.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || !strings.Contains(line, "stopping") {
		t.Fatalf("stop says %q, %v", line, err)
	}
	s.Kill(pid)
	rest, _ := io.ReadAll(said)
	if err := stop.Wait(); err != nil || !strings.Contains(string(rest), "was killed") {
		t.Errorf("stop: %v, says %q", err, rest)
	}
	pushdtest.Eventually(t, "nothing is left", func() bool { return len(s.Processes()) == 0 })
}

func TestKilledMaster(t *testing.T) {
	t.Parallel()
	long := strings.Replace(twoWorkers, `"100ms"`, `"20s"`, 1)
	s := pushdtest.Start(t, pushdtest.Options{Config: long})
	c := s.Dial("/echo")
	s.Kill(s.Status().Master.PID)
	s.MustRun("start", "-d")
	n := s.Dial("/echo")
	n.SendText("x")
	n.WantText("x")
	s.Kill(s.Status().Master.PID)
	if out := s.MustRun("stop"); !strings.Contains(out, "was killed") {
		t.Errorf("stop of orphans says %q", out)
	}
	c.Conn.Close()
	pushdtest.Eventually(t, "the first master's orphans are gone too", func() bool { return len(s.Processes()) == 0 })
}
