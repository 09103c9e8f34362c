package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/cmd/pushdtest"
)

// inRoute is a config with that as its only route, on line 4.
func inRoute(route string) string {
	return "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\ncount = 1\nroutes = { " + route + " }\n"
}

// unfit are configs of which a worker, the broker process or the master would
// say something only when they start.
var unfit = []struct{ name, config, want string }{
	// every error of CheckRoutes
	{"parameter with more", inRoute(`"/{room}x" = "echo"`), `pushd.toml:4: worker[0].routes./{room}x: route /{room}x: "{room}x" is no parameter`},
	{"parameter without a name", inRoute(`"/a/{}" = "echo"`), `"{}" is no parameter`},
	{"parameter in a parameter", inRoute(`"/a/{{x}}" = "echo"`), `is no parameter`},
	{"brace alone", inRoute(`"/a/{x" = "echo"`), `"{x" is no parameter`},
	{"star beside a parameter", inRoute(`"/{a}/*" = "echo"`), `not beside parameters`},
	{"star within", inRoute(`"/a*b" = "echo"`), `"*" may only end a path`},
	{"star without a slash", inRoute(`"/a*" = "echo"`), `"*" may only end a path`},
	{"no path of HTTP", inRoute(`"/ü" = "echo"`), `pushd.toml:4: worker[0].routes./ü: route "/ü": no client can ask`},
	{"a blank in a path", inRoute(`"/a b" = "echo"`), `no client can ask`},
	{"two of one shape", inRoute(`"/b/{x}" = "echo", "/b/{y}" = "chat"`), `pushd.toml:4: worker[0].routes./b/{y}: route /b/{y} has no path left: /b/{x} takes the same`},
	{"protocols", inRoute(`"/echo" = { handler = "echo", protocols = ["v 1"] }`), `pushd.toml:4: worker[0].routes./echo: protocols: "v 1" is no name`},
	{"protocols of a group's handler", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nhandler = { handler = \"echo\", protocols = [\"\"] }\n", `pushd.toml:3: worker[0].handler: protocols: ""`},
	{"protocols of a script", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nscript = \"sh\"\nallow_root = true\nprotocols = [\"v 1\"]\n", `pushd.toml:3: worker[0].script: protocols: "v 1"`},
	{"no slash", inRoute(`"echo" = "echo"`), `the path begins with "/"`},
	// every error of parseOrigins, in both places
	{"origin with a path", inRoute(`"/echo" = { handler = "echo", origins = ["https://example.com/"] }`), `pushd.toml:4: worker[0].routes./echo: origin "https://example.com/"`},
	{"origin with a star within", inRoute(`"/echo" = { handler = "echo", origins = ["a.*.example.com"] }`), `origin "a.*.example.com"`},
	{"two bad origins", inRoute(`"/echo" = { handler = "echo", origins = ["a b", "a.com", "c d"] }`), `origin "a b", "c d": write`},
	{"empty origin", inRoute(`"/echo" = { handler = "echo", origins = [""] }`), `origin ""`},
	{"origin with a space", inRoute(`"/echo" = { handler = "echo", origins = ["a b"] }`), `origin "a b"`},
	{"origin of a group's handler", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nhandler = { handler = \"echo\", origins = [\"https://example.com/\"] }\n", `pushd.toml:3: worker[0].handler: origin "https://example.com/"`},
	// construction of handlers
	{"no such handler", inRoute(`"/echo" = "ehco"`), `pushd.toml:4: worker[0].routes./echo: `},
	{"option that is none", inRoute(`"/chat" = { handler = "chat", options = { rums = true } }`), `pushd.toml:4: worker[0].routes./chat: `},
	{"option that is missing", inRoute(`"/notify" = "notify"`), `pushd.toml:4: worker[0].routes./notify: `},
	// what a script needs before it can be started
	{"script of root", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nuser = \"root\"\nscript = \"sh\"\n", "pushd.toml:4: worker[0].script: a script is not run as root"},
	{"no program", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nscript = \"./none.sh\"\nallow_root = true\n", "pushd.toml:3: worker[0].script: options: script: there is no program "},
	{"no folder for a script", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nscript = \"sh\"\ndir = \"none\"\nallow_root = true\n", "/none is no folder"},
	{"handler of an ingest port", "[[ingest]]\nlisten = \"udp://127.0.0.1:{{port}}\"\nhandler = \"ehco\"\n", `pushd.toml:3: ingest[0].handler: `},
	// settings and addresses
	{"slow", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nslow = \"down\"\n", `pushd.toml:3: worker[0].slow: slow = "down"`},
	{"slow of a channel", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nchannels = [ { match = \"a*b\", slow = \"latest\" } ]\n", `pushd.toml:3: worker[0].channels[0]: channels: match = "a*b"`},
	{"a channel's rule", "[[channel]]\nmatch = \"a*b\"\nhistory = 1\n", `pushd.toml:2: channel[0].match: "a*b": write a channel's name`},
	{"two that are one", "[metrics]\nlisten = \"127.0.0.1:{{port}}\"\n[[worker]]\nlisten = \"websocket://0.0.0.0:{{port}}\"\n", "cannot both be bound"},
	{"localhost", "[metrics]\nlisten = \"127.0.0.1:{{port}}\"\n[[worker]]\nlisten = \"websocket://localhost:{{port}}\"\n", "cannot both be bound"},
	{"no such address", "[[worker]]\nlisten = \"websocket://203.0.113.7:{{port}}\"\n", "pushd.toml:2: worker[0].listen: open listener websocket://203.0.113.7"},
	{"no such name", "[[worker]]\nlisten = \"websocket://name.invalid:{{port}}\"\n", "pushd.toml:2: worker[0].listen: "},
	{"no folder for a socket", "[[worker]]\nlisten = \"websocket://{{dir}}/none/x.sock\"\n", "pushd.toml:2: worker[0].listen: open listener"},
	{"a file where a socket is to be", "[[worker]]\nlisten = \"websocket://{{dir}}/pushd.toml\"\n", "exists and is no socket"},
	{"a long socket", "[[worker]]\nlisten = \"websocket:///" + strings.Repeat("x", 108) + "\"\n", "pushd.toml:2: worker[0].listen: "},
	{"no such user", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nuser = \"nobody-at-all\"\n", `user "nobody-at-all"`},
	{"no such group", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\ngroup = \"nobody-at-all\"\n", `group "nobody-at-all"`},
	{"no folder for the log", "log_file = \"none/pushd.log\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\n", "pushd.toml:1: log_file: "},
	{"history on several machines", "[broker]\nurl = \"nats://127.0.0.1:4222\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\n[[channel]]\nmatch = \"a\"\nhistory = 1\n", "pushd.toml:5: channel[0]: history with [broker] url"},
	{"one socket by two names", "[[worker]]\nlisten = [\"websocket://{{dir}}/x.sock\", \"text://{{dir}}/./x.sock\"]\n", "/x.sock is used twice, first by "},
	{"one socket, relative", "[[ingest]]\nlisten = \"unix://x.sock\"\n[[worker]]\nlisten = \"websocket://{{dir}}/x.sock\"\n", ": ingest[0] as unix:///"},
	{"the control socket", "[[worker]]\nlisten = \"websocket://{{dir}}/run/control.sock\"\n", "/run/control.sock is pushd's own in runtime_dir"},
	{"the state", "[[ingest]]\nlisten = \"unix://run/state.json\"\n", "pushd.toml:2: ingest[0].listen: "},
	{"the log of a daemon", "[[ingest]]\nlisten = \"unix://run/pushd.log\"\n", "pushd.toml:2: ingest[0].listen: "},
	{"overlap with the default", "[[ingest]]\nlisten = \"tcp://127.0.0.1:2346\"\n", "pushd.toml: worker[0]: "},
	{"forgetful group", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nchannels = [ { match = \"orders.*\", slow = \"drop-oldest\" } ]\n[[channel]]\nmatch = \"orders.*\"\nhistory = 9\n", `worker[0]: channels: slow = "drop-oldest" forgets messages of match = "orders.*"`},
	{"a short header", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nlimits = { max_header = 10 }\n", "pushd.toml:3: worker[0].limits.max_header: "},
	{"a cookie that is none", inRoute(`"/n" = { handler = "notify", options = { secret = "0123456789abcdef", cookie = "a b;" } }`), `cookie: "a b;" is no name`},
	{"a webhook's port", "[[app]]\nid = \"1\"\nkey = \"k\"\nsecret = \"0123456789abcdef\"\nwebhooks = [ { url = \"http://h:99999/\" } ]\n", "url: write"},
	{"all of an app", "[[app]]\nid = \"a b\"\nkey = \"k k\"\n", `id "a b": use up to`},
	{"all domains", "[[worker]]\nlisten = \"wss://127.0.0.1:{{port}}\"\ntls = { acme = [\"a b\", \"localhost\"] }\n", `"a b", "localhost": no domain`},
	{"a folder as the log", "log_file = \"..\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\n", "pushd.toml:1: log_file: "},
}

// TestCheckFindsWhatAStartWouldRefuse, and says where; a restart then stops
// nothing, and a reload replaces nothing.
func TestCheckFindsWhatAStartWouldRefuse(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	good, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Status()
	for i, tc := range unfit {
		s.WriteConfig(tc.config)
		r := s.Run("check")
		if r.Code != 1 || !strings.Contains(r.Stderr, tc.want) {
			t.Errorf("%s: check: exit %d, %q; want %q", tc.name, r.Code, r.Stderr, tc.want)
		}
		if r := s.Run("restart", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, tc.want) {
			t.Errorf("%s: restart: exit %d, %q", tc.name, r.Code, r.Stderr)
		}
		if i%8 > 0 {
			continue // a reload makes the same plan
		}
		if r := s.Run("reload"); r.Code != 1 {
			t.Errorf("%s: reload: exit %d, %q", tc.name, r.Code, r.Stderr)
		}
	}
	if err := os.WriteFile(s.Config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if after := s.Status(); after.Master.PID != before.Master.PID || after.Workers[0].PID != before.Workers[0].PID {
		t.Errorf("it runs as %+v, before %+v", after, before)
	}
	s.MustRun("check")
}

// TestCheckJudgesTheMachine: folders that cannot be written, and addresses that
// are in use, which only a start minds.
func TestCheckJudgesTheMachine(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: fmt.Sprintf("[[worker]]\nlisten = \"text://%s\"\nhandler = \"echo\"\n", busy.Addr())})
	if out := s.MustRun("check"); !strings.Contains(out, "note: ") || !strings.Contains(out, "pushd.toml:2: worker[0].listen: a start would fail now: open listener text://"+busy.Addr().String()) {
		t.Errorf("check beside a program that has the port: %q", out)
	}
	s.WriteConfig(twoWorkers)
	file := filepath.Join(s.Dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ variable, value, want string }{
		{"PUSHD_DATA_DIR", file + "/data", "PUSHD_DATA_DIR: "},
		{"PUSHD_RUNTIME_DIR", file, "PUSHD_RUNTIME_DIR: "},
		{"PUSHD_RUNTIME_DIR", "/tmp/" + strings.Repeat("x", 91), "PUSHD_RUNTIME_DIR: "},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
		c := s.Command(ctx, "check")
		c.Env = append(c.Env, tc.variable+"="+tc.value)
		out, err := c.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s=%s: %v %q", tc.variable, tc.value, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "run")); !os.IsNotExist(err) {
		t.Errorf("check has made the runtime folder: %v", err)
	}
	s.MustRun("check")
}

// TestOneJudgementOfTheDataDir: what cannot be written is refused by each command when
// it is needed, before anything is stopped, and by none when it is not.
func TestOneJudgementOfTheDataDir(t *testing.T) {
	t.Parallel()
	const (
		key      = "PUSHD_API_KEY=0123456789abcdef0123456789abcdef"
		disk     = "[history]\nstore = \"disk\"\n"
		channels = "[[channel]]\nmatch = \"a\"\nhistory = 1\n"
		app      = "[[app]]\nid = \"1\"\nkey = \"k\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n"
	)
	hooked := app + "webhooks = [{ url = \"http://127.0.0.1:1/\" }]\n"
	for name, tc := range map[string]struct{ key, config, needed string }{
		"nothing":           {key, "", ""},
		"history in memory": {key, channels, ""},
		"no channel":        {key, disk, ""},
		"the key":           {"PUSHD_API_KEY=", "", "needed for the key of the HTTP API"},
		"history":           {key, disk + channels, `needed for [history] store = "disk"`},
		"a user":            {key, "[broker]\nuser = \"nobody\"\n", "needed for [broker] user"},
		"webhooks":          {key, hooked, "needed for webhooks"},
		"webhooks, a file":  {key, hooked, "other/webhooks is no folder; it is needed for webhooks"},
	} {
		if name == "a user" && os.Geteuid() != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_DATA_DIR=", tc.key}, Config: "data_dir = \"data\"\n" + twoWorkers + app})
			run := func(verb ...string) {
				t.Helper()
				r := s.Run(verb...)
				if (r.Code != 0) != (tc.needed != "") || !strings.Contains(r.Stderr, tc.needed) || r.Code != 0 && !strings.Contains(r.Stderr, "pushd.toml:1: data_dir: ") {
					t.Errorf("%s: %d %s%s", verb, r.Code, r.Stdout, r.Stderr)
				}
			}
			dir := "/proc/nope"
			if name == "webhooks, a file" {
				dir = "other"
				if err := os.Mkdir(filepath.Join(s.Dir, dir), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(s.Dir, dir, "webhooks"), "")
			}
			nowhere := func() { s.WriteConfig(fmt.Sprintf("data_dir = %q\n", dir) + twoWorkers + tc.config) }
			if tc.needed != "" {
				s.MustRun("start", "-d")
				before := s.Status().Master.PID
				nowhere()
				run("reload")
				run("restart", "-d")
				if now := s.Status().Master.PID; now != before {
					t.Error("it was stopped")
				}
				s.MustRun("stop")
			}
			nowhere()
			run("check")
			run("start", "-d")
			if tc.needed == "" {
				run("reload")
				run("restart", "-d")
			}
		})
	}
}

// TestFullDisk: check and doctor say what a start, or a restart, would meet.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		t.Skip("mounts a file system: needs root")
	}
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: twoWorkers})
	disk := filepath.Join(s.Dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	// The file system is of this command alone, and no more than it holds is written.
	c := exec.CommandContext(ctx, "unshare", "-m", "sh", "-c", `
mount -t tmpfs -o size=512k,mode=700 tmpfs "$0" && mountpoint -q "$0" || exit 1
mkdir "$0/log" && mount -t tmpfs -o size=64k,mode=700 tmpfs "$0/log" || exit 1
export PUSHD_RUNTIME_DIR="$0/run" PUSHD_DATA_DIR="$0/data" PUSHD_LOG_FILE="$0/log/of"
look() { echo "--- $1"; "$PROGRAM" -c "$CONFIG" check; echo "check $?"; "$PROGRAM" -c "$CONFIG" doctor; echo "doctor $?"; }
head -c 600k /dev/zero >"$0/log/fill"
look unlogged
"$PROGRAM" -c "$CONFIG" start -d && mkdir -p "$0/data"
rm "$0/log/fill"
head -c 600k /dev/zero >"$0/fill"
look running
"$PROGRAM" -c "$CONFIG" stop
head -c 600k /dev/zero >>"$0/fill"
look stopped
rm "$0/fill"
look empty
`, disk)
	c.Dir, c.Env = s.Dir, append(s.Command(ctx, "check").Env, "PROGRAM="+s.Binary, "CONFIG="+s.Config)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	parts := strings.Split(string(out), "--- ")
	if len(parts) != 5 {
		t.Fatalf("%s", out)
	}
	const unlogged = "PUSHD_LOG_FILE: no space left on device at "
	for i, want := range [][]string{
		{"note: " + unlogged, "check 0", "warn  start        " + unlogged, "doctor 0", "\nwarning: " + unlogged},
		{"note: PUSHD_RUNTIME_DIR: a restart would fail now: ", "check 0", "fail  start        PUSHD_RUNTIME_DIR: a restart would fail now", "df -h", "doctor 1"},
		{"note: PUSHD_RUNTIME_DIR: a start would fail now: ", "check 0", "fail  start        PUSHD_RUNTIME_DIR: a start would fail now", "warn  start        PUSHD_DATA_DIR", "doctor 1"},
		{"doctor 0"},
	} {
		for _, w := range want {
			if !strings.Contains(parts[i+1], w) {
				t.Errorf("no %q in %s", w, parts[i+1])
			}
		}
	}
	if strings.Contains(parts[4], "would fail") || strings.Contains(strings.Join(parts[2:], ""), unlogged) {
		t.Errorf("with room: %s", parts[2:])
	}
}

// TestCheckAsksForOtherUsers: what processes of other users may not do, which root
// may, check and doctor say before a restart stops anything.
func TestCheckAsksForOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("gives folders away: needs root")
	}
	const broker, script = "[broker]\nuser = \"nobody\"\n", "[[worker]]\nlisten = \"websocket://127.0.0.1:{{port}}\"\nuser = \"nobody\"\nscript = \"sh x.sh\"\ndir = \"closed\"\n"
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	before := s.Status()
	if err := errors.Join(os.Chmod(s.Dir, 0o755), os.Mkdir(s.Dir+"/closed", 0o700), os.Mkdir(s.Dir+"/full", 0o700), os.WriteFile(s.Dir+"/full/other", nil, 0o600),
		os.Mkdir(s.Dir+"/theirs", 0o700), os.Chown(s.Dir+"/theirs", 64002, 64002), os.WriteFile(s.Dir+"/closed/x.sh", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, config, data, want string }{
		{"a data_dir with other things", twoWorkers + broker, "full", "full holds other, which is not pushd's"},
		{"a data_dir out of reach", twoWorkers + broker, "closed/data", "user nobody may not enter a folder above "},
		{"a stranger's data_dir", twoWorkers, "theirs", "theirs belongs to user 64002"},
		{"a stranger's data_dir for the broker process", twoWorkers + broker, "theirs", "theirs belongs to user 64002"},
		{"the folder of a script", script, "data", "pushd.toml:4: worker[0].script: options: dir: the user of the script may not enter "},
	} {
		s.WriteConfig(tc.config)
		for _, verb := range []string{"check", "doctor", "restart"} {
			ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
			c := s.Command(ctx, verb)
			c.Env = append(c.Env, "PUSHD_DATA_DIR="+filepath.Join(s.Dir, tc.data))
			out, err := c.CombinedOutput()
			cancel()
			if err == nil || !strings.Contains(string(out), tc.want) {
				t.Errorf("%s: %s: %v %q", tc.name, verb, err, out)
			}
		}
	}
	if now := s.Status(); now.Master.PID != before.Master.PID {
		t.Errorf("it was stopped: %+v", now)
	}
}

// TestNATSAway: a server that no process could connect to stops nothing, and a start
// names it, without its password.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	away := twoWorkers + fmt.Sprintf("[broker]\nurl = \"nats://bob:hunter2@%s\"\n", free.Addr())
	names := "connect to broker nats://" + free.Addr().String() + ": "
	first := pushdtest.Start(t, pushdtest.Options{Config: away, Manual: true})
	if r := first.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, names) || strings.Contains(r.Stderr, "hunter2") {
		t.Errorf("start: %d %q", r.Code, r.Stderr)
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	before := s.Status()
	s.WriteConfig(away)
	if r := s.Run("check"); r.Code != 0 || !strings.Contains(r.Stdout, "broker.url: a start would fail now: "+names) {
		t.Errorf("check: %d %q", r.Code, r.Stdout+r.Stderr)
	}
	if r := s.Run("doctor"); r.Code != 1 || !strings.Contains(r.Stdout, names) {
		t.Errorf("doctor: %d %q", r.Code, r.Stdout)
	}
	if r := s.Run("restart", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "nothing has been stopped: ") || !strings.Contains(r.Stderr, names) {
		t.Errorf("restart: %d %q", r.Code, r.Stderr)
	}
	if now := s.Status(); now.Master.PID != before.Master.PID {
		t.Errorf("it was stopped: %+v", now)
	}
}

// TestOneErrorForWSS and not a second, wrong one.
func TestOneErrorForWSS(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: "[[worker]]\nlisten = \"wss://127.0.0.1:{{port}}\"\nroutes = { \"/echo\" = \"echo\" }\n"})
	if r := s.Run("check"); r.Code != 1 || strings.Contains(r.Stderr, "\n/") || strings.Count(r.Stderr, "worker[0]") != 1 {
		t.Errorf("%d %q", r.Code, r.Stderr)
	}
}

// TestRestartKeepsTheSockets: who comes while nothing serves waits in the
// queue; addresses of the old config are freed, those of the new one bound.
func TestRestartKeepsTheSockets(t *testing.T) {
	t.Parallel()
	config := func(more string) string {
		return "drain = \"1s\"\n[[worker]]\nname = \"push\"\nlisten = [\"websocket://127.0.0.1:{{port}}\"" + more + "]\ncount = 1\nroutes = { \"/echo\" = \"echo\" }\n"
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: config(`, "websocket://{{dir}}/old.sock", "websocket://{{dir}}/kept.sock"`)})
	first := s.Status()
	s.WriteConfig(config(`, "websocket://{{dir}}/new.sock", "websocket://{{dir}}/kept.sock"`))
	for _, name := range []string{"old", "kept"} {
		if _, err := net.Dial("unix", filepath.Join(s.Dir, name+".sock")); err != nil {
			t.Fatal(err)
		}
	}

	over, dialled := make(chan struct{}), make(chan error, 1)
	go func() {
		n := 0
		for {
			for _, at := range [][2]string{{"tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)}, {"unix", filepath.Join(s.Dir, "kept.sock")}} {
				c, err := net.Dial(at[0], at[1])
				if errors.Is(err, syscall.EAGAIN) { // the queue of a unix socket is full: too many wait already
					continue
				}
				if err != nil {
					dialled <- fmt.Errorf("dial %d: %w", n, err)
					return
				}
				c.Close()
				n++
			}
			select {
			case <-over:
				dialled <- nil
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	s.MustRun("restart", "-d")
	close(over)
	if err := <-dialled; err != nil {
		t.Errorf("a client was refused: %v", err)
	}
	if now := s.Status(); now.Master.PID == first.Master.PID || len(now.Workers) != 1 {
		t.Errorf("after the restart: %+v", now)
	}
	c := s.Dial("/echo")
	c.SendText("x")
	c.WantText("x")
	c.Close()
	for name, want := range map[string]bool{"old": false, "kept": true, "new": true} {
		c, err := net.Dial("unix", filepath.Join(s.Dir, name+".sock"))
		if (err == nil) != want {
			t.Errorf("%s.sock: %v", name, err)
		}
		if err == nil {
			c.Close()
		}
	}

	// A listener that takes in an old one can only be bound once that is gone.
	raw, err := os.ReadFile(s.Config)
	if err == nil {
		err = os.WriteFile(s.Config, []byte(strings.Replace(string(raw), "websocket://127.0.0.1", "websocket://0.0.0.0", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.MustRun("restart", "-d")
	s.Dial("/echo").Close()

	// One whose file is gone is bound anew.
	kept := filepath.Join(s.Dir, "kept.sock")
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	if r := s.Run("doctor"); r.Code != 1 || !strings.Contains(r.Stdout, "there is no file "+kept) {
		t.Errorf("doctor: %d %q", r.Code, r.Stdout)
	}
	s.MustRun("restart", "-d")
	if k, err := net.Dial("unix", kept); err != nil {
		t.Error(err)
	} else {
		k.Close()
	}
	s.Stop()
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "*.sock")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestRestartInTheForeground takes the sockets over itself, and one whose new
// address is somebody else's stops nothing.
func TestRestartInTheForeground(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := s.Status()
	s.WriteConfig(fmt.Sprintf("[[worker]]\nlisten = [\"websocket://127.0.0.1:{{port}}\", \"websocket://%s\"]\nroutes = { \"/echo\" = \"echo\" }\n", busy.Addr()))
	if r := s.Run("restart", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "nothing has been stopped") || !strings.Contains(r.Stderr, busy.Addr().String()) {
		t.Errorf("%d %q", r.Code, r.Stderr)
	}
	if now := s.Status(); now.Master.PID != before.Master.PID {
		t.Errorf("it was stopped: %+v", now)
	}
	busy.Close()
	c, ended := s.Foreground(func(c *exec.Cmd) { c.Args[1] = "restart" })
	s.Dial("/echo").Close()
	if now := s.Status(); now.Master.PID != c.Process.Pid {
		t.Errorf("it runs as %+v, not as process %d", now, c.Process.Pid)
	}
	s.Stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestNotesSeeTheHandlerOfAGroup holds the notes of check against a group that has
// a handler in place of routes.
func TestNotesSeeTheHandlerOfAGroup(t *testing.T) {
	read := func(text string) []string {
		t.Helper()
		cfg, err := config.Parse(config.Source{Getenv: func(string) string { return "" }}, "pushd.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return notes(cfg)
	}
	for _, n := range read("[[app]]\nid = \"1\"\nkey = \"k\"\nsecret = \"0123456789abcdef\"\n[[worker]]\nhandler = \"pusher\"\n") {
		if strings.Contains(n, "no route has the handler pusher") {
			t.Errorf("a group with the handler pusher: %q", n)
		}
	}
	if all := strings.Join(read("[[worker]]\nlisten = \"http://0.0.0.0:80\"\nhandler = { handler = \"notify\", options = { secret = \"0123456789abcdef\" } }\n"), "\n"); !strings.Contains(all, "streams of events") {
		t.Errorf("no word of the streams of a group's handler: %q", all)
	}
	for route, want := range map[string]bool{
		`routes = { "/app/{id}" = "pusher" }`: true, `routes = { "/app" = "pusher" }`: true, "handler = \"pusher\"\nlisten = \"udp://127.0.0.1:1\"": true,
		`routes = { "/app/{key}" = "pusher", "/x/up" = "pusher", "/fallback/*" = "pusher", "/x/apps/{id}/events" = "pusher" }`: false,
	} {
		if all := strings.Join(read("[[worker]]\n"+route+"\n"), "\n"); strings.Contains(all, "the handler pusher") != want {
			t.Errorf("%s: %q", route, all)
		}
	}
}

// TestOneServerADataDir: a second server on the data directory of another is told
// so, and stops nothing for it; one that was killed is in nobody's way.
func TestOneServerADataDir(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers})
	words := fmt.Sprintf("%s/data is in use by pid %d", s.Dir, s.Status().Master.PID)
	second := pushdtest.Start(t, pushdtest.Options{Config: twoWorkers, Manual: true, Env: []string{"PUSHD_DATA_DIR=" + s.Dir + "/data"}})
	if r := second.Run("check"); r.Code != 0 || !strings.Contains(r.Stdout+r.Stderr, words) {
		t.Errorf("check: %+v", r)
	}
	if r := second.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, words) {
		t.Errorf("start: %+v", r)
	}
	s.MustRun("reload")
	s.MustRun("restart", "-d")
	s.Kill(s.Status().Master.PID)
	s.MustRun("start", "-d")
	s.MustRun("stop")
	second.MustRun("start", "-d")
	second.MustRun("stop")
}
