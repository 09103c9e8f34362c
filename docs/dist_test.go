package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestDist unpacks what `make dist` makes where a server without Go would, and
// types the name that the documents type.
func TestDist(t *testing.T) {
	dist, bin := t.TempDir(), t.TempDir()
	command := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dist
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	command("make", "-C", pushdtest.Root(t), "dist", "DIST="+dist, "ARCHES="+runtime.GOARCH)
	command("sha256sum", "--check", "SHA256SUMS")
	archive := filepath.Join(dist, "pushd-linux-"+runtime.GOARCH+".tar.gz")
	for range 2 { // the second time is an upgrade
		command("tar", "-xzf", archive, "-C", bin)
	}
	command(filepath.Join(bin, "pushctl"), "version")
	if to, err := os.Readlink(filepath.Join(bin, "pushctl")); err != nil || to != "pushd" {
		t.Errorf("pushctl is a link to %q, %v", to, err)
	}
}
