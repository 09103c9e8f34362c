package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

const soundConfig = `
drain = "100ms"
[[worker]]
name   = "push"
listen = "websocket://127.0.0.1:{{port}}"
count  = 2
routes = { "/echo" = "echo", "/chat" = "chat", "/troubled" = "troubled" }
`

// variant is a version that must never serve.
type variant struct {
	name   string
	break_ func(t *testing.T, s *pushdtest.Server)
	step   string // at which the reload fails, and
	reason string // what it says
}

// mistake makes a variant of the config: new in the place of old.
func mistake(name, old, new, reason string) variant {
	return variant{"config " + name, func(t *testing.T, s *pushdtest.Server) {
		text := strings.Replace(soundConfig, old, new, 1)
		if text == soundConfig {
			t.Fatalf("the config has no %q", old)
		}
		s.WriteConfig(text)
	}, "plan", reason}
}

// process makes a variant of the program that fails in plan or worker.
func process(where, deed, step, reason string) variant {
	return variant{where + " " + deed, func(t *testing.T, s *pushdtest.Server) {
		write(t, filepath.Join(s.Dir, "trouble"), where+" "+deed, 0o600)
	}, step, reason}
}

// deploy makes a variant of the file on disk.
func deploy(name string, replace func(t *testing.T, path string), step, reason string) variant {
	return variant{"binary " + name, func(t *testing.T, s *pushdtest.Server) {
		path := filepath.Join(s.Dir, "program")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		replace(t, path)
	}, step, reason}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// brokenConfigs are mistakes in the config.
var brokenConfigs = []variant{
	mistake("ends in a string", `"100ms"`, `"100ms`, "pushd.toml:2"),
	mistake("is no TOML", "[[worker]]", "[[worker", "pushd.toml:4"),
	mistake("has a key twice", "count  = 2", "count  = 2\ncount = 3", "count"),
	mistake("has an unknown key", "count  = 2", "cuont = 2", "cuont"),
	mistake("has an unknown table", "[[worker]]", "[wrokers]\n[[worker]]", "wrokers"),
	mistake("has a number for a string", `name   = "push"`, "name = 7", "name"),
	mistake("has a duration without a unit", `"100ms"`, `"100"`, "drain"),
	mistake("wants minus one worker", "count  = 2", "count = -1", "count"),
	mistake("listens nowhere", `"websocket://127.0.0.1:{{port}}"`, "[]", "listen"),
	mistake("has an unknown scheme", "websocket://", "carrier-pigeon://", "carrier-pigeon"),
	mistake("wants TLS", "websocket://", "wss://", "wss"),
	mistake("has a port of six digits", "{{port}}", "123456", "123456"),
	mistake("listens twice on one address", `"websocket://127.0.0.1:{{port}}"`, `["websocket://127.0.0.1:{{port}}", "text://127.0.0.1:{{port}}"]`, "used twice"),
	mistake("names an unknown handler", `= "echo"`, `= "ehco"`, "ehco"),
	mistake("has an unknown option", `= "echo"`, `= { handler = "echo", options = { loud = true } }`, "loud"),
	mistake("lacks a secret", `= "echo"`, `= { handler = "notify", options = {} }`, "secret"),
	mistake("has a bad limit", "count  = 2", `limits = { max_message = "lots" }`, "max_message"),
	mistake("has a bad policy", "count  = 2", `slow = "shout"`, "slow"),
	mistake("has two groups of a name", "[[worker]]", "[[worker]]\nname = \"push\"\nlisten = \"text://127.0.0.1:1\"\nhandler = \"echo\"\n[[worker]]", "push"),
	mistake("opens an ingest port without protection", "[[worker]]", "[[ingest]]\nlisten = \"udp://0.0.0.0:1\"\n[[worker]]", "insecure"),
	mistake("has an unknown user", "count  = 2", `user = "nobody-of-that-name"`, "nobody-of-that-name"),
	{"config is missing", func(t *testing.T, s *pushdtest.Server) { os.Remove(s.Config) }, "plan", "pushd.toml"},
	{"config is a folder", func(t *testing.T, s *pushdtest.Server) { os.Remove(s.Config); os.Mkdir(s.Config, 0o700) }, "plan", "directory"},
}

// brokenMachines are configs that the machine cannot satisfy.
var brokenMachines = []variant{
	at("user", mistake("has an unknown group", "count  = 2", `group = "no-group-of-that-name"`, "no-group-of-that-name")),
	{"config wants a port that is taken", wantTaken, "bind", "in use"},
	at("bind", mistake("wants an address of another machine", `"websocket://127.0.0.1:{{port}}"`, `["websocket://127.0.0.1:{{port}}", "http://192.0.2.1:80"]`, "192.0.2.1")),
	at("bind", mistake("wants a socket in a folder that is not there", `"websocket://127.0.0.1:{{port}}"`, `["websocket://127.0.0.1:{{port}}", "unix://{{dir}}/nowhere/x.sock"]`, "nowhere")),
	at("bind", mistake("wants a socket where a file is", `"websocket://127.0.0.1:{{port}}"`, `["websocket://127.0.0.1:{{port}}", "unix://{{dir}}/pushd.toml"]`, "pushd.toml")),
	at("reopen log", mistake("logs into a folder", "[[worker]]", "log_file = \"{{dir}}\"\n[[worker]]", "directory")),
	at("reopen log", mistake("logs where no folder is", "[[worker]]", "log_file = \"{{dir}}/nowhere/x.log\"\n[[worker]]", "nowhere")),
}

// wantTaken asks for a port that this process has.
func wantTaken(t *testing.T, s *pushdtest.Server) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s.WriteConfig(strings.Replace(soundConfig, `"websocket://127.0.0.1:{{port}}"`, `["websocket://127.0.0.1:{{port}}", "http://`+ln.Addr().String()+`"]`, 1))
}

func at(step string, v variant) variant { v.step = step; return v }

// brokenBinaries are mistakes of a deploy.
var brokenBinaries = []variant{
	deploy("is missing", func(*testing.T, string) {}, "open program", "no such file"),
	deploy("is a folder", func(t *testing.T, path string) { os.Mkdir(path, 0o755) }, "plan", ""),
	deploy("is empty", func(t *testing.T, path string) { write(t, path, "", 0o755) }, "plan", "exec format"),
	deploy("is a text", func(t *testing.T, path string) { write(t, path, "404 not found", 0o755) }, "plan", "exec format"),
	deploy("is not executable", func(t *testing.T, path string) { install(t, program(t), path, 0o644, 1<<40) }, "plan", "permission denied"),
	deploy("is cut off", func(t *testing.T, path string) { install(t, program(t), path, 0o755, 1<<20) }, "plan", ""),
	deploy("is another program", func(t *testing.T, path string) { install(t, "/bin/true", path, 0o755, 1<<40) }, "plan", "plan"),
	deploy("is a script without an interpreter", func(t *testing.T, path string) { write(t, path, "#!/no/such/shell\n", 0o755) }, "open program", "is a script"),
	deploy("is a link to itself", func(t *testing.T, path string) { os.Symlink(path, path) }, "open program", "symbolic links"),
}

// brokenPrograms run, but not well.
var brokenPrograms = []variant{
	process("plan", "panics in init", "plan", "a package of the new version is broken"),
	process("plan", "exits in init", "plan", "exit status 3"),
	process("plan", "is killed in init", "plan", "killed"),
	process("plan", "needs more memory than there is", "plan", "fatal error"), // of which memory, under -race of which addresses
	process("plan", "says nothing", "plan", "0 bytes"),
	process("plan", "says garbage", "plan", "invalid character"),
	process("plan", "says half of it", "plan", "unexpected end"),
	process("plan", "says too much", "plan", "exceeds"),
	process("plan", "is of a later version", "plan", "version 99"),
	process("plan", "wants minus one worker", "plan", "-1"),
	process("plan", "gives no reason", "plan", "exit status 1"),
	process("plan", "fails in a constructor", "plan", "no database"),
	process("plan", "panics in a constructor", "plan", "no database"),
	process("worker", "panics in init", "start", "exit status 2"),
	process("worker", "exits in init", "start", "exit status 3"),
	process("worker", "is killed in init", "start", "killed"),
	process("worker", "fails in a constructor", "load handlers", "no database"),
	process("worker", "panics in a constructor", "load handlers", "no database"),
	process("worker", "makes no handler", "load handlers", "nothing"),
	process("worker", "fails in OnWorkerStart", "OnWorkerStart", "no database"),
	process("worker", "panics in OnWorkerStart", "OnWorkerStart", "no database"),
	process("worker", "exits in OnWorkerStart", "start", "exit status 5"),
	process("worker", "finds the disk full", "OnWorkerStart", "no space left"),
	process("worker", "may open few files", "canary", "descriptors"),
	process("worker", "speaks nonsense to the master", "start", "killed"),
	process("worker", "as a peer refuses", "import", "not in the mood"),
	process("worker", "as a peer leaves", "import", "gone"),
	process("worker", "as a peer reads no records of this version", "hello", "version"),
	process("worker", "as a peer speaks nonsense", "hello", "'?'"),
	process("worker", "as a peer hangs up", "hello", "EOF"),
}

// hangingPrograms never come to an end by themselves.
var hangingPrograms = []variant{
	process("plan", "hangs in init", "plan", "has not finished"),
	process("worker", "hangs in init", "start", "not ready"),
	process("worker", "hangs in OnWorkerStart", "start", "not ready"),
	process("worker", "as a peer never answers", "import", "not answered"),
	process("worker", "as a peer greets and hangs", "canary", "timeout"),
}

// program builds the program that the variants of this file are made of.
func program(t *testing.T) string { return pushdtest.Build(t, "cmd/pushd/testdata/broken") }

// install copies up to max bytes of a program.
func install(t *testing.T, from, to string, mode os.FileMode, max int) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteProgram(t, to, data[:min(len(data), max)], mode)
}

// sound makes the server whole again.
func sound(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	os.Remove(filepath.Join(s.Dir, "trouble"))
	os.Remove(s.Config) // a folder, perhaps
	s.WriteConfig(soundConfig)
	path := filepath.Join(s.Dir, "program")
	if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Mode().Perm() != 0o755 || info.Size() < 2<<20) {
		os.Remove(path)
	}
	if _, err := os.Lstat(path); err != nil {
		install(t, program(t), path, 0o755, 1<<40)
	}
}

// startSound starts the program from a file in the server's folder; commands
// are run from the file that was built.
func startSound(t *testing.T) *pushdtest.Server {
	t.Helper()
	s := pushdtest.Start(t, pushdtest.Options{Config: soundConfig, Package: "cmd/pushd/testdata/broken", Manual: true})
	built := s.Binary
	s.Binary = filepath.Join(s.Dir, "program")
	install(t, built, s.Binary, 0o755, 1<<40)
	s.MustRun("start", "-d")
	s.Binary = built
	return s
}

// TestBrokenVersions: none of them gets to serve. The old one does, nobody is
// closed, the reason is told within 10 s, and the next good version is taken.
func TestBrokenVersions(t *testing.T) {
	t.Parallel()
	s := startSound(t)
	load := stand(t, s)
	all, _ := crowd(t, s, "/troubled")
	for _, list := range [][]variant{brokenConfigs, brokenMachines, brokenBinaries, brokenPrograms} {
		for _, v := range list {
			t.Run(v.name, func(t *testing.T) { v.fails(t, s, all) })
		}
	}
	load.end()
}

// TestHangingVersions is TestBrokenVersions for those that take their time.
func TestHangingVersions(t *testing.T) {
	for _, v := range hangingPrograms {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := startSound(t)
			all, _ := crowd(t, s, "/troubled")
			v.fails(t, s, all)
		})
	}
}

// fails reloads to the variant, then to a sound version.
func (v variant) fails(t *testing.T, s *pushdtest.Server, all []*member) {
	t.Helper()
	before := s.Status()
	v.break_(t, s)
	f := refusedReload(t, s)
	sound(t, s)
	if f.Step != v.step || !strings.Contains(f.Error, v.reason) || f.Lost != 0 {
		t.Errorf("it failed at step %q: %s (%d lost); want step %q and %q", f.Step, f.Error, f.Lost, v.step, v.reason)
	}
	after := s.Status()
	for i, w := range after.Workers {
		if w.PID != before.Workers[i].PID || w.State != "ready" || after.Master != before.Master || after.Broker != before.Broker {
			t.Fatalf("before: %+v\nafter: %+v", before, after)
		}
	}
	echoes(t, all, "old code serves")
	if r := reload(t, s); !r.OK || r.Moved < len(all) || r.Drained != 0 {
		t.Fatalf("the next reload: %+v", r)
	}
	echoes(t, all, "new code serves")
}
