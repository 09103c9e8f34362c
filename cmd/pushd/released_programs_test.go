package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// renamed is what a program of the released commit has to say differently. Each
// is in the CHANGELOG, where the one who has such a program looks.
var renamed = []struct{ program, from, to string }{
	{"examples/pusher/main.go", `"github.com/pushd/pushd/worker/handler/pusher/wire"`, `wire "github.com/pushd/pushd/protocol/pusher"`},
	{"examples/pusher/main.go", "worker.DefaultApp()", "pusher.DefaultApp()"},
	{"examples/pusher/main.go", "w.Apps = []worker.App{app}", "pusher.SetApps(w, app)"},
	{"examples/pusher/main.go", "worker.App", "pusher.App"},
}

// TestReleasedProgramsCompile: README's program and the examples of the released
// commit compile against this code, unchanged but for what the CHANGELOG says.
func TestReleasedProgramsCompile(t *testing.T) {
	root, dir := pushdtest.Root(t), t.TempDir()
	git := func(args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	if exec.Command("git", "-C", root, "cat-file", "-e", released+"^{commit}").Run() != nil {
		t.Skipf("the history of this clone does not reach back to %s", released)
	}
	changes, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{} // by paths of this tree: what the compiler sees there; "" = nothing
	now, err := filepath.Glob(filepath.Join(root, "examples/*/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range now {
		replace[path] = ""
	}
	programs := map[string]bool{}
	put := func(name, text string) {
		for _, r := range renamed {
			if r.program == name {
				if !strings.Contains(text, r.from) || !strings.Contains(string(changes), r.to) {
					t.Errorf("%s: %s for %s is not needed, or not in the CHANGELOG", name, r.to, r.from)
				}
				text = strings.ReplaceAll(text, r.from, r.to)
			}
		}
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = file
		programs["./"+filepath.Dir(name)] = true
	}
	for _, name := range strings.Fields(git("ls-tree", "-r", "--name-only", released, "examples")) {
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			put(name, git("show", released+":"+name))
		}
	}
	_, readme, _ := strings.Cut(git("show", released+":README.md"), "```go\n")
	readme, _, _ = strings.Cut(readme, "```")
	put("examples/of-the-readme/main.go", readme)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"list", "-overlay", list, "-e", "-export", "-f", "{{with .Error}}{{.}}{{end}}{{with .DepsErrors}}{{.}}{{end}}"}
	for p := range programs {
		args = append(args, p)
	}
	c := exec.Command("go", args...)
	c.Dir = root
	out, err := c.CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil || said != "" {
		t.Errorf("%d programs of %s: %v\n%s", len(programs), released, err, said)
	}
}
