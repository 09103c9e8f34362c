package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/worker"
)

func init() {
	if os.Getenv(insideTest) != "" {
		os.Exit(exitFailed) // started by a command under test, which was not to start anything
	}
	type options struct{ Secret string }
	worker.RegisterHandler("test-ok", func(o worker.Options) (worker.Handler, error) {
		var v options
		return &v, o.Decode(&v)
	})
	worker.RegisterHandler("test-panic", func(worker.Options) (worker.Handler, error) { panic("boom") })
	worker.RegisterHandler("test-error", func(worker.Options) (worker.Handler, error) { return nil, errors.New("no database") })
	for _, stub := range []string{"notify", "script"} {
		worker.RegisterHandler(stub, func(worker.Options) (worker.Handler, error) { return &options{}, nil })
	}
}

// insideTest is the environment variable that keeps this binary, which commands
// under test take for pushd, from running all tests once more.
const insideTest = "PUSHD_INSIDE_TEST"

// sandbox keeps a test away from the machine's own configs and masters.
func sandbox(t *testing.T) (dir string) {
	dir = t.TempDir()
	t.Chdir(dir)
	for _, kv := range os.Environ() {
		if key, _, _ := strings.Cut(kv, "="); strings.HasPrefix(key, "PUSHD") {
			t.Setenv(key, "") // restores it
			os.Unsetenv(key)
		}
	}
	t.Setenv(insideTest, "1")
	for _, key := range []string{"HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"} {
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
	if err != nil || len(built.Routes) != 1 || !reflect.DeepEqual(built.Settings, worker.DefaultSettings()) {
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
		{"an app that SDKs refuse", okConfig + "[[app]]\nid=\"my-app\"\nkey=\"2\"\nsecret=\"3\"\n", 0, `app[0]: the id "my-app" is no number`},
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

// misspelt is nearly the name of a variable.
const misspelt = "PUSHD" + "_DRIAN"

func TestCheckNamesMisspeltVariables(t *testing.T) {
	sandbox(t)
	write(t, "pushd.toml", okConfig)
	meant := map[string]string{misspelt: "DRAIN", "PUSHD" + "_ALLOW_ROT": "ALLOW_ROOT", "PUSHD" + "_WACH": "WATCH", "PUSHD" + "_PHPS": "PHP", "PUSHD" + "_REACTORS": "REACTOR"}
	for name := range meant {
		t.Setenv(name, "1s")
	}
	code, out, errOut := run(t, "check")
	for name, want := range meant {
		if code != 0 || !strings.Contains(out, "note: "+name+": ") || !strings.Contains(out, "PUSHD_"+want+"?") {
			t.Errorf("%s: exit %d, %q %q", name, code, out, errOut)
		}
	}
}

// TestCheckNamesVariables: what a variable puts in the place of a line is a note, and
// named where the line would be right and the variable is not.
func TestCheckNamesVariables(t *testing.T) {
	sandbox(t)
	write(t, "pushd.toml", okConfig)
	t.Setenv("PUSHD_LISTEN", "127.0.0.1:0")
	if code, out, errOut := run(t, "check"); code != 0 || !strings.Contains(out, "worker[0].listen: PUSHD_LISTEN of the environment counts") {
		t.Errorf("exit %d, %q %q", code, out, errOut)
	}
	write(t, "pushd.toml", strings.Replace(okConfig, "routes", "redirect = \"https\"\nroutes", 1))
	if code, out, errOut := run(t, "check"); code != 1 || !strings.Contains(out+errOut, "PUSHD_LISTEN, which counts for ") {
		t.Errorf("exit %d, %q %q", code, out, errOut)
	}
}

// TestCheckChannel prints what holds for a channel, and which line says so.
func TestCheckChannel(t *testing.T) {
	sandbox(t)
	embedded := strings.Replace(okConfig, "url = ", "# ", 1) // one line for another: a history is kept on one machine
	write(t, "pushd.toml", embedded+`
[[app]]
id = "1"
key = "2"
secret = "3"
[[channel]]
match = "chat-*"
app = "1"
history = 100
[[channel]]
match = "chat-vip"
app = "1"
history = 1
slow = "close"
[[channel]]
match = "chat-a"
app = "1"
history = 2
`)
	code, out, _ := run(t, "check", "--channel", "1:private-chat-vip")
	for _, want := range []string{"history", "100", "pushd.toml:24: channel[0]", "5m0s", "stream", "pushd.toml:28: channel[1]"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, without %q:\n%s", code, want, out)
		}
	}
	if code, out, _ = run(t, "check", "--channel", "private-chat", "--json"); code != 0 || !strings.Contains(out, `"property":"history"`) {
		t.Errorf("--json: code %d, %q", code, out)
	}
	if code, out, _ = run(t, "check", "--channel", "private-chat"); !strings.Contains(out, "note: channels of an app have its id") {
		t.Errorf("code %d, no hint: %q", code, out)
	}
	if _, out, _ = run(t, "check"); !strings.Contains(out, `channel[2]: match = "chat-a" is never asked`) {
		t.Errorf("no note: %q", out)
	}
}

func TestMisuse(t *testing.T) {
	sandbox(t)
	for _, args := range [][]string{
		{}, {"fly"}, {"start", "--loud"}, {"start", "now"}, {"stop", "--timeout", "soon"}, {"status", "-c"},
		{"publish", "news"}, {"publish", "a", "b", "c"}, {"send", "hello"}, {"send", "--uid", "1", "--connection", "2", "x"},
		{"kick"}, {"kick", "--uid", "1", "--code", "x"}, {"token"}, {"token", "--uid", "1", "--ttl", "1ms"},
		{"connections", "--limit", "-1"}, {"--nope"}, {"stop", "--timeout", "-5s"}, {"restart", "--timeout=-1s"},
		{"connections", "--channel", ""}, {"connections", "--uid="}, {"connections", "--node", ""}, {"connections", "--worker", ""}, {"connections", "--ip", ""},
		{"send", "x", "--uid", "", "--connection", "1"}, {"history", "news", "--app", ""}, {"history", "news", "--purge", "--follow"}, {"history", "news", "--purge", "--after", "a:1"},
		{"check", "--channel", ""}, {"check", "-c", ""}, {"status", "--runtime-dir", ""}, {"token", "--uid", "1", "--route", ""}, {"token", "--uid", "1", "--secret-file", ""},
		{"publish", "news", "x", "--except", ""}, {"publish", "news", "x", "--except", "a", "--except="}, {"history", "news", "--after", ""}, {"token", "--uid", "1", "--channel", ""},
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
	if _, out, _ := run(t, "help", "reload"); !strings.Contains(out, "\n   pushd reload - ") {
		t.Errorf("help reload:\n%s", out)
	}
	_, out, _ := run(t, "help")
	for _, c := range (&Program{}).commands() {
		if !strings.Contains(out, c.Name) {
			t.Errorf("help does not name %s", c.Name)
		}
	}
}

// full is a device that takes no byte, as a disk that is full.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// TestOutputIsLost: a command whose output goes nowhere has failed, unless its
// reader has left.
func TestOutputIsLost(t *testing.T) {
	sandbox(t)
	write(t, "pushd.toml", okConfig)
	write(t, "secret", "0123456789abcdef")
	write(t, "chat.php", "<?php")
	for _, line := range []string{
		"help", "help stop", "version", "version --json", "key", "plan", "plan --json", "check", "token --uid 1 --secret-file secret",
		"init -", "init new.toml", "shell-init bash", "php --help", "php chat.php version",
	} {
		var errOut bytes.Buffer
		code := (&Program{Name: "pushd"}).execute(strings.Fields(line), full{syscall.ENOSPC}, &errOut)
		if code != exitFailed || !strings.Contains(errOut.String(), "no space left") || strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q", line, code, errOut.String())
		}
	}
	var errOut bytes.Buffer
	if code := (&Program{Name: "pushd"}).execute([]string{"plan"}, full{syscall.EPIPE}, &errOut); code != exitOK || errOut.Len() > 0 {
		t.Errorf("a reader that has left: exit %d, %q", code, errOut.String())
	}
}

// TestPHPWords: what is typed beside the mark is told the line that was meant.
func TestPHPWords(t *testing.T) {
	sandbox(t)
	write(t, "chat.php", "<?php")
	t.Setenv("PUSHD_PHP", "/usr/bin/php9.9")
	for line, want := range map[string][]string{
		"php --help":                 {"--allow-root ", "pushd php --install FILE", "pushd php --uninstall "},
		"php chat.php start --help":  {"--allow-root "},
		"php --uninstal x":           {"did you mean `pushd php --uninstall`?"},
		"php --allow-root chat.php":  {"pushd php FILE start --allow-root"},
		"start chat.php":             {"`pushd php chat.php start`"},
		"chat.php start":             {"did you mean `pushd php chat.php start`?"},
		"php chat.php publish x":     {"publish CHANNEL DATA, and not with 1 argument\n"},
		"php chat.php check":         {"PUSHD_PHP names /usr/bin/php9.9, which cannot be run: stat"},
		"php --install chat.php":     {"PUSHD_PHP names /usr/bin/php9.9"},
		"php chat.php status --help": {"--watch"},
		"php chat.php strat":         {"did you mean `pushd php chat.php start`? (arguments of the program's own stand behind --)"},
		"php chat.php start 9000":    {`start takes no arguments, there is "9000" (arguments of the program's own stand behind --)`},
	} {
		_, out, errOut := run(t, strings.Fields(line)...)
		for _, w := range want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%s: wants %q\n%s%s", line, w, out, errOut)
			}
		}
		if strings.Contains(errOut, "apt-get") {
			t.Errorf("%s: %s", line, errOut)
		}
	}
}

// TestPHPArguments: which words behind the file are ours, and which the program's.
func TestPHPArguments(t *testing.T) {
	p := &Program{Name: "pushd"}
	for _, x := range []struct{ line, ours, own string }{
		{"start -d", "start -d", ""},
		{"start -d -- 9000", "start -d", "9000"},
		{"-- 9000", "", "9000"},
		{"9000", "", "9000"},
		{"websocket:serve --port=9000 -d", "", "websocket:serve --port=9000 -d"},
		{"--allow-root -d 9000 stop", "--allow-root -d", "9000 stop"},
		{"-d --runtime-dir run 9000", "-d --runtime-dir run", "9000"},
		{"--port=9000", "", "--port=9000"},
		{"--port 9000", "", "--port 9000"},
		{"strat", "strat", ""},
		{"-d", "-d", ""},
		{"--help", "--help", ""},
		{"reload --all -- a -- b", "reload --all", "a -- b"},
		{"publish news -- -5", "publish news -- -5", ""},
	} {
		ours, own := p.phpArguments(strings.Fields(x.line))
		if strings.Join(ours, " ") != x.ours || strings.Join(own, " ") != x.own {
			t.Errorf("%s: ours are %q, its own %q", x.line, ours, own)
		}
	}
	named := map[string]bool{}
	for _, own := range [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"a b"}} {
		named[phpInstance("/srv/artisan", own)] = true
	}
	if len(named) != 5 || !named["php-artisan-95d19e5f"] {
		t.Errorf("the folders are %v", named)
	}
}

// TestPHPDoctor looks at what a start would listen on: a PHP program's API has no port. What
// the program prints is a line of its own.
func TestPHPDoctor(t *testing.T) {
	sandbox(t)
	write(t, "chat.php", "<?php")
	write(t, "fake", "#!/bin/sh\nprintf 'plan: 1'\necho '{\"kind\":\"workerman\",\"groups\":[{\"name\":\"chat\",\"listen\":[\"websocket://127.0.0.1:0\"],\"count\":1}]}' >&3\n")
	if err := os.Chmod("fake", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PUSHD_PHP", "./fake")
	t.Setenv("PUSHD_ALLOW_ROOT", "1")
	code, out, errOut := run(t, "php", "chat.php", "doctor", "--runtime-dir", "run")
	if code != 0 || strings.Contains(out, ":2347") {
		t.Errorf("doctor exits %d:\n%s%s", code, out, errOut)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stderr := os.Stderr
	os.Stderr = w // where what the program prints goes
	code, _, errOut = run(t, "php", "chat.php", "check", "--runtime-dir", "run")
	os.Stderr = stderr
	w.Close()
	printed, err := io.ReadAll(r)
	if code != 0 || string(printed) != "plan: 1\n" || err != nil {
		t.Errorf("check exits %d with %s and prints %q, %v", code, errOut, printed, err)
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
routes = { "/n" = { handler = "notify", options = { secret = "one, of 16 bytes" } }, "/m" = { handler = "notify", options = { secret = "two, of 16 bytes" } } }
`)
	if code, _, errOut := run(t, "token", "--uid", "42"); code != 1 || !strings.Contains(errOut, "--route") {
		t.Errorf("two secrets: %d %s", code, errOut)
	}
	code, out, errOut := run(t, "token", "--uid", "42", "--channel", "a", "--channel", "b", "--ttl", "1h", "--route", "/m")
	if code != 0 {
		t.Fatal(errOut)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(strings.TrimSpace(out), claims, func(*jwt.Token) (any, error) { return []byte("two, of 16 bytes"), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "42" || !reflect.DeepEqual(claims["channels"], []any{"a", "b"}) {
		t.Errorf("claims %v", claims)
	}
	write(t, "secret", "three, of 16 bytes\n")
	_, out, _ = run(t, "token", "--uid", "42", "--secret-file", "secret")
	if _, err := jwt.Parse(strings.TrimSpace(out), func(*jwt.Token) (any, error) { return []byte("three, of 16 bytes"), nil }); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{ // no server would take such a token
		{"--uid", "a\nb"}, {"--uid", strings.Repeat("a", 201)}, {"--uid", "\xff"}, {"--uid", "1", "--channel", ""}, {"--uid", "1", "--channel", "a\tb"},
	} {
		if code, out, errOut := run(t, append([]string{"token", "--secret-file", "secret"}, args...)...); code != exitMisuse || out != "" || !strings.Contains(errOut, "name") {
			t.Errorf("%q: exit %d, %q %q", args, code, out, errOut)
		}
	}
	for _, secret := range []string{"", "short\n", "changeme", "xxxxxxxxxxxxxxxxxxxx"} {
		write(t, "secret", secret)
		if code, out, errOut := run(t, "token", "--uid", "42", "--secret-file", "secret"); code != exitFailed || out != "" || !strings.HasPrefix(errOut, "pushd: the secret ") {
			t.Errorf("secret %q: exit %d, %q %q", secret, code, out, errOut)
		}
	}
	write(t, "pushd.toml", "[[worker]]\nlisten=\"ws://127.0.0.1:1\"\nhandler=\"test-ok\"\n")
	if code, _, errOut := run(t, "token", "--uid", "42"); code != 1 || !strings.Contains(errOut, "--secret-file") {
		t.Errorf("no secret: %d %s", code, errOut)
	}
}

// TestFewStreams: how many streams a browser opens is told once, and only where it
// comes straight to a route that takes them.
func TestFewStreams(t *testing.T) {
	sandbox(t)
	group := func(addr string) string {
		return "[[worker]]\nlisten=\"ws://" + addr + "\"\nroutes={\"/a\"=\"notify\",\"/b\"=\"notify\"}\n"
	}
	for addr, want := range map[string]int{"0.0.0.0:4001": 1, "127.0.0.1:4001": 0} {
		write(t, "pushd.toml", group(addr))
		code, out, errOut := run(t, "check")
		if code != 0 || strings.Count(out, "at most 6 of them to a host") != want {
			t.Errorf("%s: code %d, %q %q", addr, code, out, errOut)
		}
	}
}
