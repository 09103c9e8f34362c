package child

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// TestRest: what is printed without an end of its line is shown while the process runs.
func TestRest(t *testing.T) {
	var o output
	if err := o.open(&exec.Cmd{}); err != nil {
		t.Fatal(err)
	}
	ends := o.theirs[0] // of the process
	o.theirs[0], _ = os.Open(os.DevNull)
	lines := make(chan string, 8)
	o.read(&Process{}, func(_, line string) { lines <- line })
	defer o.wait(time.Minute)
	defer ends.Close()
	for _, x := range []struct {
		print string
		want  []string
	}{
		{"one\ntwo\n.", []string{"one", "two", "."}},
		{"..", []string{".."}},
		{"three\n", []string{"three"}},
	} {
		fmt.Fprint(ends, x.print)
		for _, want := range x.want {
			select {
			case got := <-lines:
				if got != want {
					t.Errorf("%q, want %q", got, want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%q is not shown", want)
			}
		}
	}
}

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
