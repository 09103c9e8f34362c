package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPLarge: properties that have grown over what pushd keeps of a connection go along
// whole; when PHP is killed their connection is closed, and nobody is who he was before.
func TestPHPLarge(t *testing.T) {
	const code = `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    switch ($data) {
        case 'login': $c->admin = true; break;
        case 'logout': $c->admin = false; break;
        case 'much': $c->buf = str_repeat('x', 70000); break;
        case 'bytes': $c->buf = random_bytes(70000); break;
        case 'less': $c->buf = 'x'; break;
        case 'exit': exit;
    }
    $c->send(json_encode([$c->admin ?? null, crc32($c->buf ?? '')]));
};
Workerman\Worker::runAll();
`
	for _, x := range []struct {
		name string
		end  func(t *testing.T, s *pushdtest.Server)
		kill bool
	}{
		{"reload", func(t *testing.T, s *pushdtest.Server) {
			var r struct{ Drained int }
			if err := json.Unmarshal([]byte(s.MustRun("reload", "--json")), &r); err != nil || r.Drained != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		}, false},
		{"reload --all", func(t *testing.T, s *pushdtest.Server) { s.MustRun("reload", "--all") }, false},
		{"exit", func(t *testing.T, s *pushdtest.Server) {
			c := s.Dial("/")
			c.SendText("exit")
			c.WantClose(1011)
		}, false},
		{"kill", func(t *testing.T, s *pushdtest.Server) {
			one := scripted{s, t}.idle()
			s.Kill(one.PID)
			pushdtest.Eventually(t, "another serves", func() bool { return scripted{s, t}.scripts()[0].Births > one.Births })
		}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, _ := phpServer(t, code)
			s.MustRun("start", "-d")
			ask := func(c *pushdtest.Client, text string) string {
				t.Helper()
				c.SendText(text)
				_, answer, err := c.Next(pushdtest.Timeout)
				phpMust(t, err)
				return string(answer)
			}
			clients, want := map[string]*pushdtest.Client{}, map[string]string{}
			for name, says := range map[string]string{
				"grown": "login much logout", "bytes": "login bytes logout", "small again": "login much logout less", "small": "login logout",
			} {
				c := s.Dial("/")
				for _, text := range strings.Fields(says) {
					want[name] = ask(c, text)
				}
				clients[name] = c
			}
			x.end(t, s)
			for name, c := range clients {
				if x.kill && (name == "grown" || name == "bytes") {
					c.WantClose(1012)
				} else if got := ask(c, "get"); got != want[name] {
					t.Errorf("%s: %s, want %s\n%s", name, got, want[name], s.Log())
				}
			}
			if log := s.Log(); x.kill && !strings.Contains(log, "closed_held=2") {
				t.Errorf("the log does not say it\n%s", log)
			}
		})
	}
}
