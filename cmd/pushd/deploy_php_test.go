package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// instructions reads a Dockerfile: each as its word and the rest, comments and
// line ends taken out.
func instructions(t *testing.T, file string) (list [][2]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
	joined := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")
	for line := range strings.Lines(joined) {
		if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			list = append(list, [2]string{word, strings.TrimSpace(rest)})
		}
	}
	return list
}

// TestDockerfiles: there is no Docker here, so what can be wrong is looked at:
// words, files that are copied, the version of Go, and lists that are JSON.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	root := pushdtest.Root(t)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	for _, name := range []string{"Dockerfile", "Dockerfile.php"} {
		stages := map[string]bool{}
		for _, i := range instructions(t, filepath.Join(root, "deploy", name)) {
			word, rest := i[0], i[1]
			switch word {
			case "FROM":
				if image, as, named := strings.Cut(rest, " AS "); named {
					stages[as] = true
					if want := "golang:" + string(version[1]); strings.HasPrefix(image, "golang:") && image != want {
						t.Errorf("%s: %s, but go.mod wants %s", name, image, want)
					}
				}
			case "COPY":
				from := strings.Fields(rest)
				if stage, ok := strings.CutPrefix(from[0], "--from="); ok {
					if !stages[stage] {
						t.Errorf("%s: COPY %s: there is no such stage", name, rest)
					}
					continue
				}
				for _, f := range from[:len(from)-1] {
					if _, err := os.Stat(filepath.Join(root, f)); err != nil && !strings.HasPrefix(f, "--") {
						t.Errorf("%s: COPY %s: %v", name, rest, err)
					}
				}
			case "ENTRYPOINT", "CMD":
				var list []string
				if err := json.Unmarshal([]byte(rest), &list); err != nil || len(list) == 0 {
					t.Errorf("%s: %s %s: %v", name, word, rest, err)
				}
			case "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ARG", "LABEL":
			default:
				t.Errorf("%s: %q is no instruction that is used here", name, word)
			}
		}
	}
}

// TestComposeFile: the compose file is indented by twos without tabs, names files
// that are there, and sets variables that pushd reads.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pushdtest.Root(t), "deploy")
	text, err := os.ReadFile(filepath.Join(dir, "compose.php.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^(?:  )*(?:- .+|[A-Za-z_]+:(?: .+)?)$`)
	values := map[string]string{}
	for i, l := range strings.Split(string(text), "\n") {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if !line.MatchString(l) {
			t.Errorf("line %d: %q", i+1, l)
		}
		key, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
		values[key] = strings.Trim(value, `"`)
	}
	if _, err := os.Stat(filepath.Join(dir, values["context"], values["dockerfile"])); err != nil {
		t.Error(err)
	}
	if values["PUSHD_WATCH"] != "1" {
		t.Error("saved files are not watched")
	}
	app := regexp.MustCompile(`\$\{APP:-([^}]+)\}:/app`).FindStringSubmatch(string(text))
	if app == nil {
		t.Fatal("no folder is mounted at /app")
	}
	if _, err := os.Stat(filepath.Join(dir, app[1], "start.php")); err != nil {
		t.Error(err)
	}
}
