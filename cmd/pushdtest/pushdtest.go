// Package pushdtest runs the built program in tests: it builds a main package
// once, starts it as a daemon in a folder of its own, and fails the test if a
// process is left when it ends. Everything waits for readiness, nothing sleeps
// for a fixed time.
//
//	func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }
//
//	func TestEcho(t *testing.T) {
//		s := pushdtest.Start(t, pushdtest.Options{Config: `
//	[[worker]]
//	listen = "websocket://127.0.0.1:{{port}}"
//	count = 2
//	routes = { "/echo" = "echo" }
//	`})
//		c := s.Dial("/echo")
//		c.SendText("hi")
//		c.WantText("hi")
//	}
package pushdtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// Timeout bounds every wait of this package: far beyond what a loaded machine
// needs.
const Timeout = 90 * time.Second

// Options say what to start.
type Options struct {
	// Package is the main package, as a path below the module's root. Default
	// "cmd/pushd".
	Package string
	// Flags are further arguments of `go build`, such as "-tags", "faults".
	Flags []string
	// Config is the text of the config file, "" = none. In it "{{port}}" is the
	// server's port, "{{api}}" and "{{metrics}}" are free addresses too, and
	// "{{dir}}" is the server's folder. Keys that it does not set come from
	// environment variables that keep the server within its folder and on free
	// ports.
	Config string
	// Env are further variables, "KEY=value".
	Env []string
	// Prefix are words before each command: "php", "start.php".
	Prefix []string
	// Manual leaves the start to the test.
	Manual bool
}

// Server is one pushd, or program of one's own, with a folder, a config and
// free ports.
type Server struct {
	Binary string
	Dir    string // its working directory, removed at the end
	Config string // path of the config file, "" = none
	Port   int    // of "{{port}}", and of PUSHD_LISTEN if Options.Config is ""
	Secure bool   // clients of Dial, and of Address, come by TLS; they believe any certificate
	API    string // "127.0.0.1:…"
	Key    string // of the API

	t      testing.TB
	prefix []string
	env    []string
	mark   string // variable by which all its processes are known
}

// Start makes a server and, unless Options.Manual is set, starts it and waits
// until it is ready. When the test ends it is stopped and must be gone without
// a trace.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Package == "" {
		o.Package = "cmd/pushd"
	}
	s := &Server{Binary: BuildAs(t, o.Package, path.Base(o.Package), o.Flags...), Dir: shortDir(t), Port: FreePort(t), API: FreeAddr(t), Key: "test-key", t: t, prefix: o.Prefix}
	s.mark = "PUSHDTEST_ID=" + rand.Text()
	s.env = append(cleanEnv(), s.mark, runMark+"="+os.Getenv(runMark), "HOME="+s.Dir, noRest,
		"PUSHD_RUNTIME_DIR="+s.Dir+"/run", "PUSHD_DATA_DIR="+s.Dir+"/data",
		"PUSHD_API_LISTEN="+s.API, "PUSHD_API_KEY="+s.Key)
	if o.Config == "" {
		s.env = append(s.env, fmt.Sprintf("PUSHD_LISTEN=127.0.0.1:%d", s.Port))
	} else {
		s.Config = filepath.Join(s.Dir, "pushd.toml")
		s.WriteConfig(o.Config)
	}
	s.env = append(s.env, o.Env...)
	t.Cleanup(s.end)
	if !o.Manual {
		s.MustRun("start", "-d")
	}
	return s
}

// WriteConfig replaces the config file; the places of Options.Config are filled
// in.
func (s *Server) WriteConfig(text string) {
	s.t.Helper()
	text = strings.NewReplacer(
		"{{port}}", strconv.Itoa(s.Port), "{{api}}", s.API, "{{dir}}", s.Dir, "{{metrics}}", s.metrics(text),
	).Replace(text)
	if err := os.WriteFile(s.Config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// metrics returns a free address if the text asks for one.
func (s *Server) metrics(text string) string {
	if !strings.Contains(text, "{{metrics}}") {
		return ""
	}
	return FreeAddr(s.t)
}

// Result is what a command left behind.
type Result struct {
	Code           int
	Stdout, Stderr string
	Took           time.Duration
}

// Run runs a command of the program, e.g. Run("status", "--json"), in the
// server's folder with its environment, and returns when it is over.
func (s *Server) Run(args ...string) Result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	c := s.Command(ctx, args...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	began := time.Now()
	err := c.Run()
	r := Result{Code: c.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errOut.String(), Took: time.Since(began)}
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, r.Stdout, r.Stderr)
	}
	return r
}

// MustRun is Run for a command that has to succeed; it returns its stdout.
func (s *Server) MustRun(args ...string) string {
	s.t.Helper()
	r := s.Run(args...)
	if r.Code != 0 {
		s.t.Fatalf("%s: exit %d\n%s%s\nlog:\n%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr, s.Log())
	}
	return r.Stdout
}

// Command prepares a command of the program for a test that runs it itself.
func (s *Server) Command(ctx context.Context, args ...string) *exec.Cmd {
	if s.Config != "" && len(args) > 0 {
		args = append([]string{args[0], "-c", s.Config}, args[1:]...)
	}
	c := exec.CommandContext(ctx, s.Binary, append(slices.Clone(s.prefix), args...)...)
	c.Dir, c.Env = s.Dir, s.env
	c.WaitDelay = time.Second
	return c
}

// Log returns the log files in the server's folder and its runtime folder.
func (s *Server) Log() string {
	var all strings.Builder
	logs, _ := filepath.Glob(filepath.Join(s.Dir, "*.log"))
	inRun, _ := filepath.Glob(filepath.Join(s.Dir, "run", "*.log"))
	logs = append(logs, inRun...)
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintf(&all, "%v\n", err)
		}
		all.Write(raw)
	}
	return all.String()
}

// Stop runs `stop` and waits until no process of the server is left.
func (s *Server) Stop() {
	s.t.Helper()
	s.MustRun("stop")
	if left := s.awaitGone(0); len(left) > 0 {
		s.t.Errorf("stop returned, but processes are left: %v", left)
	}
}

// end is the cleanup of Start.
func (s *Server) end() {
	if len(Processes(s.mark)) > 0 {
		s.Run("stop")
	}
	if left := s.awaitGone(Timeout); len(left) > 0 {
		s.t.Errorf("processes are left: %v\nlog:\n%s", left, s.Log())
		for _, p := range left {
			if proc, err := os.FindProcess(p.PID); err == nil {
				proc.Kill()
			}
		}
	}
	if s.t.Failed() {
		s.t.Logf("log of the server:\n%s", s.Log())
	}
	os.RemoveAll(s.Dir)
}

// Processes returns the server's processes: master, broker, workers and
// commands that still run.
func (s *Server) Processes() []Process { return Processes(s.mark) }

// Kill kills one of the server's processes and waits until it runs no more:
// what it held is free.
func (s *Server) Kill(pid int) {
	s.t.Helper()
	if pid <= 0 {
		s.t.Fatalf("no process to kill: %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill process %d: %v", pid, err)
	}
	s.AwaitGone(pid)
}

// AwaitGone waits until a process that was killed runs no more.
func (s *Server) AwaitGone(pid int) {
	s.t.Helper()
	Eventually(s.t, fmt.Sprintf("process %d is gone", pid), func() bool {
		return !slices.ContainsFunc(s.Processes(), func(p Process) bool { return p.PID == pid })
	})
}

// awaitGone waits until no process is left and returns those that are.
func (s *Server) awaitGone(timeout time.Duration) (left []Process) {
	deadline := time.Now().Add(timeout)
	for {
		if left = s.Processes(); len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(pause)
	}
}

// pause is the time between two looks.
const pause = 10 * time.Millisecond

// Eventually waits until ok returns true and fails the test if it never does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, ok)
}

// FreeAddr is FreePort as "127.0.0.1:port".
func FreeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}

// shortDir makes a folder whose path leaves room for a unix socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pushd-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// noRest is for programs built with -race. At their end they sleep for a second, with
// their sockets open: as long as a broker process may be away before publishing fails.
const noRest = "GORACE=atexit_sleep_ms=0"

// cleanEnv is the environment without anything that would reach the server.
func cleanEnv() (env []string) {
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(key, "PUSHD"), key == "RUNTIME_DIRECTORY", key == "STATE_DIRECTORY",
			key == "XDG_RUNTIME_DIR", key == "XDG_STATE_HOME", key == "NOTIFY_SOCKET", key == "HOME", key == "COLUMNS":
		default:
			env = append(env, kv)
		}
	}
	return env
}
