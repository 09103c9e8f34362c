package child

import (
	"fmt"
	"slices"
	"testing"
)

// TestLastWords: the last lines are kept, and of a long stack what has happened and the
// innermost calls.
func TestLastWords(t *testing.T) {
	var plain, stack Process
	for i := range 20 {
		plain.note(fmt.Sprint("line ", i))
	}
	if w := plain.Words(); len(w) != tailLines || w[0] != fmt.Sprint("line ", 20-tailLines) {
		t.Errorf("%q", w)
	}
	stack.note("Uncaught Error: no such file")
	stack.note("Stack trace:")
	for i := range 20 {
		stack.note(fmt.Sprintf("#%d a.php(1): call()", i))
	}
	stack.note("  thrown in a.php:1")
	w := stack.Words()
	for _, line := range []string{"Uncaught Error: no such file", "#0 a.php(1): call()", "#5 a.php(1): call()", "  thrown in a.php:1"} {
		if !slices.Contains(w, line) {
			t.Errorf("%q is not among %q", line, w)
		}
	}
	if len(w) != tailLines {
		t.Errorf("%d lines are kept", len(w))
	}
}
