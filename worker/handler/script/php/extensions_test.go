package php_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNoExtension: the files call nothing that is of an extension which a PHP may not
// have, but where they ask first. What is built into this PHP is there without ini files.
func TestNoExtension(t *testing.T) {
	asked := []string{"posix_getppid", "posix_kill", "token_get_all", "token_name", "bind", "run", "say", "text"} // the last four are Pushd's own
	files, err := filepath.Glob("shim/*.php")
	must(t, err)
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, call := range regexp.MustCompile(`\\([a-z_0-9]+)\(`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, call[1])
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) < 100 {
		t.Fatalf("%d functions are called: %q", len(names), names)
	}
	out, err := exec.Command("php", append([]string{"-n", "-r", `foreach (array_slice($argv, 1) as $f) if (!function_exists($f)) echo "$f\n";`, "--"}, names...)...).Output()
	must(t, err)
	for _, name := range strings.Fields(string(out)) {
		if !slices.Contains(asked, name) {
			t.Errorf("%s() needs an extension", name)
		}
	}
}
