package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestScriptPauses reads what `reload --json` has appended to a file, run after run.
func TestScriptPauses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reports")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"ok":true,"slots":[{"scripts":[{"pause_ms":7.5}]},{"scripts":[{"pause_ms":2}]}]}
{"ok":true,"slots":[{"scripts":[{"pause_ms":5}]},{"moved":3}]}
`)
	if ms, err := scriptPauses(file); err != nil || !slices.Equal(ms, []float64{2, 5, 7.5}) {
		t.Errorf("%v, %v", ms, err)
	}
	for _, text := range []string{"", `{"slots":[{}]}`, "no reload: the command failed"} {
		write(text)
		if ms, err := scriptPauses(file); err == nil {
			t.Errorf("%q has pauses %v", text, ms)
		}
	}
	if _, err := scriptPauses(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestPHPNeedsWorkerman: without the peer there is nothing to compare with.
func TestPHPNeedsWorkerman(t *testing.T) {
	for want, args := range map[string][]string{
		"--workerman":       {"php"},
		"--workerman: stat": {"php", "--workerman", "/nowhere/vendor/autoload.php"},
		"room for some 900": {"php", "--workerman", "php/program.php", "--php", "php -n"},
		"at least 500":      {"php", "--workerman", "/nowhere", "-n", "5"},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{"pushbench"}, args...), &out, &errs); code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
}
