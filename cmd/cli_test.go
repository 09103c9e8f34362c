package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
)

func init() {
	type options struct{ Secret string }
	worker.RegisterHandler("test-ok", func(o worker.Options) (worker.Handler, error) {
		var v options
		return &v, o.Decode(&v)
	})
	worker.RegisterHandler("test-panic", func(worker.Options) (worker.Handler, error) { panic("boom") })
	worker.RegisterHandler("test-error", func(worker.Options) (worker.Handler, error) { return nil, errors.New("no database") })
	worker.RegisterHandler("notify", func(worker.Options) (worker.Handler, error) { return &options{}, nil })
}

// sandbox keeps a test away from the machine's own configs and masters.
func sandbox(t *testing.T) (dir string) {
	dir = t.TempDir()
	t.Chdir(dir)
	for _, key := range []string{"XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"} {
		t.Setenv(key, dir+"/"+strings.ToLower(key))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is one command line within this process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = (&Program{Name: "pushd"}).execute(args, &out, &errOut)
	return code, out.String(), errOut.String()
}

const okConfig = `
runtime_dir = "run"
data_dir = "data"
[api]
listen = "127.0.0.1:4999"
key = "s3cr3t-api"
[broker]
url = "nats://joe:s3cr3t-nats@127.0.0.1:4222"
[[ingest]]
listen = "udp://127.0.0.1:4998"
key = "s3cr3t-ingest"
[[ingest]]
listen = "udp://127.0.0.1:4996"
handler = "test-ok"
[[worker]]
listen = "websocket://127.0.0.1:4997"
count = 2
routes = { "/a" = { handler = "test-ok", options = { secret = "s3cr3t-route" } } }
`

func TestPlanIsRedactedForPeople(t *testing.T) {
	dir := sandbox(t)
	write(t, "pushd.toml", okConfig)
	for _, args := range [][]string{{"plan", "--json"}, {"plan"}} {
		code, out, errOut := run(t, args...)
		if code != 0 || strings.Contains(out+errOut, "s3cr3t") {
			t.Fatalf("%v: code %d\n%s%s", args, code, out, errOut)
		}
	}
	_, out, _ := run(t, "plan", "--json")
	var p master.Plan
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	if p.RuntimeDir != dir+"/run" || len(p.Workers) != 2 || p.Workers[0].Count != 2 || p.Workers[1].Name != "ingest-2" {
		t.Errorf("plan: %s", out)
	}
	if want := []string{"http://127.0.0.1:4999", "udp://127.0.0.1:4998"}; !reflect.DeepEqual(p.Broker.Listen, want) {
		t.Errorf("broker listens on %q, want %q", p.Broker.Listen, want)
	}
	if strings.Count(out, redacted) < 3 || !strings.Contains(out, "redacted@") {
		t.Errorf("secrets are not marked as redacted: %s", out)
	}
}

func TestPlanForTheMasterIsWhole(t *testing.T) {
	sandbox(t)
	write(t, "pushd.toml", okConfig)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan master.Plan, 1)
	go func() {
		var p master.Plan
		json.NewDecoder(r).Decode(&p)
		got <- p
	}()
	if err := sendPlanOf(t, w); err != nil {
		t.Fatal(err)
	}
	p := <-got
	all := string(mustJSON(p))
	for _, secret := range []string{"s3cr3t-api", "s3cr3t-nats", "s3cr3t-ingest", "s3cr3t-route"} {
		if !strings.Contains(all, secret) {
			t.Errorf("the master's plan lacks %s", secret)
		}
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	var spec workerSpec
	if err := json.Unmarshal(p.Workers[0].Spec, &spec); err != nil {
		t.Fatal(err)
	}
	built, err := spec.Group.newWorker("push", []string{"websocket://127.0.0.1:4997"})
	if err != nil || len(built.Routes) != 1 || built.Settings != worker.DefaultSettings() {
		t.Errorf("worker of the plan: %+v, %v", built, err)
	}
}

// sendPlanOf runs `plan` as the master does, with a duplicate of w's number.
func sendPlanOf(t *testing.T, w *os.File) error {
	t.Helper()
	p := Program{Name: "pushd"}
	cfg, err := config.Load(p.source("", ""))
	if err != nil {
		return err
	}
	made, err := p.makePlan(cfg)
	if err != nil {
		return err
	}
	defer w.Close()
	return writeJSON(w, made)
}

func TestCheck(t *testing.T) {
	sandbox(t)
	for _, tc := range []struct {
		name, config string
		code         int
		want         string
	}{
		{"good", okConfig, 0, "OK ("},
		{"unknown handler", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nroutes={\"/\"=\"nope\"}\n", 1, `pushd.toml:3: worker[0].routes./: handler "nope" is not in this program`},
		{"unknown option", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nroutes={\"/\"={handler=\"test-ok\",options={secert=\"x\"}}}\n", 1, `unknown field "secert"`},
		{"constructor fails", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-error\"\n", 1, `pushd.toml:3: worker[0].handler: handler "test-error": no database`},
		{"constructor panics", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-panic\"\n", 1, "panic in its constructor: boom"},
		{"unknown user", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\nuser=\"no-such-user\"\n", 1, `user "no-such-user" is not known`},
		{"unknown key", "drian = 1\n", 1, "pushd.toml:1: drian: unknown key"},
		{"apps without route", "[[app]]\nid=\"1\"\nkey=\"2\"\nsecret=\"3\"\n[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\n", 0, "note: apps are configured"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			write(t, "pushd.toml", tc.config)
			code, out, errOut := run(t, "check")
			if code != tc.code || !strings.Contains(out+errOut, tc.want) {
				t.Errorf("code %d, want %d; output\n%s%s\nwant %q", code, tc.code, out, errOut, tc.want)
			}
			if strings.Contains(out+errOut, "goroutine") {
				t.Error("the output is a crash trace")
			}
			code, out, _ = run(t, "check", "--json")
			var o struct{ OK bool }
			if err := json.Unmarshal([]byte(out), &o); err != nil || o.OK != (tc.code == 0) || code != tc.code {
				t.Errorf("--json: code %d, %q, %v", code, out, err)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	sandbox(t)
	for _, args := range [][]string{
		{}, {"fly"}, {"start", "--loud"}, {"start", "now"}, {"stop", "--timeout", "soon"}, {"status", "-c"},
		{"publish", "news"}, {"publish", "a", "b", "c"}, {"send", "hello"}, {"send", "--uid", "1", "--connection", "2", "x"},
		{"kick"}, {"kick", "--uid", "1", "--code", "x"}, {"token"}, {"token", "--uid", "1", "--ttl", "1ms"},
		{"connections", "--limit", "-1"}, {"--nope"},
	} {
		code, out, errOut := run(t, args...)
		if code != exitMisuse {
			t.Errorf("%q: exit %d, want 2\n%s%s", args, code, out, errOut)
		}
		if len(args) > 0 && (strings.Count(errOut, "\n") != 1 || !strings.HasPrefix(errOut, "pushd: ")) {
			t.Errorf("%q: stderr is not one line: %q", args, errOut)
		}
	}
}

func TestHelp(t *testing.T) {
	sandbox(t)
	for _, args := range [][]string{{"help"}, {"--help"}, {"help", "stop"}, {"stop", "--help"}, {"version"}, {"--version"}} {
		if code, out, errOut := run(t, args...); code != 0 || out == "" || errOut != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, errOut)
		}
	}
	_, out, _ := run(t, "help")
	for _, c := range (&Program{}).commands() {
		if !strings.Contains(out, c.Name) {
			t.Errorf("help does not name %s", c.Name)
		}
	}
}

func TestNoMaster(t *testing.T) {
	dir := sandbox(t)
	for _, verb := range []string{"stop", "reload", "status", "connections"} {
		code, _, errOut := run(t, verb)
		if code != exitFailed {
			t.Errorf("%s: exit %d", verb, code)
		}
		for _, place := range append((config.Source{}).RuntimeDirs(), dir+"/pushd.toml", "/etc/pushd/pushd.toml", "pushd start") {
			if !strings.Contains(errOut, place) {
				t.Errorf("%s does not name %s: %s", verb, place, errOut)
			}
		}
	}
	code, out, _ := run(t, "status", "--json")
	if code != exitFailed || !strings.Contains(out, `"ok":false`) {
		t.Errorf("--json: %d %q", code, out)
	}
	if _, _, errOut := run(t, "status", "--runtime-dir", "elsewhere"); !strings.Contains(errOut, dir+"/elsewhere") {
		t.Errorf("--runtime-dir: %s", errOut)
	}
}

func TestArrange(t *testing.T) {
	commands := (&Program{}).commands()
	for _, tc := range []struct{ in, want string }{
		{"start -d", "start -d"},
		{"-c x.toml start -d", "start -c x.toml -d"},
		{"publish news hi --json", "publish --json -- news hi"},
		{"publish --except 1 news hi --except 2", "publish --except 1 --except 2 -- news hi"},
		{"publish news -- -5", "publish -- news -5"},
		{"publish news -", "publish -- news -"},
		{"send hi --uid=42", "send --uid=42 -- hi"},
		{"stop -g --timeout 60s", "stop -g --timeout 60s"},
		{"--runtime-dir x status --watch", "status --runtime-dir x --watch"},
		{"help stop", "stop --help"}, {"-v", "version"},
	} {
		if got := strings.Join(arrange(strings.Fields(tc.in), commands), " "); got != tc.want {
			t.Errorf("arrange(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestToken(t *testing.T) {
	sandbox(t)
	write(t, "pushd.toml", `[[worker]]
listen = "ws://127.0.0.1:1"
routes = { "/n" = { handler = "notify", options = { secret = "one" } }, "/m" = { handler = "notify", options = { secret = "two" } } }
`)
	if code, _, errOut := run(t, "token", "--uid", "42"); code != 1 || !strings.Contains(errOut, "--route") {
		t.Errorf("two secrets: %d %s", code, errOut)
	}
	code, out, errOut := run(t, "token", "--uid", "42", "--channel", "a", "--channel", "b", "--ttl", "1h", "--route", "/m")
	if code != 0 {
		t.Fatal(errOut)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(strings.TrimSpace(out), claims, func(*jwt.Token) (any, error) { return []byte("two"), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "42" || !reflect.DeepEqual(claims["channels"], []any{"a", "b"}) {
		t.Errorf("claims %v", claims)
	}
	write(t, "secret", "three\n")
	_, out, _ = run(t, "token", "--uid", "42", "--secret-file", "secret")
	if _, err := jwt.Parse(strings.TrimSpace(out), func(*jwt.Token) (any, error) { return []byte("three"), nil }); err != nil {
		t.Error(err)
	}
	write(t, "pushd.toml", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\n")
	if code, _, errOut := run(t, "token", "--uid", "42"); code != 1 || !strings.Contains(errOut, "--secret-file") {
		t.Errorf("no secret: %d %s", code, errOut)
	}
}

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
	tellStatus(&b, "pushd", s, nil)
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)) - 1; n > 110 {
			t.Errorf("line of %d characters: %q", n, line)
		}
	}
	if !strings.Contains(b.String(), "200000") {
		t.Errorf("no sum of connections:\n%s", b.String())
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

func TestOwnFolder(t *testing.T) {
	dir := t.TempDir()
	me := os.Geteuid()
	if err := os.Chown(dir, me, -1); err != nil {
		t.Fatal(err)
	}
	if err := ownFolder(dir, me); err != nil {
		t.Error(err)
	}
	if err := ownFolder(filepath.Join(dir, "none"), me); err != nil {
		t.Error(err)
	}
	if me != 0 {
		if err := ownFolder(dir, me+1); err == nil {
			t.Error("a stranger's folder is taken")
		}
		return
	}
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if err := ownFolder(dir, 54321); err == nil {
		t.Error("a stranger's folder is taken")
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
