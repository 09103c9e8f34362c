package cmd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`([a-z_/]+_test\\.go):(Test\\w+)`")
	cell     = regexp.MustCompile(`\s*\|\s*`)
)

// TestCompareNamesItsTests keeps docs/compare.md honest: what it claims of pushd
// names a test that is there.
func TestCompareNamesItsTests(t *testing.T) {
	raw, err := os.ReadFile("../docs/compare.md")
	if err != nil {
		t.Fatal(err)
	}
	claims := 0
	for n, line := range strings.Split(string(raw), "\n") {
		columns := cell.Split(line, -1)
		if len(columns) < 4 || columns[2] != "✓" {
			continue
		}
		claims++
		names := testName.FindAllStringSubmatch(columns[3], -1)
		if rest := testName.ReplaceAllString(columns[3], ""); len(names) == 0 || strings.TrimSpace(rest) != "" {
			t.Errorf("compare.md:%d: %q names no test: write `path/x_test.go:TestX`", n+1, columns[3])
		}
		for _, name := range names {
			code, err := os.ReadFile(filepath.Join("..", name[1]))
			if err != nil {
				t.Errorf("compare.md:%d: %v", n+1, err)
			} else if !strings.Contains(string(code), "\nfunc "+name[2]+"(t *testing.T)") {
				t.Errorf("compare.md:%d: %s has no %s", n+1, name[1], name[2])
			}
		}
	}
	if claims < 20 {
		t.Errorf("%d claims were found: has the table another form?", claims)
	}
}
