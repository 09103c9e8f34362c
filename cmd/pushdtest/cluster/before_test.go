package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// before is a commit of a version that nodes of this one must get on with.
const before = "fa636b4be80fc744cd3b9b90f1b127651127a5f8"

// build builds the program of a commit and returns its bytes.
func build(t *testing.T, commit string) []byte {
	t.Helper()
	dir := t.TempDir()
	tree, tar, out := filepath.Join(dir, "tree"), filepath.Join(dir, "tree.tar"), filepath.Join(dir, "pushd")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{
		exec.Command("git", "-C", pushdtest.Root(t), "archive", "-o", tar, commit),
		exec.Command("tar", "-xf", tar, "-C", tree),
		exec.Command("go", "build", "-C", tree, "-o", out, "./cmd/pushd"),
	} {
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c.Args, err, text)
		}
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestNodesOfTheVersionBefore: nodes of two versions count as one, and each is upgraded,
// and one of them taken back, while both publish: nothing is lost, doubled or closed.
func TestNodesOfTheVersionBefore(t *testing.T) {
	if !full() {
		t.Skip("builds an old commit: set PUSHD_TEST_FULL=1")
	}
	old := build(t, before)
	now, err := os.ReadFile(pushdtest.Build(t, "cmd/pushd"))
	if err != nil {
		t.Fatal(err)
	}
	c := Start(t, Options{Config: patient, Nodes: 2, Program: old})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 2)
	// A connection that a process of then moves may count nowhere, if that takes long.
	senders := []*sender{{node: n1, loose: true}, {node: n2, loose: true}}
	for _, step := range []struct {
		node *Node
		to   []byte
	}{{n1, now}, {n2, now}, {n1, old}, {n1, now}} {
		whole(t, senders, len(all))
		testkit.WriteProgram(t, step.node.Binary, step.to, 0o755)
		over := step.node.start("reload")
		for wait := true; wait; {
			select {
			case failed := <-over:
				if wait = false; failed != "" {
					t.Fatalf("reload of %s: %s", step.node.Name, failed)
				}
			default:
				for _, s := range senders {
					s.publish(t, len(all))
				}
			}
		}
		n1.wantNodes("n1 ready 2 2 this", "n2 ready 2 2")
	}
	last := whole(t, senders, len(all))
	for i, k := range all {
		got := k.until(last...)
		for _, s := range senders {
			s.check(t, i, got)
		}
	}
}
