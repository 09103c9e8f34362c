package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const reloadConfig = `
[[worker]]
name   = "push"
listen = "websocket://127.0.0.1:{{port}}"
count  = 2
routes = { "/echo" = "echo", "/chat" = "chat" }
`

// reloaded is what a reload reports.
type reloaded struct {
	OK      bool   `json:"ok"`
	Moved   int    `json:"moved"`
	Drained int    `json:"drained"`
	Error   string `json:"error"`

	BytesCarried int64 `json:"bytes_carried"`
	Slots        []struct {
		OldPID int `json:"old_pid"`
		NewPID int `json:"new_pid"`
	} `json:"slots"`
}

func reload(t *testing.T, s *pushdtest.Server) (r reloaded) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.MustRun("reload", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReloadUnderLoad reloads again and again while clients echo, chat, come
// and go and a back end publishes. pushbench checks every byte and its order,
// and that nobody was closed.
func TestReloadUnderLoad(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	bench := pushdtest.Build(t, "cmd/pushbench")
	reports := filepath.Join(s.Dir, "reloads")
	load := exec.Command(bench, "reload",
		"--url", fmt.Sprintf("ws://127.0.0.1:%d", s.Port), "--api", "http://"+s.API, "--key", s.Key,
		"--idle", "300", "--echoes", "200", "--echo-rate", "500", "--channels", "2", "--members", "50",
		"--talk-rate", "20", "--publish-rate", "20", "--churn", "5", "--connect-rate", "30", "--slow", "5",
		"--times", "4", "--every", "300ms",
		"--exec", fmt.Sprintf("%s reload -c %s --json >> %s", s.Binary, s.Config, reports))
	load.Env = s.Command(context.Background()).Env // where the server's folders are
	out, err := load.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nlog:\n%s", err, out, s.Log())
	}
	data, err := os.ReadFile(reports)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d reloads reported, want 4:\n%s", len(lines), data)
	}
	for _, line := range lines {
		var r reloaded
		if err := json.Unmarshal([]byte(line), &r); err != nil || !r.OK || r.Moved < 500 || r.Drained != 0 {
			t.Errorf("reload reported %s", line)
		}
	}
}

// TestReloadChangesCount moves connections from a slot that goes away, and
// spreads new ones when it comes back.
func TestReloadChangesCount(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	var clients []*pushdtest.Client
	for i := range 60 {
		c := s.Dial("/echo")
		c.SendText(fmt.Sprint(i))
		c.WantText(fmt.Sprint(i))
		clients = append(clients, c)
	}
	for _, count := range []string{"1", "3", "2"} {
		s.WriteConfig(strings.Replace(reloadConfig, "count  = 2", "count  = "+count, 1))
		if r := reload(t, s); !r.OK || r.Drained != 0 || r.Moved < 60 {
			t.Fatalf("count %s: %+v", count, r)
		}
		for i, c := range clients {
			c.SendText(fmt.Sprint(count, i))
			c.WantText(fmt.Sprint(count, i))
		}
		if st := s.Status(); fmt.Sprint(len(st.Workers)) != count || st.Connections() != 60 {
			t.Fatalf("%d workers hold %d connections, want %s and 60", len(st.Workers), st.Connections(), count)
		}
	}
}

// TestReloadWithoutTheRoute: a connection that the new config has no place for
// is asked to come back; the others stay.
func TestReloadWithoutTheRoute(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	gone, stays := s.Dial("/chat"), s.Dial("/echo")
	s.WriteConfig(strings.Replace(reloadConfig, `, "/chat" = "chat"`, "", 1))
	if r := reload(t, s); !r.OK || r.Moved != 2 || r.Drained != 1 {
		t.Fatalf("%+v", r)
	}
	gone.WantClose(1012)
	stays.SendText("still here")
	stays.WantText("still here")
}

// TestReloadOfOneThatStands: the clients of a worker that does not answer end with it, and
// are counted, those of the other move.
func TestReloadOfOneThatStands(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(stalling, `"2s"`, `"10s"`, 1)}) // the reload has to come to it before the watchdog does
	_, inSlot := crowd(t, s, "/echo")
	here := s.Status().Workers // the master has heard of all
	signal(t, here[0].PID, unix.SIGSTOP)
	r := reload(t, s)
	if !r.OK || r.Drained != len(inSlot[0]) || r.Moved != len(inSlot[1]) || r.Slots[0].OldPID != here[0].PID {
		t.Errorf("%+v, of %d and %d", r, len(inSlot[0]), len(inSlot[1]))
	}
	echoes(t, inSlot[1], "after")
}

// TestBrokenConfigThenGood: a reload that fails touches nobody, the next one moves all.
func TestBrokenConfigThenGood(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	c := s.Dial("/echo")
	broken := strings.Replace(reloadConfig, `"/echo" = "echo"`, `"/echo" = "nothing"`, 1)
	s.WriteConfig(broken)
	if res := s.Run("reload"); res.Code != 1 || !strings.Contains(res.Stderr, "nothing") {
		t.Fatalf("%+v", res)
	}
	c.SendText("old code serves")
	c.WantText("old code serves")
	s.WriteConfig(reloadConfig)
	if r := reload(t, s); !r.OK || r.Moved != 1 {
		t.Fatalf("%+v", r)
	}
	c.SendText("new code serves")
	c.WantText("new code serves")
}
