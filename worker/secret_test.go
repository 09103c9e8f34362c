package worker

import (
	"strings"
	"testing"
)

func TestCheckSecret(t *testing.T) {
	for _, placeholder := range []string{"…", "...", "my-…", "<secret>", "changeme", "Change-Me", "change_me", "xxx", "XXXXXXXXXXXXXXXXXXXX"} {
		if err := CheckSecret(placeholder, 1); err != ErrPlaceholder {
			t.Errorf("%q: %v, want a refusal as a placeholder", placeholder, err)
		}
	}
	for _, good := range []string{"0123456789abcdef", strings.Repeat("ö", 8), "a-secret-of-my-own"} {
		if err := CheckSecret(good, MinSecret); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, short := range []string{"", "xx", "0123456789abcde"} {
		if err := CheckSecret(short, MinSecret); err == nil || short != "" && strings.Contains(err.Error(), short) {
			t.Errorf("%q: %v, want a refusal that does not show it", short, err)
		}
	}
}
