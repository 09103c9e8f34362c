package cmd

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestInit(t *testing.T) {
	sandbox(t)
	if code, out, errOut := run(t, "init"); code != 0 || !strings.Contains(out, "pushd start\n") {
		t.Fatalf("%d %q %q", code, out, errOut)
	}
	info, err := os.Stat("pushd.toml")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, mode %v, want 0600", err, info.Mode())
	}
	before, _ := os.ReadFile("pushd.toml")
	if code, _, errOut := run(t, "init"); code != 1 || !strings.Contains(errOut, "exists") {
		t.Fatalf("a second init: %d %q", code, errOut)
	}
	if after, _ := os.ReadFile("pushd.toml"); string(after) != string(before) {
		t.Fatal("a second init has changed the file")
	}
	secrets := regexp.MustCompile(`"[0-9a-f]{32}"`).FindAllString(string(before), -1)
	seen := map[string]bool{}
	for _, s := range secrets {
		seen[s] = true
	}
	if len(secrets) != 4 || len(seen) != 4 {
		t.Fatalf("secrets %q, want four, no two alike", secrets)
	}
	if code, out, _ := run(t, "init", "other.toml"); code != 0 || !strings.Contains(out, "start -c other.toml") {
		t.Fatalf("%d %q", code, out)
	}
	if _, out, _ := run(t, "init", "-"); !strings.HasPrefix(out, "# Config of pushd") {
		t.Fatalf("init - printed %q", out)
	}
}

// TestInitKeysAreValid: each key that the file only shows can be switched on.
func TestInitKeysAreValid(t *testing.T) {
	text, err := newConfig()
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"(demo|echo|chat|notify|pusher)"`).ReplaceAllString(text, `"test-ok"`) // the handlers of this test program
	text = strings.ReplaceAll(text, "www-data", "root")
	all := regexp.MustCompile(`(?m)^#([^ #])`).ReplaceAllString(text, "$1")
	for name, config := range map[string]string{"as written": text, "all keys": all} {
		dir := sandbox(t)
		write(t, dir+"/pushd.toml", config)
		if code, out, errOut := run(t, "check"); code != 0 {
			t.Errorf("%s: %d %s%s\n%s", name, code, out, errOut, config)
		}
	}
}
