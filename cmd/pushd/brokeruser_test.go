package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const brokerOf = `
drain = "100ms"
[[app]]
id = "shop"
key = "shop"
secret = "app-secret-of-a-test"
webhooks = [ { url = "http://127.0.0.1:1/hooks" } ]
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/chat" = "chat", "/app/{key}" = "pusher", "/apps/*" = "pusher" }
`

// TestBrokerOfAnotherUser: the broker process leaves root by a reload, by a
// start and after a crash, with its key and what waits for webhooks, and comes
// back; each time without a lost publication.
func TestBrokerOfAnotherUser(t *testing.T) {
	asNobody := brokerOf + "[broker]\nuser = \"nobody\"\n"
	s := pushdtest.Start(t, pushdtest.Options{Config: brokerOf, Manual: true, Env: []string{"PUSHD_API_KEY="}})
	if os.Geteuid() != 0 {
		s.WriteConfig(asNobody)
		if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "only root can change user") {
			t.Errorf("start as an ordinary user: %d %s", r.Code, r.Stderr)
		}
		return
	}
	openProgram(t, s)
	s.MustRun("start", "-d")
	heard := s.Dial("/chat")
	brokerRunsAs(t, s, heard, "0")
	for _, step := range []struct{ name, config, uid string }{
		{"reload to nobody", asNobody, "65534"}, {"reload back", brokerOf, "0"}, {"reload again", asNobody, "65534"},
	} {
		pushdtest.Dial(t, fmt.Sprintf("127.0.0.1:%d", s.Port), "/app/shop?protocol=7") // its webhook waits
		s.WriteConfig(step.config)
		s.MustRun("reload")
		t.Log(step.name)
		brokerRunsAs(t, s, heard, step.uid)
	}
	before := s.Status().Broker.PID
	s.Kill(before)
	pushdtest.Eventually(t, "the broker process is back", func() bool {
		now := s.Status().Broker.PID
		return now != before && now != 0 && s.Run("publish", "nobody-hears", "x").Code == 0
	})
	brokerRunsAs(t, s, heard, "65534")
	s.MustRun("stop")
	s.MustRun("start", "-d")
	brokerRunsAs(t, s, s.Dial("/chat"), "65534")
	for _, file := range []string{"", "api.key", "webhooks", "cached-events.json"} {
		if info, err := os.Stat(filepath.Join(s.Dir, "data", file)); err == nil && info.Sys().(*syscall.Stat_t).Uid != 65534 {
			t.Errorf("%s in data_dir is not the broker process's", file)
		} else if err != nil && file != "cached-events.json" {
			t.Error(err)
		}
	}
}

// brokerRunsAs wants a broker process of that user, without root's groups, that
// knows the key, and a publication through it to arrive.
func brokerRunsAs(t *testing.T, s *pushdtest.Server, heard *pushdtest.Client, uid string) {
	t.Helper()
	pid := s.Status().Broker.PID
	four := strings.Join([]string{uid, uid, uid, uid}, " ")
	if u, g := statusOf(t, pid, "Uid"), statusOf(t, pid, "Gid"); u != four || g != four {
		t.Errorf("the broker process has the user ids %s, group ids %s, want %s", u, g, uid)
	}
	if uid != "0" {
		if groups, caps := statusOf(t, pid, "Groups"), statusOf(t, pid, "CapEff"); groups != uid || strings.Trim(caps, "0") != "" {
			t.Errorf("the broker process is in the groups %s and has the capabilities %s", groups, caps)
		}
	}
	s.MustRun("publish", lobby, "as "+uid)
	heard.WantText("as " + uid)
}

// openProgram lets every user run the program.
func openProgram(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	for dir := filepath.Dir(s.Binary); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
}
