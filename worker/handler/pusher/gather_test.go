package pusher

import "testing"

// TestIsChannel: /v1 can join what no client can, which must do no harm.
func TestIsChannel(t *testing.T) {
	for name, want := range map[string]bool{"": false, "#server-to-user-1": false, "a": true, "presence-x": true} {
		if isChannel(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
