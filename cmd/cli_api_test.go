package cmd

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
)

// fakeAPI records one request and gives one answer.
func fakeAPI(t *testing.T, status int, answer string) (path *string, body *map[string]any) {
	path, body = new(string), &map[string]any{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*path, *body = r.URL.Path, map[string]any{}
		json.NewDecoder(r.Body).Decode(body)
		if r.Header.Get("Authorization") != "Bearer generated-key" {
			status = 401
		}
		w.WriteHeader(status)
		w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	write(t, "pushd.toml", "data_dir = \"data\"\n[api]\nlisten = \""+s.Listener.Addr().String()+"\"\n[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\n")
	return path, body
}

func TestPublishSendKick(t *testing.T) {
	sandbox(t)
	path, body := fakeAPI(t, 200, `{"reached":2,"complete":true}`)
	if code, _, errOut := run(t, "publish", "news", "hi"); code != 1 || !strings.Contains(errOut, "data/api.key") {
		t.Errorf("without a key: %d %s", code, errOut)
	}
	if err := os.Mkdir("data", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join("data", "api.key"), "generated-key\n")
	for _, tc := range []struct {
		args []string
		path string
		body map[string]any
	}{
		{[]string{"publish", "news", `{"a":1}`}, "/v1/publish", map[string]any{"channel": "news", "data": `{"a":1}`}},
		{[]string{"publish", "news", "hi", "--except", "1.2"}, "/v1/publish", map[string]any{"channel": "news", "data": "hi", "except": []any{"1.2"}}},
		{[]string{"publish", "news", "hi", "--binary"}, "/v1/publish", map[string]any{"channel": "news", "data_base64": "aGk="}},
		{[]string{"send", "--uid", "42", "hi"}, "/v1/send", map[string]any{"uid": "42", "data": "hi"}},
		{[]string{"send", "--connection", "1.2", "hi"}, "/v1/send", map[string]any{"connection": "1.2", "data": "hi"}},
		{[]string{"kick", "--uid", "42", "--code", "3001", "--reason", "bye"}, "/v1/kick", map[string]any{"uid": "42", "code": 3001.0, "reason": "bye"}},
	} {
		code, out, errOut := run(t, tc.args...)
		if code != 0 || out != "reached 2 connections\n" {
			t.Errorf("%q: %d %q %q", tc.args, code, out, errOut)
		}
		if *path != tc.path || !reflect.DeepEqual(*body, tc.body) {
			t.Errorf("%q asked %s %v, want %s %v", tc.args, *path, *body, tc.path, tc.body)
		}
	}
	if _, out, _ := run(t, "publish", "news", "hi", "--json"); out != `{"reached":2,"complete":true}`+"\n" {
		t.Errorf("--json: %q", out)
	}
	write(t, filepath.Join("data", "api.key"), "wrong\n")
	if code, _, errOut := run(t, "publish", "news", "hi"); code != 1 || !strings.Contains(errOut, "does not take the key") || strings.Contains(errOut, "wrong") {
		t.Errorf("wrong key: %d %s", code, errOut)
	}
}

// TestHistoryGoesOn: pages lead on by their cursor, and --follow asks for all that follows
// its position; where it is told that this cannot be had it says so once, and goes on from
// there without saying anything twice.
func TestHistoryGoesOn(t *testing.T) {
	sandbox(t)
	page := func(position, cursor string, texts ...string) string {
		var list []string
		for _, text := range texts {
			list = append(list, `{"position":"p","data":"`+text+`"}`)
		}
		return `{"position":"` + position + `","messages":[` + strings.Join(list, ",") + `],"cursor":"` + cursor + `"}`
	}
	steps := []struct {
		after, cursor string
		status        int
		answer        string
	}{
		{"", "", 200, page("e:4", "e:2", "one")},
		{"", "e:2", 200, page("e:4", "", "two")},
		{"e:4", "", 410, `{"error":"what follows","reason":"age"}`},
		{"", "e:4", 200, page("e:4", "")},
		{"", "e:4", 200, page("e:5", "", "three")},
		{"e:5", "", 410, `{"error":"what follows","reason":"epoch"}`},
		{"", "", 200, page("f:1", "", "four")},
		{"f:1", "", 404, `{"error":"no more"}`},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(steps) == 0 {
			t.Error("it goes on")
			return
		}
		step := steps[0]
		steps = steps[1:]
		if q := r.URL.Query(); q.Get("after") != step.after || q.Get("cursor") != step.cursor {
			t.Errorf("asked for %v, want after %q cursor %q", q, step.after, step.cursor)
		}
		w.WriteHeader(step.status)
		w.Write([]byte(step.answer))
	}))
	t.Cleanup(s.Close)
	os.Mkdir("data", 0o700)
	write(t, filepath.Join("data", "api.key"), "generated-key\n")
	write(t, "pushd.toml", "data_dir = \"data\"\n[api]\nlisten = \""+s.Listener.Addr().String()+"\"\n[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\n")
	code, out, errOut := run(t, "history", "news", "--follow")
	var texts []string
	for line := range strings.Lines(out) {
		texts = append(texts, line[strings.LastIndex(line, " ")+1:])
	}
	if got := strings.Join(texts, ""); code != 1 || got != "one\ntwo\nthree\nfour\n" || strings.Count(errOut, "age") != 1 || strings.Count(errOut, "epoch") != 1 || len(steps) > 0 {
		t.Errorf("%d %q %q", code, out, errOut)
	}
}

func TestAPIFailures(t *testing.T) {
	sandbox(t)
	fakeAPI(t, 400, `{"error":"is empty","field":"channel"}`)
	os.Mkdir("data", 0o700)
	write(t, filepath.Join("data", "api.key"), "generated-key")
	if code, _, errOut := run(t, "publish", "", "hi"); code != 1 || !strings.Contains(errOut, "400: is empty (field channel)") {
		t.Errorf("400: %d %s", code, errOut)
	}
	write(t, "pushd.toml", "data_dir = \"data\"\n[api]\nlisten = \"127.0.0.1:1\"\n[[worker]]\nlisten=\"ws://127.0.0.1:2\"\nhandler=\"test-ok\"\n")
	if code, _, errOut := run(t, "publish", "a", "hi"); code != 1 || !strings.Contains(errOut, "does not answer") || !strings.Contains(errOut, "pushd status") {
		t.Errorf("no API: %d %s", code, errOut)
	}
}

func TestStatusTableFits(t *testing.T) {
	s := &master.Status{Version: "v", Master: master.MasterStatus{PID: 4194304, Started: time.Now().Add(-90 * time.Hour)},
		Broker: master.BrokerStatus{PID: 4194303, State: master.Ready}}
	for slot := range 2 {
		s.Workers = append(s.Workers, master.WorkerStatus{
			Name: "push", Slot: slot, PID: 4194300 + slot, State: master.Degraded, Generation: 12, Started: time.Now().Add(-80 * time.Hour),
			Listen: []string{"websocket://127.0.0.1:2346"}, RSSBytes: 512 << 20, Restarts: 7,
			Stats: json.RawMessage(`{"connections":100000,"messages_in":99999999,"messages_out":123456789,"send_failures":12,"queue_bytes":1048576,"timers":12345,"loop_lag_ms":12.3}`),
		})
	}
	var b bytes.Buffer
	tellStatus(&b, "pushd", s, nil, screen{})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)) - 1; n > 110 {
			t.Errorf("line of %d characters: %q", n, line)
		}
	}
	if !strings.Contains(b.String(), "200000") {
		t.Errorf("no sum of connections:\n%s", b.String())
	}
	b.Reset()
	tellStatus(&b, "pushd", s, nil, screen{width: 80})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("line of %d characters on a screen of 80: %q", n, line)
		}
	}
	for _, want := range []string{"STATE", "CONNS", "200000", "(--wide shows "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("on a screen of 80 there is no %q:\n%s", want, b.String())
		}
	}
}

// TestFlagsOfOthers are answered with what to type instead.
func TestFlagsOfOthers(t *testing.T) {
	for line, want := range map[string]string{
		"status -d": "status --watch", "stop -d": "only start and restart", "reload -g": "every reload", "start -g": "stop and restart", "start -q": "--help",
	} {
		args := strings.Fields(line)
		if code, _, errOut := run(t, args...); code != 2 || !strings.Contains(errOut, want) {
			t.Errorf("%s: %d %q", line, code, errOut)
		}
	}
	if code, _, errOut := run(t, "connections", "--ip", "foo"); code != 2 || !strings.Contains(errOut, `"foo" is no address`) {
		t.Errorf("--ip foo: %d %q", code, errOut)
	}
}

func TestTable(t *testing.T) {
	tab := newTable("A", ">N", "DROP", "Z")
	tab.add("x", "1", "gone", "end")
	tab.add("longer", "1000", "gone", "é")
	tab.fit(20, "DROP", "Z")
	var b bytes.Buffer
	tab.write(&b)
	if want := "A          N  Z\nx          1  end\nlonger  1000  é\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for in, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1.0K", 1 << 20: "1.0M", 1<<30 - 1: "1.0G"} {
		if got := bytesText(in); got != want {
			t.Errorf("bytesText(%d) = %s, want %s", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{time.Second: "1s", 10 * time.Minute: "10m", 3*time.Hour + 5*time.Minute: "3h05m", 100 * time.Hour: "4d04h"} {
		if got := ageText(in); got != want {
			t.Errorf("ageText(%s) = %s, want %s", in, got, want)
		}
	}
	if got := clean("a\x1b[2Jé\n"); got != `a\x1b[2J\u00e9\n` {
		t.Errorf("clean: %s", got)
	}
	if got := clean("é \u202etxt.exe"); got != `\u00e9 \u202etxt.exe` {
		t.Errorf("clean, text that turns around: %s", got)
	}
	b.Reset()
	hostile := newTable("A")
	hostile.add("\x1b]0;x\a")
	if hostile.write(&b); strings.ContainsAny(b.String(), "\x1b\a") {
		t.Errorf("a table passes on %q", b.String())
	}
}

func TestAwaitReady(t *testing.T) {
	line := string(mustJSON(master.Started{PID: 7}))
	if s, err := awaitReady(strings.NewReader("noise\n" + sayReady + line + "\n")); err != nil || s.PID != 7 {
		t.Errorf("ready: %+v, %v", s, err)
	}
	if _, err := awaitReady(strings.NewReader(sayFailed + `"port\nin use"` + "\n")); err == nil || err.Error() != "port\nin use" {
		t.Errorf("failed: %v", err)
	}
	if _, err := awaitReady(strings.NewReader("panic: oh\n")); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("crash: %v", err)
	}
}

func TestProgramPlan(t *testing.T) {
	sandbox(t)
	a, b := worker.New("websocket://127.0.0.1:6552"), worker.New("udp://127.0.0.1:6553")
	p := Program{Name: "two", Workers: []*worker.Worker{a, b}}
	plan := func() (*master.Plan, error) {
		cfg, err := config.Load(p.source("", ""))
		if err != nil {
			return nil, err
		}
		return p.makePlan(cfg)
	}
	if _, err := plan(); err == nil || !strings.Contains(err.Error(), "set Worker.Name") {
		t.Errorf("two workers of one name: %v", err)
	}
	a.Name, b.Name, a.Count, b.Count = "ws", "in", 3, 1
	t.Setenv("PUSHD_LISTEN", "127.0.0.1:7000")
	made, err := plan()
	if err != nil {
		t.Fatal(err)
	}
	if g := made.Workers[0]; g.Count != 3 || g.Listen[0] != "websocket://127.0.0.1:7000" || made.Workers[1].Listen[0] != "udp://127.0.0.1:6553" {
		t.Errorf("groups: %+v", made.Workers)
	}
	if !strings.HasSuffix(made.RuntimeDir, "runtime_directory") {
		t.Errorf("runtime dir %s", made.RuntimeDir)
	}
	write(t, "pushd.toml", "[[worker]]\nlisten = \"text://127.0.0.1:1\"\n")
	if _, err := plan(); err == nil || !strings.Contains(err.Error(), "declares its workers in its code") {
		t.Errorf("[[worker]] in a program's config: %v", err)
	}
}

func TestUnderGoRun(t *testing.T) {
	for path, want := range map[string]bool{
		"/tmp/go-build123/b001/exe/chat":                                   true,
		"/root/.cache/go-build/ab/" + strings.Repeat("0a", 32) + "-d/chat": true,
		"/usr/bin/chat":               false,
		"/home/go-builder/exe2/chat":  false,
		"/opt/chat/exe/chat":          false,
		"/srv/go-builds/release/chat": false,
	} {
		if underGoRun(path) != want {
			t.Errorf("underGoRun(%q) = %v", path, !want)
		}
	}
}
