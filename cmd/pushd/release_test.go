package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// release makes releases/NAME with a program, and a config whose route is the
// name, unless bare.
func release(t *testing.T, s *pushdtest.Server, name string, bare bool) {
	t.Helper()
	dir := filepath.Join(s.Dir, "releases", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(build(t, name))
	if err == nil {
		testkit.WriteProgram(t, filepath.Join(dir, "pushd"), binary, 0o755)
	}
	if err == nil && !bare {
		config := fmt.Sprintf("[[worker]]\nname = \"push\"\nlisten = \"websocket://127.0.0.1:%d\"\ncount = 1\nroutes = { \"/%s\" = \"echo\" }\n", s.Port, name)
		err = os.WriteFile(filepath.Join(dir, "pushd.toml"), []byte(config), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSymlinkDeploy: current → releases/one is started; the link moves to
// releases/two, and one is removed. A reload then reads program, config and
// relative paths of the new release, however they were named.
func TestSymlinkDeploy(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bare  bool // release one has no config
		flags []string
	}{
		{"a config that is found", false, nil},
		{"a config that is named", false, []string{"-c", "pushd.toml"}},
		{"a config that comes with the second release", true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := pushdtest.Start(t, pushdtest.Options{Manual: true})
			release(t, s, "one", tc.bare)
			release(t, s, "two", false)
			current := filepath.Join(s.Dir, "current")
			link := func(name string) {
				if err := os.Symlink("releases/"+name, current+".new"); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(current+".new", current); err != nil {
					t.Fatal(err)
				}
			}
			run := func(verb string, flags ...string) string {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
				defer cancel()
				c := exec.CommandContext(ctx, "./pushd", append([]string{verb}, flags...)...)
				c.Dir = current // and so $PWD
				c.Env = append(s.Command(ctx).Env, "PWD="+current, "PUSHD_COUNT=1", "PUSHD_LOG_FILE=../../pushd.log")
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s\n%s", verb, err, out, s.Log())
				}
				return string(out)
			}
			link("one")
			run("start", append(tc.flags, "-d")...)
			path := "/one"
			if tc.bare {
				path = "/echo"
			}
			s.Dial(path).Close()
			link("two")
			if err := os.RemoveAll(filepath.Join(s.Dir, "releases", "one")); err != nil {
				t.Fatal(err)
			}
			run("reload", tc.flags...)
			s.Dial("/two").Close()
			if out := run("status", tc.flags...); !strings.Contains(out, "two") {
				t.Errorf("it runs\n%s", out)
			}
			for _, p := range s.Processes() {
				if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID)); err == nil && filepath.Base(cwd) != "two" {
					t.Errorf("%v works in %s", p, cwd)
				}
			}
			run("stop", tc.flags...)
		})
	}
}
