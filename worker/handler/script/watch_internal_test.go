package script

import "testing"

// TestSavedWhileStarting: a file that is saved while a process starts, which may have
// read it before, is as new afterwards.
func TestSavedWhileStarting(t *testing.T) {
	h := &handler{starting: true, seen: map[string]stamp{"chat.php": {1, 10}}}
	h.look(map[string]stamp{"chat.php": {2, 10}, "more.php": {5, 5}})
	if h.seen["chat.php"] != (stamp{1, 10}) || h.seen["more.php"] != (stamp{5, 5}) {
		t.Errorf("it has seen %v", h.seen)
	}
}
