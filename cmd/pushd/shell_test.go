package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// interactive are the shells that shell-init knows, run as at a prompt but
// without anybody's own settings.
var interactive = map[string][]string{
	"bash": {"bash", "--noprofile", "--norc", "-i"},
	"zsh":  {"zsh", "-f", "-i"},
	"fish": {"fish", "--no-config", "-i"},
}

// atPrompt types lines at the prompt of an interactive shell and returns what
// the program and the shell have printed.
func atPrompt(t *testing.T, shell, dir string, env []string, lines ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	c := exec.CommandContext(ctx, interactive[shell][0], interactive[shell][1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), append([]string{"TERM=dumb", "HOME=" + dir, "PUSHD_RUNTIME_DIR=" + dir + "/run"}, env...)...)
	c.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\nexit 0\n")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	return string(out)
}

// links puts the program into a folder by both of its names.
func links(t *testing.T) (bin string) {
	bin = t.TempDir()
	program := pushdtest.BuildAs(t, "cmd/pushd", "pushd")
	for _, name := range []string{"pushd", "pushctl"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// TestShellInit types our verbs and the shell's own pushd at a prompt.
func TestShellInit(t *testing.T) {
	bin := links(t)
	for shell := range interactive {
		t.Run(shell, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"check", "elsewhere"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			load := `eval "$(pushctl shell-init)"`
			if shell == "fish" {
				load = "pushctl shell-init | source"
			}
			got := atPrompt(t, shell, dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH")},
				load,
				"pushd version --json", // a verb: ours
				"pushd status",
				"pushd check; pwd; popd", // a verb, but a folder too: the shell's
				"pushd elsewhere; pwd",   // the shell's
			)
			for _, want := range []string{
				`"program":"pushd `,
				"no master answers in",
				"use `pushctl start`",
				dir + "/check",
				dir + "/elsewhere",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in:\n%s", want, got)
				}
			}
		})
	}
}

// TestHintsUseTheNameTyped: what an error tells people to type works when typed.
func TestHintsUseTheNameTyped(t *testing.T) {
	bin := links(t)
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{"pushctl", "./bin/pushd", bin + "/pushctl", "env pushd"} {
		got := atPrompt(t, "bash", dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, typed+" status", typed+" relod", typed)
		name := strings.TrimPrefix(typed, "env ")
		for _, want := range []string{"use `" + name + " start`", "did you mean `" + name + " reload`", name + " COMMAND", "shell-init"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in:\n%s", typed, want, got)
			}
		}
	}
}
