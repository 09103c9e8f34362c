package pushdtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// builds are the binaries of this test process.
var builds = struct {
	sync.Mutex
	dir    string // "" before Main
	binary map[string]string
}{binary: map[string]string{}}

// Main runs the tests and removes what was built for them. Whatever ends the
// test program, no process that it has started outlives it. A package that uses
// Build or Start calls it from TestMain.
func Main(m *testing.M) (code int) {
	if what := os.Getenv(guardEnv); what != "" {
		guard(what)
		return 0
	}
	dir, err := os.MkdirTemp("", "pushd-build-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builds.dir = dir
	mark := rand.Text()
	alive, err := startGuard(runMark+"="+mark, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer alive.Close()
	os.Setenv(runMark, mark) // what is started from here on has it, and its children
	heedSignals()
	syscall.Umask(0o022) // whatever the caller's is: workers of another user must reach the program
	return m.Run()
}

// heedSignals undoes that SIGHUP and SIGINT are ignored, as in the background
// of a script: what the tests start would ignore them too.
func heedSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

// Build builds the main package, a path below the module's root such as
// "examples/chat", once per test process, with the race detector if the tests
// have it. It returns the path of the binary.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	return BuildAs(t, pkg, path.Base(pkg))
}

// BuildAs is Build for tests that need several versions of a program: flags
// are further arguments of `go build`.
func BuildAs(t testing.TB, pkg, name string, flags ...string) string {
	t.Helper()
	if raceEnabled {
		flags = append([]string{"-race"}, flags...)
	}
	return build(t, "./"+pkg, name, flags...)
}

// BuildModule builds a main package of another module, in the version that go.mod
// names.
func BuildModule(t testing.TB, pkg, name string) string {
	t.Helper()
	return build(t, pkg, name)
}

func build(t testing.TB, pkg, name string, flags ...string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	if builds.dir == "" {
		t.Fatal("this package's TestMain must call pushdtest.Main")
	}
	key := strings.Join(append([]string{pkg, name}, flags...), "\x00")
	if b, done := builds.binary[key]; done {
		return b
	}
	out := filepath.Join(builds.dir, fmt.Sprint(len(builds.binary)), name)
	// Without the tables of debuggers the linker needs a third less; a flag of the
	// test's own takes the place of this one.
	c := exec.Command("go", append(append([]string{"build", "-ldflags=-w", "-o", out}, flags...), pkg)...)
	c.Dir = Root(t)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
	builds.binary[key] = out
	return out
}

// Root returns the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
	}
}
