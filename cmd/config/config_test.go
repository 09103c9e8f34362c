package config

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// none is an environment without variables.
func none(string) string { return "" }

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(key string) string { return m[key] }
}

func mustParse(t *testing.T, text string, getenv func(string) string) *Config {
	t.Helper()
	c, err := Parse(Source{Getenv: getenv}, "/etc/pushd/pushd.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c, err := Load(Source{Getenv: none, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "" || len(c.Searched) != 2 {
		t.Errorf("file %q, searched %q", c.File, c.Searched)
	}
	if c.Drain != 5*time.Second || c.Watchdog != 5*time.Second || c.LogFormat != "text" || c.LogLevel != slog.LevelInfo {
		t.Errorf("process defaults: %+v", c)
	}
	if c.API.Listen != "127.0.0.1:2347" || c.API.Key != "" || c.Metrics.Listen != "" || c.Broker.URL != "" {
		t.Errorf("service defaults: %+v %+v %+v", c.API, c.Metrics, c.Broker)
	}
	if len(c.Workers) != 1 {
		t.Fatalf("workers: %+v", c.Workers)
	}
	w := c.Workers[0]
	if w.Name != "push" || !reflect.DeepEqual(w.Listen, []string{DefaultListen}) || w.Count != 0 {
		t.Errorf("default worker: %+v", w)
	}
	page := `{"api":"http://127.0.0.1:2347","key_file":"` + c.KeyFile() + `"}`
	if len(w.Routes) != 8 || w.Routes[0].Pattern != "/" || string(w.Routes[0].Options) != page || !reflect.DeepEqual(w.Settings, worker.DefaultSettings()) {
		t.Errorf("default routes or settings: %+v", w)
	}
}

// full is the example of the documentation, with every key set.
const full = `
runtime_dir = "run"
data_dir = "/var/lib/x"
log_file = "log/pushd.log"
log_level = "debug"
log_format = "json"
drain = "7s"
watchdog = 0
trusted_proxies = ["10.0.0.0/8", "::1"]

[api]
listen = "127.0.0.1:4000"
key = "secret"
[metrics]
listen = "127.0.0.1:4001"
[broker]
url = "nats://u:p@10.0.0.1:4222, nats://10.0.0.2:4222"

[[ingest]]
listen = "udp://127.0.0.1:6553"
key = "k"
[[ingest]]
listen = "unix://run/in.sock"
handler = { handler = "school", options = { strict = true } }

[[app]]
id = "1"
key = "a"
secret = "b"
client_events = true
webhooks = [ { url = "https://example.com/hook", events = ["channel_occupied"] } ]

[[worker]]
name = "push"
listen = ["websocket://127.0.0.1:2346", "unix:///tmp/x.sock"]
count = 2
user = "nobody"
handler = "echo"
routes = { "/echo" = "echo", "/chat" = { handler = "chat", origins = ["*"], options = { rooms = true } } }
limits = { max_message = "16MiB", max_fragments = 0, handshake_timeout = "3s", max_queue = 4096 }
slow = "drop-oldest"
ping_interval = "1m"
compression = true

[[worker]]
name = "lines"
listen = "text://127.0.0.1:7000"
handler = "echo"
[worker.limits]
per_ip = 5
`

func TestEveryKey(t *testing.T) {
	c := mustParse(t, full, none)
	if c.RuntimeDir != "/etc/pushd/run" || c.DataDir != "/var/lib/x" || c.LogFile != "/etc/pushd/log/pushd.log" {
		t.Errorf("folders: %s %s %s", c.RuntimeDir, c.DataDir, c.LogFile)
	}
	if c.LogLevel != slog.LevelDebug || c.LogFormat != "json" || c.Drain != 7*time.Second || c.Watchdog != 0 {
		t.Errorf("process: %+v", c)
	}
	if len(c.TrustedProxies) != 2 || c.TrustedProxies[1].String() != "::1/128" {
		t.Errorf("trusted_proxies: %v", c.TrustedProxies)
	}
	if c.API.Key != "secret" || c.Metrics.Listen != "127.0.0.1:4001" || !strings.HasPrefix(c.Broker.URL, "nats://u:p@") {
		t.Errorf("services: %+v %+v %+v", c.API, c.Metrics, c.Broker)
	}
	if len(c.Ingest) != 2 || c.Ingest[0].Key != "k" || c.Ingest[1].Listen != "unix:///etc/pushd/run/in.sock" {
		t.Fatalf("ingest: %+v", c.Ingest)
	}
	if h := c.Ingest[1].Handler; h == nil || h.Handler != "school" || string(h.Options) != `{"strict":true}` {
		t.Errorf("ingest handler: %+v", h)
	}
	if len(c.Apps) != 1 || c.Apps[0].Secret != "b" || !c.Apps[0].ClientEvents || c.Apps[0].MaxPresenceMembers != 100 || len(c.Apps[0].Webhooks) != 1 {
		t.Errorf("app: %+v", c.Apps)
	}
	w := c.Workers[0]
	l := w.Settings.Limits
	if l.MaxMessage != 16<<20 || l.MaxFragments != 0 || l.HandshakeTimeout != 3*time.Second || l.MaxQueue != 4096 || l.MaxHeaders != 100 {
		t.Errorf("limits: %+v", l)
	}
	if w.Settings.Slow != worker.SlowDropOldest || w.Settings.PingInterval != time.Minute || !w.Settings.Compression {
		t.Errorf("settings: %+v", w.Settings)
	}
	if len(w.Routes) != 2 || w.Routes[0].Pattern != "/chat" || w.Routes[0].Origins[0] != "*" || string(w.Routes[0].Options) != `{"rooms":true}` {
		t.Errorf("routes: %+v", w.Routes)
	}
	if w.Routes[1].At != "/etc/pushd/pushd.toml:39: worker[0].routes./echo" {
		t.Errorf("place of a route: %q", w.Routes[1].At)
	}
	if c.Workers[1].Settings.Limits.PerIP != 5 || c.Workers[1].Routes != nil || c.Workers[1].Handler.Handler != "echo" {
		t.Errorf("second worker: %+v", c.Workers[1])
	}
}

func TestErrors(t *testing.T) {
	const group = "[[worker]]\nlisten = \"websocket://127.0.0.1:1\"\n"
	for _, tc := range []struct{ name, text, want string }{
		{"syntax", "drain = \"5s\"\nlog_level = oops\n", `f.toml:2: this is no value: a text stands in quotes, as in key = "text" (after key "log_level")`},
		{"unterminated", "drain = \"1s\n", "f.toml:1: a text has no closing quote on its line"},
		{"defined twice", "[api]\nkey = \"hunter2\"\nkey = \"hunter2\"\n", "f.toml:3: key 'api.key' has already been defined"},
		{"name of a header", "[[app]]\nid=\"1\"\nkey=\"2\"\nsecret=\"3\"\nwebhooks=[{url=\"http://x\", headers={\"Authorization: hunter2\"=\"\"}}]\n", "f.toml:5: app[0].webhooks[0].headers: a name has letters"},
		{"value of a header", "[[app]]\nid=\"1\"\nkey=\"2\"\nsecret=\"3\"\nwebhooks=[{url=\"http://x\", headers={A=\"hunter2\\n\"}}]\n", "f.toml:5: app[0].webhooks[0].headers: \"A\" has a control character"},
		{"unknown key", "\ndrian = \"5s\"\n", `f.toml:2: drian: unknown key (did you mean "drain"?)`},
		{"unknown table", "[mqtt]\nx = 1\n", "f.toml:1: mqtt: unknown key"},
		{"unknown key in table", "[api]\n# a comment\ncolour = 1\n", "f.toml:3: api.colour: unknown key"},
		{"unknown key in second worker", group + group + "colour = 1\n" + group, "f.toml:5: worker[1].colour: unknown key"},
		{"unknown limit inline", group + "limits = { max_message = 1,\n max_mesage = 2 }\n", `f.toml:4: worker[0].limits.max_mesage: unknown key (did you mean "max_message"?)`},
		{"empty folder", "\ndata_dir = \"\"\n", "f.toml:2: data_dir: is empty"},
		{"wrong type", "drain = true\n", "f.toml:1: drain: needs a duration"},
		{"duration without unit", "drain = 5\n", "f.toml:1: drain: needs a duration"},
		{"negative duration", "drain = \"-5s\"\n", "f.toml:1: drain: \"-5s\" is out of range"},
		{"bad size", group + "limits = { max_queue = \"1MB\" }\n", `f.toml:3: worker[0].limits.max_queue: "1MB" is no size`},
		{"huge size", group + "limits = { max_queue = \"99999999GiB\" }\n", "f.toml:3: worker[0].limits.max_queue: "},
		{"negative count", group + "count = -1\n", "f.toml:3: worker[0].count: -1 is out of range"},
		{"many processes", group + "count = 5000\n", "f.toml:3: worker[0].count: 5000 is more than"},
		{"log level", "log_level = \"loud\"\n", `f.toml:1: log_level: "loud": use`},
		{"log format", "log_format = \"xml\"\n", `f.toml:1: log_format: "xml": use`},
		{"short watchdog", "watchdog = \"1ms\"\n", "f.toml:1: watchdog: shorter than 500ms"},
		{"proxy", "trusted_proxies = [\"10.0.0.0/40\"]\n", `f.toml:1: trusted_proxies: "10.0.0.0/40" is no network`},
		{"public API", "[api]\nlisten = \"0.0.0.0:2347\"\n", "f.toml:2: api.listen: [api] listen = \"0.0.0.0:2347\" can be reached from other machines"},
		{"API port", "[api]\nlisten = \"127.0.0.1:99999\"\n", "f.toml:2: api.listen: "},
		{"API key", "[api]\nkey = \"a b\"\n", "f.toml:2: api.key: the key may hold"},
		{"ping_interval", "[[worker]]\nping_interval = \"10ms\"\n", "f.toml:2: worker[0].ping_interval: 10ms is shorter than 1s"},
		{"placeholder for a key", "[api]\nkey = \"changeme\"\n", "f.toml:2: api.key: is a placeholder"},
		{"placeholder for a secret", "[[app]]\nid = \"1\"\nkey = \"k\"\nsecret = \"…\"\n", "f.toml:4: app[0].secret: is a placeholder"},
		{"ingest without listen", "[[ingest]]\nkey = \"x\"\n", "f.toml:1: ingest[0]: needs listen"},
		{"ingest scheme", "[[ingest]]\nlisten = \"http://127.0.0.1:1\"\n", "f.toml:2: ingest[0].listen: "},
		{"mode of a port", "[[worker]]\nlisten = \"text://127.0.0.1:1\"\nhandler = \"echo\"\nsocket_mode = \"0666\"\n", "socket_mode and socket_group are for unix sockets"},
		{"mode that is none", "[api]\nlisten = \"unix:///tmp/x\"\nsocket_mode = \"rw\"\n", "f.toml:3: api.socket_mode: \"rw\": write an octal mode"},
		{"mode that shuts us out", "[api]\nlisten = \"unix:///tmp/x\"\nsocket_mode = \"0066\"\n", "api.socket_mode"},
		{"group that is none", "[[ingest]]\nlisten = \"unix:///tmp/x\"\nsocket_group = \"no-such-group\"\n", "f.toml:3: ingest[0].socket_group: there is no group"},
		{"public metrics", "[metrics]\nlisten = \":9090\"\n", "f.toml:2: metrics.listen: [metrics] listen = \":9090\" can be reached from other machines"},
		{"public ingest", "[[ingest]]\nlisten = \"udp://0.0.0.0:1\"\n", "f.toml:2: ingest[0].listen: [[ingest]] listen = \"udp://0.0.0.0:1\" can be reached from other machines"},
		{"listen scheme", "[[worker]]\nlisten = \"gopher://127.0.0.1:1\"\n", "f.toml:2: worker[0].listen: "},
		{"listen port", "[[worker]]\nlisten = \"websocket://127.0.0.1:http\"\n", "f.toml:2: worker[0].listen: "},
		{"no listen in second", group + "[[worker]]\nname = \"x\"\nhandler = \"echo\"\n", "f.toml:3: worker[1]: needs listen"},
		{"no handler", "[[worker]]\nlisten = \"text://127.0.0.1:1\"\n", "f.toml:1: worker[0]: has neither routes nor a handler"},
		{"routes of text", "[[worker]]\nlisten = \"text://127.0.0.1:1\"\nroutes = { \"/\" = \"echo\" }\n", "f.toml:3: worker[0].routes: only http and websocket"},
		{"route without slash", group + "[worker.routes]\n\"chat\" = \"chat\"\n", "f.toml:4: worker[0].routes.chat: the path begins"},
		{"route of nothing", group + "routes = { \"/\" = {} }\n", "f.toml:3: worker[0].routes./: names no handler"},
		{"route of a number", group + "routes = { \"/\" = 4 }\n", "f.toml:3: worker[0].routes./: needs a handler's name"},
		{"star in a path", group + "routes = { \"/*/a\" = \"echo\" }\n", "f.toml:3: worker[0].routes./*/a: "},
		{"slow of a channel", group + "channels = [ { match = \"a*\", slow = \"never\" } ]\n", "f.toml:3: worker[0].channels[0]: channels: match = \"a*\": slow ="},
		{"slow", group + "slow = \"never\"\n", "f.toml:3: worker[0].slow: slow ="},
		{"name", group + "name = \"a b\"\n", "f.toml:3: worker[0].name: \"a b\": use"},
		{"long name", group + "name = \"" + strings.Repeat("a", 65) + "\"\n", "f.toml:3: worker[0].name: \"aaa"},
		{"long prefix", group + "[broker]\nurl = \"nats://a\"\nprefix = \"" + strings.Repeat("a", 65) + "\"\n", "prefix"},
		{"same name", group + "name = \"a\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:2\"\nname = \"a\"\n", "f.toml:4: worker[1]: the name a is used twice"},
		{"same address", "[api]\nlisten = \"127.0.0.1:1\"\n" + group, "f.toml:3: worker[0]: websocket://127.0.0.1:1 is used twice, first by f.toml:2: api.listen"},
		{"app", "[[app]]\nid = \"1\"\n", "f.toml:1: app[0]: an app needs id, key and secret"},
		{"webhook", "[[app]]\nid=\"1\"\nkey=\"2\"\nsecret=\"3\"\nwebhooks=[{url=\"ftp://x\"}]\n", "f.toml:5: app[0].webhooks[0].url: write"},
		{"worker is no table", "worker = 4\n", "f.toml:1: worker: needs [[worker]] tables"},
		{"bus prefix", "[broker]\nurl = \"nats://h:4222\"\nprefix = \"a.b\"\n", "f.toml:3: broker.prefix: \"a.b\" is no token"},
		{"bus key", "[broker]\nurl = \"nats://h:4222\"\nnkey = \"/nope\"\n", "f.toml:3: broker.nkey: the file that it names cannot be opened: no such file"},
		{"a key for a file", "[broker]\nurl = \"nats://h:4222\"\nnkey = \"hunter2\"\n", "f.toml:3: broker.nkey: the file that it names"},
		{"PEM for a file", "[api]\ntls = { cert = \"/x\", key = \"\"\"\n-----BEGIN PRIVATE KEY-----\nhunter2\n\"\"\" }\n", "api.tls.key: write the path of a file"},
		{"bus tls", "[broker]\nurl = \"tls://h:4222\"\ntls = { cert = \"/dev/null\" }\n", "broker.tls.cert: cert and key go together"},
		{"embedded bus", "[broker]\nprefix = \"x\"\n", "f.toml:2: broker.prefix: is for a NATS of your own"},
		{"cluster alone", "[cluster]\nnode = \"a\"\n", "f.toml:2: cluster.node: is for several machines, which need one NATS"},
		{"cluster lost", "[broker]\nurl = \"nats://h:4222\"\n[cluster]\nlost = \"1s\"\n", "f.toml:4: cluster.lost: 1s is shorter than 2s"},
		{"cluster forget", "[broker]\nurl = \"nats://h:4222\"\n[cluster]\nforget = \"4s\"\n", "f.toml:4: cluster.forget: 4s is shorter than lost, 5s"},
		{"broker url", "[broker]\nurl = \"http://u:hunter2@x\"\n", "f.toml:2: broker.url: write"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(Source{Getenv: none}, "f.toml", []byte(tc.text))
			if err == nil {
				t.Fatalf("no error, want %q", tc.want)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q\nwant    %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %q", err)
			}
		})
	}
}

// TestErrorsShowNoSecret tries whatever may be wrong with a secret: none of it is
// repeated, though the place of it is named.
func TestErrorsShowNoSecret(t *testing.T) {
	for _, secret := range []string{"hunter", "271828", "2718281828459045235360"} {
		testErrorsShowNot(t, secret)
	}
}

func testErrorsShowNot(t *testing.T, secret string) {
	ways := []string{
		secret, `"` + secret, `"""` + secret, `'` + secret, `'''` + secret, secret + `"`, `"a"` + secret, `"\q` + secret + `"`, `"\u` + secret + `"`,
		`["` + secret + `"]`, `{ a = ` + secret + ` }`, `["a", ` + secret + `]`, `[` + secret, `{ a "` + secret + `" }`,
		"2" + secret, "0" + secret, "2_" + secret + "_", "-" + secret, "0x" + secret, "1." + secret, "2020-01-01" + secret, "inf" + secret, "true" + secret,
		"\"" + secret + "\x00\"", "\"" + secret + "\xff\"", "\"" + secret + "\x01\"", "`" + secret + "`", "$" + secret, "", "=" + secret,
	}
	for _, table := range []string{"[api]\n", "[broker]\n", "[[app]]\n", "[[ingest]]\n", "[[app.webhooks]]\n", "[worker]\n", "[x.headers]\n"} {
		for _, before := range []string{"key = ", "secret = ", "url = ", "key: ", "key ", "key = ''\nkey = ", "kye = "} {
			for _, way := range ways {
				text := "\n" + table + before + way + "\n"
				_, err := Parse(Source{Getenv: none}, "f.toml", []byte(text))
				if err == nil {
					continue // something that TOML has another meaning for
				}
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q: the error shows it: %q", text, err)
				}
				if !strings.Contains(err.Error(), "f.toml") {
					t.Errorf("%q: no place in %q", text, err)
				}
			}
		}
	}
	for _, name := range []string{"PUSHD_API_KEY", "PUSHD_API_KEY_FILE", "PUSHD_BROKER_NKEY", "PUSHD_APP_KEY", "PUSHD_APP_SECRET", "PUSHD_BROKER_URL"} {
		for _, value := range []string{"a b " + secret, "<" + secret + ">", "http://u:" + secret + "@x", secret + "\x7f", strings.Repeat(secret, 100)} {
			_, err := Parse(Source{Getenv: env(name, value)}, "", nil)
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s=%q: the error shows it: %q", name, value, err)
			}
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse(Source{Getenv: none}, "f.toml", []byte("drain = 1\nfoo = 2\n[api]\nbar = 3\n"))
	list, ok := err.(Errors)
	if !ok || len(list) != 3 {
		t.Fatalf("got %T with %v, want 3 errors", err, err)
	}
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "key")
	if err := os.WriteFile(secret, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, full, env(
		"PUSHD_LOG_LEVEL", "error", "PUSHD_DRAIN", "1s", "PUSHD_TRUSTED_PROXIES", "192.168.0.0/16, 10.0.0.1",
		"PUSHD_API_LISTEN", "127.0.0.1:5000", "PUSHD_API_KEY_FILE", secret, "PUSHD_API_INSECURE", "true",
		"PUSHD_METRICS_LISTEN", "0.0.0.0:5001", "PUSHD_METRICS_INSECURE", "1", "PUSHD_BROKER_URL", "nats://10.1.1.1",
		"PUSHD_APP_ID", "2", "PUSHD_APP_KEY", "x", "PUSHD_APP_SECRET", "y", "PUSHD_RUNTIME_DIR", "/run/other"))
	if c.LogLevel != slog.LevelError || c.Drain != time.Second || len(c.TrustedProxies) != 2 || c.RuntimeDir != "/run/other" {
		t.Errorf("process: %+v", c)
	}
	if c.API.Listen != "127.0.0.1:5000" || c.API.Key != "from-file" || !c.API.Insecure {
		t.Errorf("api: %+v", c.API)
	}
	if c.Metrics.Listen != "0.0.0.0:5001" || !c.Metrics.Insecure || c.Broker.URL != "nats://10.1.1.1" || len(c.Apps) != 2 {
		t.Errorf("services: %+v %+v %+v", c.Metrics, c.Broker, c.Apps)
	}
	for _, tc := range []struct {
		env  func(string) string
		want string
	}{
		{env("PUSHD_DRAIN", "soon"), "PUSHD_DRAIN: "},
		{env("PUSHD_API_INSECURE", "maybe"), "PUSHD_API_INSECURE: needs true or false"},
		{env("PUSHD_API_KEY", "a", "PUSHD_API_KEY_FILE", secret), "PUSHD_API_KEY_FILE: PUSHD_API_KEY is set too"},
		{env("PUSHD_API_KEY_FILE", filepath.Join(dir, "missing")), "PUSHD_API_KEY_FILE: the file that it names cannot be opened"},
		{env("PUSHD_COUNT", "many"), "PUSHD_COUNT: needs a whole number"},
		{env("PUSHD_LISTEN", "gopher://x:1"), "PUSHD_LISTEN: "},
		{env("PUSHD_APP_ID", "1"), "PUSHD_APP_ID: an app needs"},
	} {
		if _, err := Parse(Source{Getenv: tc.env}, "", nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// TestMisspelt: a variable that is nearly one of ours is told of; none that pushd, its
// tests and pages name, and none that Kubernetes makes.
func TestMisspelt(t *testing.T) {
	c := mustParse(t, "", none)
	for word, want := range map[string]string{
		"LISTENN": "LISTEN", "DRIAN": "DRAIN", "API_KEYFILE": "API_KEY_FILE", "LOGLEVEL": "LOG_LEVEL", "APP_SECERT": "APP_SECRET", "BROKER_URLS": "BROKER_URL",
	} {
		notes := c.Misspelt([]string{"PUSHD_" + word + "=secret", "HOME=/"})
		if len(notes) != 1 || !strings.Contains(notes[0], "PUSHD_"+want+"?") || strings.Contains(notes[0], "secret") {
			t.Errorf("%s: %q, want %s", word, notes, want)
		}
	}
	others := []string{"PUSHD_DRIAN="}
	for _, word := range []string{"SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_2346_TCP", "PORT_2346_TCP_PROTO", "PORT_2346_TCP_PORT", "PORT_2346_TCP_ADDR"} {
		others = append(others, "PUSHD_"+word+"=1")
	}
	named := regexp.MustCompile(`PUSHD_[A-Z0-9_]*[A-Z0-9]`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".go", ".md", ".php", ".toml", ".yaml", ".service", ".sh", ""}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		if len(text) < 1<<20 && filepath.Base(path) != "config_test.go" { // no binary, and not this
			for _, name := range named.FindAll(text, -1) {
				others = append(others, string(name)+"=1")
			}
		}
		return err
	})
	if err != nil || len(others) < 100 {
		t.Fatal(len(others), err)
	}
	if notes := c.Misspelt(others); len(notes) > 0 {
		t.Errorf("taken for misspelt: %q", notes)
	}
}

// TestOverridden: what the file says and the environment says otherwise is named by its
// line, once, without a value.
func TestOverridden(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("other-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "drain = \"9s\"\n[api]\nkey = \"the-key\"\n[broker]\nurl = \"nats://h:1,nats://g:1\"\n[[worker]]\nlisten = \"ws://127.0.0.1:1\"\ncount = 2\n"
	for _, tc := range []struct {
		env  func(string) string
		want string
	}{
		{none, ""},
		{env("PUSHD_DRAIN", "9s", "PUSHD_API_KEY", "the-key", "PUSHD_LISTEN", "ws://127.0.0.1:1", "PUSHD_COUNT", "2"), ""},
		{env("PUSHD_WATCHDOG", "9s"), ""},
		{env("PUSHD_DRAIN", "8s"), ":1: drain: PUSHD_DRAIN of"},
		{env("PUSHD_API_KEY", "other-key"), ":3: api.key: PUSHD_API_KEY of"},
		{env("PUSHD_API_KEY_FILE", secret), ":3: api.key: PUSHD_API_KEY_FILE of"},
		{env("PUSHD_BROKER_URL", "nats://h:2"), ":5: broker.url: PUSHD_BROKER_URL of"},
		{env("PUSHD_LISTEN", "127.0.0.1:2"), ":7: worker[0].listen: PUSHD_LISTEN of"},
		{env("PUSHD_COUNT", "3"), ":8: worker[0].count: PUSHD_COUNT of"},
	} {
		notes := strings.Join(mustParse(t, text, tc.env).Overridden(), "\n")
		if !strings.Contains(notes, tc.want) || strings.Contains(notes, "\n") || (notes == "") != (tc.want == "") || strings.Contains(notes, "-key") {
			t.Errorf("%q, want %q", notes, tc.want)
		}
	}
}

func TestOverride(t *testing.T) {
	c, err := Parse(Source{Getenv: env("PUSHD_LISTEN", "127.0.0.1:9000,unix:///tmp/a.sock", "PUSHD_COUNT", "3")}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Workers[0]; w.Count != 3 || !reflect.DeepEqual(w.Listen, []string{"websocket://127.0.0.1:9000", "unix:///tmp/a.sock"}) {
		t.Errorf("one group: %+v", w)
	}
	two := "[[worker]]\nname=\"a\"\nlisten=\"ws://127.0.0.1:1\"\n[[worker]]\nname=\"b\"\nlisten=\"udp://127.0.0.1:2\"\nhandler=\"x\"\n"
	c = mustParse(t, two, env("PUSHD_LISTEN", "udp://127.0.0.1:3"))
	if c.Workers[0].Listen[0] != "ws://127.0.0.1:1" || c.Workers[1].Listen[0] != "udp://127.0.0.1:3" {
		t.Errorf("two groups: %+v", c.Workers)
	}
	if _, err := Parse(Source{Getenv: env("PUSHD_COUNT", "3")}, "", []byte(two)); err == nil || !strings.Contains(err.Error(), "exactly one worker group") {
		t.Errorf("PUSHD_COUNT for two groups: %v", err)
	}
	if _, err := Parse(Source{Getenv: env("PUSHD_LISTEN", "text://127.0.0.1:3")}, "", []byte(two)); err == nil {
		t.Error("PUSHD_LISTEN with a scheme that no group has is taken")
	}
}

// TestPHPDeclares: a PHP program says its groups, addresses and counts itself, wherever
// its table stands. None is made up for it, and lines that mean nothing are named.
func TestPHPDeclares(t *testing.T) {
	const text = `
[[worker]]
script = "php a.php"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:2346"
[[worker]]
script = ["/usr/bin/php8.2", "b.php"]
socket_mode = "0600"
[[worker]]
name = "push"
script = "php c.php"
listen = "websocket://127.0.0.1:2346"
count = 2
routes = { "/echo" = "echo" }
`
	c := mustParse(t, text, env("PUSHD_LISTEN", "websocket://127.0.0.1:9000"))
	for i, want := range [][]string{nil, {"websocket://127.0.0.1:9000"}, nil, nil} {
		if got := c.Workers[i].Listen; !slices.Equal(got, want) {
			t.Errorf("worker[%d] listens on %q, want %q", i, got, want)
		}
	}
	if c.Workers[2].Socket.Mode != 0o600 {
		t.Errorf("its sockets: %+v", c.Workers[2].Socket)
	}
	var named []string
	for _, note := range c.Unread() {
		_, rest, _ := strings.Cut(note, "worker[3].")
		key, _, _ := strings.Cut(rest, ":")
		named = append(named, key)
	}
	if want := []string{"name", "listen", "count", "routes"}; !slices.Equal(named, want) {
		t.Errorf("named %q, want %q: %q", named, want, c.Unread())
	}
	for _, other := range []string{`"php -f a.php"`, `"python3 a.py"`} { // they declare nothing
		if _, err := Parse(Source{Getenv: none}, "", []byte("[[worker]]\n[[worker]]\nscript = "+other+"\n")); err == nil || !strings.Contains(err.Error(), "needs listen") {
			t.Errorf("script = %s: %v", other, err)
		}
	}
}

func TestProgramHasNoWorkerTables(t *testing.T) {
	c, err := Parse(Source{Getenv: none, Program: true}, "f.toml", []byte("drain = \"1s\"\n[[worker]]\nlisten = \"text://127.0.0.1:1\"\n"))
	if err == nil || !strings.Contains(err.Error(), "f.toml:2: worker[0]: this program declares its workers") {
		t.Errorf("error %v", err)
	}
	if c.Drain != time.Second || len(c.Workers) != 0 {
		t.Errorf("config: %+v", c)
	}
}

func TestSearch(t *testing.T) {
	root, here := t.TempDir(), t.TempDir()
	t.Chdir(here)
	s := Source{Getenv: none, Root: root}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	load := func(s Source) *Config {
		t.Helper()
		c, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	write(root+"/etc/pushd/pushd.toml", "drain = \"1s\"")
	if c := load(s); c.Drain != time.Second || c.File != root+"/etc/pushd/pushd.toml" {
		t.Errorf("etc: %+v", c)
	}
	write(here+"/pushd.toml", "drain = \"2s\"")
	if c := load(s); c.Drain != 2*time.Second {
		t.Errorf("working directory: %+v", c)
	}
	write(here+"/other/x.toml", "drain = \"3s\"\nruntime_dir = \"run\"")
	s.File = "other/x.toml"
	if c := load(s); c.Drain != 3*time.Second || c.RuntimeDir != here+"/other/run" {
		t.Errorf("-c: %+v", c)
	}
	s.RuntimeDir = "elsewhere"
	if c := load(s); c.RuntimeDir != here+"/elsewhere" {
		t.Errorf("--runtime-dir: %s", c.RuntimeDir)
	}
	s.File = "missing.toml"
	if c, err := Load(s); err == nil || c == nil || c.RuntimeDir != here+"/elsewhere" {
		t.Errorf("missing file: %v, %+v", err, c)
	}
}

func TestBrokenFileStillTellsRuntimeDir(t *testing.T) {
	for _, text := range []string{"runtime_dir = \"run\"\n[api\n", "  runtime_dir='run' # here\nx = = 1\n"} {
		c, err := Parse(Source{Getenv: none}, "/srv/pushd.toml", []byte(text))
		if err == nil {
			t.Fatalf("%q is taken", text)
		}
		if c.RuntimeDir != "/srv/run" {
			t.Errorf("runtime_dir %q", c.RuntimeDir)
		}
	}
}

func TestFolders(t *testing.T) {
	s := Source{Getenv: env("RUNTIME_DIRECTORY", "/run/a:/run/b", "STATE_DIRECTORY", "/var/lib/a"), Name: "chat"}
	c, err := Parse(s, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.RuntimeDir != "/run/a" || c.KeyFile() != "/var/lib/a/api.key" {
		t.Errorf("under systemd: %s %s", c.RuntimeDir, c.KeyFile())
	}
	dirs := Source{Getenv: env("XDG_RUNTIME_DIR", "/run/user/7"), Name: "chat"}.RuntimeDirs()
	want := []string{"/run/user/7/chat", "/run/chat"}
	if os.Geteuid() == 0 {
		want = []string{"/run/chat", "/run/user/7/chat"}
	}
	if !reflect.DeepEqual(dirs, want) {
		t.Errorf("searched %q, want %q", dirs, want)
	}
}

// TestDataDirOfTheLastResort: where the default cannot be made, data_dir is the
// user's folder in the temporary one; a folder that somebody has named is not
// replaced.
func TestDataDirOfTheLastResort(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(tmp, fmt.Sprintf("chat-%d-data", os.Geteuid()))
	nowhere := []string{"HOME", file}
	for _, c := range []struct {
		env  []string
		text string
		want string
		temp bool
	}{
		{nowhere, "", last, true},
		{nil, "", last, true},
		{append(nowhere, "STATE_DIRECTORY", "/state"), "", "/state", false},
		{append(nowhere, "PUSHD_DATA_DIR", file+"/x"), "", file + "/x", false},
		{nowhere, "data_dir = \"" + file + "/y\"", file + "/y", false},
	} {
		cfg, err := Parse(Source{Getenv: env(c.env...), Name: "chat", Root: file}, "", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if cfg.DataDir != c.want || cfg.DataTemporary != c.temp {
			t.Errorf("%q %q: %s, temporary %v", c.env, c.text, cfg.DataDir, cfg.DataTemporary)
		}
	}
	t.Setenv("TMPDIR", "somewhere")
	if cfg, _ := Parse(Source{Getenv: env(nowhere...), Name: "chat", Root: file}, "", nil); filepath.Dir(cfg.DataDir) != "/tmp" || !filepath.IsAbs(cfg.RuntimeDir) {
		t.Errorf("a relative TMPDIR: %s, %s", cfg.DataDir, cfg.RuntimeDir)
	}
	good := Source{Getenv: env("HOME", tmp), Name: "chat", Root: tmp}
	if cfg, _ := Parse(good, "", nil); !strings.HasPrefix(cfg.DataDir, tmp) || cfg.DataTemporary {
		t.Errorf("a home: %s", cfg.DataDir)
	}
}

// TestApp reads every key of an app, from the file and from the environment.
func TestApp(t *testing.T) {
	c := mustParse(t, `
[[app]]
id = "1"
key = "a"
secret = "b"
disabled = true
max_connections = 7
max_channels = 8
max_presence_members = 9
max_event = "64KiB"
max_member_size = "2KiB"
anonymous_timeout = "40s"
client_events = true
client_event_rate = 3
subscription_rate = 4
subscription_count = true
activity_timeout = "30s"
webhooks = [ { url = "https://example.com/hook", headers = { X-Tenant = "t" }, channel_name_starts_with = ["a"], channel_name_ends_with = ["z"] } ]
`, env("PUSHD_APP_ID", "2", "PUSHD_APP_KEY", "x", "PUSHD_APP_SECRET", "y", "PUSHD_APP_CLIENT_EVENTS", "1"))
	want := pusher.App{
		ID: "1", Key: "a", Secret: "b", Disabled: true, MaxConnections: 7, MaxChannels: 8, MaxPresenceMembers: 9,
		MaxEvent: 64 << 10, MaxMember: 2 << 10, AnonymousTimeout: 40 * time.Second, ClientEvents: true, ClientEventRate: 3, SubscriptionRate: 4, SubscriptionCount: true, ActivityTimeout: 30 * time.Second,
		Webhooks: []pusher.Webhook{{URL: "https://example.com/hook", Headers: map[string]string{"X-Tenant": "t"}, StartsWith: []string{"a"}, EndsWith: []string{"z"}}},
	}
	apps := make([]pusher.App, 0, 2)
	for _, a := range c.Apps {
		apps = append(apps, a.App)
	}
	if len(apps) != 2 || !reflect.DeepEqual(apps[0], want) {
		t.Errorf("apps: %+v\nwant   %+v", apps, want)
	}
	if a := apps[1]; a.ID != "2" || a.Secret != "y" || !a.ClientEvents || a.MaxEvent != 10<<10 || a.ActivityTimeout != 120*time.Second {
		t.Errorf("app of the environment: %+v", a)
	}
	const app = "[[app]]\nid=\"1\"\nkey=\"k\"\nsecret=\"hunter2\"\n"
	for _, tc := range []struct{ text, want string }{
		{"[[app]]\nid=\"a:b\"\nkey=\"k\"\nsecret=\"hunter2\"\n", "id \"a:b\": use"},
		{"[[app]]\nid=\"a\"\nkey=\"k/k\"\nsecret=\"hunter2\"\n", "key: use"},
		{app + "activity_timeout=\"1500ms\"\n", "activity_timeout: whole seconds"},
		{app + "max_event=\"1GiB\"\n", "max_event is over 512 KiB"},
		{app + "max_member_size=\"33KiB\"\n", "max_member_size is over 32 KiB"},
		{app + "anonymous_timeout=\"1ms\"\n", "anonymous_timeout: at least one second"},
		{app + "webhooks=[{url=\"http://x\",channel_name_ends_with=[\"\"]}]\n", "an empty text"},
		{app + "webhooks=[{url=\"http://x\",events=[\"channel_full\"]}]\n", "there is no event \"channel_full\""},
		{app + "webhooks=[{url=\"http://x\",headers={\"a b\"=\"c\"}}]\n", "headers: a name has letters"},
		{app + "[[app]]\nid=\"2\"\nkey=\"k\"\nsecret=\"s\"\n", "this app's key is used twice"},
	} {
		_, err := Parse(Source{Getenv: none}, "f.toml", []byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %q and no secret", err, tc.want)
		}
	}
}

// TestHandlerPusherOfAGroup gives a group whose own handler is pusher the routes by
// which that finds an app, and leaves alone those that lead elsewhere.
func TestHandlerPusherOfAGroup(t *testing.T) {
	c := mustParse(t, `
[[worker]]
handler = { handler = "pusher", origins = ["https://example.com"] }
routes = { "/up" = "echo", "/chat" = "chat" }
`, none)
	var got []string
	for _, r := range c.Workers[0].All() {
		got = append(got, r.Pattern+" "+r.Handler+" "+strings.Join(r.Origins, ","))
	}
	slices.Sort(got)
	want := []string{
		" pusher https://example.com", "/app/{key} pusher https://example.com", "/apps/* pusher https://example.com",
		"/chat chat ", "/pusher/* pusher https://example.com", "/up echo ",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}
