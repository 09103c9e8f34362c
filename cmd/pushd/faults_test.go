package main_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const asNobody = `
drain = "100ms"
[[worker]]
name = "push"
listen = ["websocket://127.0.0.1:{{port}}", "unix://{{dir}}/run/lines.sock"]
count = 2
user = "nobody"
handler = "echo"
routes = { "/chat" = "chat" }
`

func TestWorkersOfAnotherUser(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: asNobody, Manual: true})
	if os.Geteuid() != 0 {
		if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "only root can change user") {
			t.Errorf("start as an ordinary user: %d %s", r.Code, r.Stderr)
		}
		return
	}
	for dir := filepath.Dir(s.Binary); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // a program that nobody may run starts nowhere
			t.Fatal(err)
		}
	}
	s.MustRun("start", "-d")
	st := s.Status()
	for pid, want := range map[int]string{st.Workers[0].PID: "65534", st.Workers[1].PID: "65534", st.Broker.PID: "0", st.Master.PID: "0"} {
		four := strings.Join([]string{want, want, want, want}, " ")
		if uid, gid := statusOf(t, pid, "Uid"), statusOf(t, pid, "Gid"); uid != four || gid != four {
			t.Errorf("process %d has the user ids %s, group ids %s, want %s", pid, uid, gid, want)
		}
		if groups := statusOf(t, pid, "Groups"); want == "65534" && groups != "65534" {
			t.Errorf("process %d is in the groups %q", pid, groups) // those of nobody, none of root's
		}
		if flag := statusOf(t, pid, "NoNewPrivs"); (flag == "1") != (pid != st.Master.PID) {
			t.Errorf("process %d has NoNewPrivs %q", pid, flag)
		}
	}
	all, inSlot := crowd(t, s, "/chat")
	want(t, s, "/v1/publish", fields{"channel": lobby, "data": "to all"}, fields{"reached": len(all), "complete": true})
	for _, m := range all {
		m.WantText("to all")
	}
	inSlot[0][0].SendText("across")
	inSlot[1][0].WantText("across")
	closedToOthers(t, s.Dir)
}

// statusOf is a line of a process's status; user and group ids are the real,
// effective, saved and file system one.
func statusOf(t *testing.T, pid int, key string) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\n"+key+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}

// closedToOthers wants the sockets of the server out of everyone's reach.
func closedToOthers(t *testing.T, dir string) {
	t.Helper()
	sockets := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSocket {
			return err
		}
		sockets++
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil || sockets < 2 {
		t.Errorf("%d sockets found, %v", sockets, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("runtime folder: %v %v", info, err)
	}
}

const withSecrets = `
drain = "100ms"
log_level = "debug"
[api]
key = "api-SECRET"
[metrics]
listen = "{{metrics}}"
[[ingest]]
listen = "udp://{{api}}"
key = "ingest-SECRET"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/notify" = { handler = "notify", options = { secret = "login-SECRET-of-a-test", cookie = "login" } }, "/app/{key}" = "pusher", "/apps/*" = "pusher" }
[[app]]
id = "shop"
key = "shop"
secret = "app-SECRET-of-a-test"
webhooks = [ { url = "http://127.0.0.1:1/hooks/SECRET?t=SECRET", events = ["connected"], headers = { Cookie = "s=SECRET", X-Shop = "SECRET" } } ]
`

// TestSecretsAreToldNowhere: neither those of the config nor those of clients,
// right or wrong, at the highest log level.
func TestSecretsAreToldNowhere(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: withSecrets, Env: []string{"PUSHD_API_KEY=",
		"PUSHD_APP_ID=env", "PUSHD_APP_KEY=env", "PUSHD_APP_SECRET=env-SECRET-of-a-test"}})
	s.Key = "api-SECRET"
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	token := strings.TrimSpace(s.MustRun("token", "--uid", "42"))
	s.Dial("/notify?token=" + token)
	s.Dial("/notify", "Cookie: login="+token)
	for _, wrong := range []string{"/notify?token=guess-SECRET", "/notify?token=" + token + "x", "/notify?token=%zz" + token} {
		if h := pushdtest.Handshake(t, addr, wrong); h.Response.StatusCode == http.StatusSwitchingProtocols {
			t.Fatal("a wrong token was let in")
		}
	}
	want(t, s, "/v1/send", fields{"uid": "42", "data": "x"}, fields{"reached": 2, "online": true, "complete": true})
	s.Key = "guess-SECRET"
	if status, _ := s.Post("/v1/send", fields{"uid": "42", "data": "x"}); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	udp, err := net.Dial("udp", s.API)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	fmt.Fprint(udp, `{"key":"guess-SECRET","uid":"42","data":"x"}`)
	pushdtest.Eventually(t, "the refused datagram is logged", func() bool { return strings.Contains(s.Log(), "ingest") })
	pushdtest.Dial(t, addr, "/app/shop?protocol=7")
	pushdtest.Eventually(t, "the webhook fails", func() bool { return strings.Contains(s.Log(), "webhook") })
	s.MustRun("reload")
	shown := map[string]string{"the log": s.Log()}
	for _, command := range []string{"status", "status --json", "plan", "plan --json", "check", "connections", "connections --json"} {
		shown[command] = s.MustRun(strings.Fields(command)...)
	}
	master := s.Status().Master.PID
	for _, p := range s.Processes() {
		shown["ps"] += p.Args + "\n"
		if p.PID != master { // which has to keep its own for the plans to come
			env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
			shown["the environment of processes that serve"] += string(env)
		}
	}
	for where, text := range shown {
		if i := strings.Index(text, "SECRET"); i >= 0 {
			t.Errorf("%s shows a secret: %.200s", where, text[max(0, i-100):])
		}
		if strings.Contains(text, token) {
			t.Errorf("%s shows a client's token", where)
		}
		if text == "" {
			t.Errorf("%s shows nothing at all", where)
		}
	}
}
