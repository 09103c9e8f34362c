package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// released is the commit whose program must hand over to this one, and take
// back. Raise it only when a CHANGELOG says so.
const released = "9ffb97b"

// buildReleased builds pushd as it was there.
func buildReleased(t *testing.T, version string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	root := pushdtest.Root(t)
	if out, err := exec.Command("git", "-C", root, "cat-file", "-e", released+"^{commit}").CombinedOutput(); err != nil {
		t.Fatalf("the history of the repository does not reach back to %s: fetch all of it (git fetch --unshallow)\n%v %s", released, err, out)
	}
	tar := filepath.Join(dir, "pushd.tar")
	if out, err := exec.Command("git", "-C", root, "archive", "-o", tar, released).CombinedOutput(); err != nil {
		t.Fatalf("git archive: %v\n%s", err, out)
	}
	if out, err := exec.Command("tar", "-xf", tar, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	binary = filepath.Join(dir, "bin-pushd")
	c := exec.Command("go", "build", "-o", binary, "-ldflags=-X github.com/pushd/pushd/cmd.Version="+version, "./cmd/pushd")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", released, err, out)
	}
	return binary
}

// TestUpgradeFromHistory: from the program of a released commit to this one and
// back, under load, by `make test-full`.
func TestUpgradeFromHistory(t *testing.T) {
	if os.Getenv("PUSHD_TEST_FULL") != "1" {
		t.Skip("builds an old commit: set PUSHD_TEST_FULL=1")
	}
	old := buildReleased(t, "old")
	u := &upgradable{pushdtest.Start(t, pushdtest.Options{Config: reloadConfig, Manual: true}), t}
	u.Binary = filepath.Join(u.Dir, "pushd")
	u.install(old)
	u.MustRun("start", "-d")
	if v, _ := u.version(); !strings.Contains(v, "old") {
		t.Fatalf("it runs %s", v)
	}
	u.swapUnderLoad("old", old, "new", build(t, "new"))
}
