// Package docs tests that what the documentation tells people to type works
// when it is typed.
package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// ownNetwork marks a test process that has a network of its own, so that the
// ports of the documents are free.
const ownNetwork = "PUSHD_DOCS_NETWORK"

func TestMain(m *testing.M) {
	if os.Getenv(ownNetwork) == "" {
		os.Exit(enterNetwork())
	}
	os.Exit(pushdtest.Main(m))
}

// enterNetwork runs this test program again in a network namespace of its own.
func enterNetwork() int {
	flags := "-n"
	if os.Geteuid() != 0 {
		flags = "-Urn"
	}
	script := `ip link set lo up 2>/dev/null || /sbin/ip link set lo up; exec "$0" "$@"`
	c := exec.Command("unshare", append([]string{flags, "sh", "-c", script, "/proc/self/exe"}, os.Args[1:]...)...)
	self, err := os.Executable()
	if err == nil {
		c.Args[5] = self
		c.Env = append(os.Environ(), ownNetwork+"=1")
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err = c.Run()
	}
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	fmt.Fprintf(os.Stderr, "run the documents' commands in a network of their own: %v\n", err)
	return 1
}

// block is a piece of shell in a document.
type block struct {
	file  string
	line  int
	kind  string // the word behind ```sh
	shell string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var fence = regexp.MustCompile("(?ms)^```sh ?([a-z-]*)\n(.*?)^```$")

// blocks are the pieces of shell of all documents.
func blocks(t *testing.T) (out []block) {
	t.Helper()
	root := pushdtest.Root(t)
	var files []string
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/zh/*.md", "examples/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(root, f)
		for _, m := range fence.FindAllSubmatchIndex(text, -1) {
			out = append(out, block{
				file: name, line: strings.Count(string(text[:m[0]]), "\n") + 1,
				kind: string(text[m[2]:m[3]]), shell: string(text[m[4]:m[5]]),
			})
		}
	}
	return out
}

// kinds say how a block is tried.
var kinds = map[string]func(*testing.T, block){
	"":        run,
	"load":    func(t *testing.T, b block) { run(t, small(b)) },
	"set-up":  targets, // of make; one is this very test
	"as-root": parses,  // changes the machine
	"docker":  parses,  // needs an engine
}

// TestBlocks types each block at the prompt of an interactive bash.
func TestBlocks(t *testing.T) {
	all := blocks(t)
	if len(all) < 8 {
		t.Fatalf("found %d blocks: %v", len(all), all)
	}
	for _, b := range all {
		t.Run(b.String(), func(t *testing.T) {
			try, ok := kinds[b.kind]
			if !ok {
				t.Fatalf("unknown kind %q", b.kind)
			}
			try(t, b)
			knowsVerbs(t, b)
		})
	}
}

// config is what the reader of a document has running.
const config = `
[[ingest]]
listen = "udp://127.0.0.1:6553"
`

// run types the block at a prompt in a copy of the repository, beside a server
// with the default addresses, unless the block starts one itself.
func run(t *testing.T, b block) {
	t.Helper()
	s := pushdtest.Start(t, pushdtest.Options{Config: config, Manual: strings.Contains(b.shell, " start"), Env: []string{
		"PUSHD_API_LISTEN=", "PUSHD_API_KEY=", "PUSHD_ALLOW_ROOT=1", "TMPDIR=" + t.TempDir()}})
	checkout(t, s.Dir)
	ctx, cancel := context.WithTimeout(context.Background(), 4*pushdtest.Timeout)
	defer cancel()
	c := s.Command(ctx)
	c.Path, c.Args = "/bin/bash", []string{"bash", "--noprofile", "--rcfile", s.Dir + "/rc", "-i"}
	c.Env = append(c.Env, "PATH="+s.Dir+"/bin:"+os.Getenv("PATH"), "TERM=dumb", "PS1=$ ")
	rc := "set -eE\ntrap 'echo \"FAILED: $BASH_COMMAND\"' ERR\n"
	if err := os.WriteFile(s.Dir+"/rc", []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := strings.ReplaceAll(b.shell, "/tmp/", "$TMPDIR/")
	c.Stdin = strings.NewReader(shell + "\nexit 0\n")
	out, err := c.CombinedOutput()
	if err != nil || strings.Contains(string(out), "FAILED: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(b.shell, " start") {
		s.Run("stop")
	}
}

// checkout makes dir look like the folder that a reader stands in.
func checkout(t *testing.T, dir string) {
	t.Helper()
	root := pushdtest.Root(t)
	links := map[string]string{
		"bin/pushd":     pushdtest.Build(t, "cmd/pushd"),
		"bin/pushctl":   pushdtest.Build(t, "cmd/pushd"),
		"bin/pushbench": pushdtest.Build(t, "cmd/pushbench"),
	}
	for _, name := range []string{"docs", "deploy", "examples", "Makefile"} {
		links[name] = filepath.Join(root, name)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// small makes a load that takes minutes one of seconds: the same commands with
// other numbers.
func small(b block) block {
	for _, n := range [][2]string{
		{"--idle 11000", "--idle 20"}, {"--echoes 1800", "--echoes 20"}, {"--members 1000", "--members 10"},
		{"--connect-rate 200", "--connect-rate 5"}, {"--slow 100", "--slow 2"}, {"--times 10", "--times 1"},
	} {
		if !strings.Contains(b.shell, n[0]) {
			panic(b.String() + " has no " + n[0])
		}
		b.shell = strings.ReplaceAll(b.shell, n[0], n[1])
	}
	return b
}

// targets looks whether the Makefile has what is called.
func targets(t *testing.T, b block) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(b.shell, -1) {
		c := exec.Command("make", "-n", m[1])
		c.Dir = pushdtest.Root(t)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("make %s: %v\n%s", m[1], err, out)
		}
	}
}

// parses lets bash read the block without running it.
func parses(t *testing.T, b block) {
	t.Helper()
	c := exec.Command("bash", "-n")
	c.Stdin = strings.NewReader(b.shell)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// verb is a command of ours where a command can stand.
var verb = regexp.MustCompile(`(?m)(?:^|\$\(|&& |')((?:\./)?(?:bin/)?push(?:d|ctl)) ([a-z][a-z-]*)`)

// knowsVerbs looks whether each command of ours exists, and that none begins
// with the word pushd, which is the shell's.
func knowsVerbs(t *testing.T, b block) {
	t.Helper()
	program := pushdtest.Build(t, "cmd/pushd")
	for _, m := range verb.FindAllStringSubmatch(b.shell, -1) {
		if m[1] == "pushd" {
			t.Errorf("%q: at a prompt that is the shell's own pushd", m[0])
		}
		if out, err := exec.Command(program, m[2], "--help").CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", m[0], err, out)
		}
	}
}

// TestBrowserClient runs the README's client for pages: it gets what is said,
// and comes back by itself after a restart.
func TestBrowserClient(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```js\n(function connect.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README has no client")
	}
	s := pushdtest.Start(t, pushdtest.Options{Env: []string{"PUSHD_LISTEN=127.0.0.1:2346", "PUSHD_DRAIN=0s"}})
	script := filepath.Join(s.Dir, "page.mjs")
	if err := os.WriteFile(script, m[1], 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "--experimental-websocket", "--no-warnings", script)
	node.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var heard lines
	node.Stdout, node.Stderr = &heard, &heard
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		node.Process.Kill()
		node.Wait()
	}()
	hears := func(text string) {
		pushdtest.Eventually(t, "the page hears "+text, func() bool {
			s.Post("/v1/publish", map[string]any{"channel": "chat:lobby", "data": text})
			return strings.Contains(heard.String(), text)
		})
	}
	hears("before")
	s.MustRun("restart", "-d")
	hears("after")
}

// lines is what a process has printed, for several goroutines.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
