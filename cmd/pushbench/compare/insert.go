package compare

import (
	"fmt"
	"os"
	"strings"
)

// Insert puts text into a file in place of what stands between the lines
// "<!-- pushbench: name -->" and "<!-- end -->". A file without them is left alone.
func Insert(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin := fmt.Sprintf("<!-- pushbench: %s -->\n", name)
	head, rest, found := strings.Cut(string(old), begin)
	if !found {
		return nil
	}
	const end = "<!-- end -->"
	at := strings.Index(rest, end)
	if at < 0 {
		return fmt.Errorf("%s: no %q behind %q", file, end, strings.TrimSpace(begin))
	}
	return os.WriteFile(file, []byte(head+begin+text+rest[at:]), 0o644)
}
