package pushdtest

import (
	"fmt"
	"os"
	"os/exec"
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

// Main runs the tests and removes what was built for them. A package that uses
// Build or Start calls it from TestMain.
func Main(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "pushd-build-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builds.dir = dir
	syscall.Umask(0o022) // whatever the caller's is: workers of another user must reach the program
	return m.Run()
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
	args := append([]string{"build", "-o", out}, flags...)
	if raceEnabled {
		args = append(args, "-race")
	}
	c := exec.Command("go", append(args, "./"+pkg)...)
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
