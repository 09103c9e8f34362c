package compare

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInsert(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.md")
	for _, tc := range []struct{ in, want string }{
		{"a\n<!-- pushbench: verdict -->\nold\n<!-- end -->\nb\n", "a\n<!-- pushbench: verdict -->\nnew\n<!-- end -->\nb\n"},
		{"a\n<!-- pushbench: other -->\nold\n<!-- end -->\nb\n", "a\n<!-- pushbench: other -->\nold\n<!-- end -->\nb\n"},
	} {
		if err := os.WriteFile(file, []byte(tc.in), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Insert(file, "verdict", "new\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != tc.want {
			t.Errorf("%q became %q, want %q", tc.in, got, tc.want)
		}
	}
	if err := os.WriteFile(file, []byte("<!-- pushbench: verdict -->\nno end"), 0o600); err != nil {
		t.Fatal(err)
	}
	if Insert(file, "verdict", "new\n") == nil {
		t.Error("a place without an end is taken")
	}
}
