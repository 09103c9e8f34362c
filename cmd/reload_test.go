package cmd

import (
	"errors"
	"testing"

	"github.com/pushd/pushd/master"
)

// TestFailedReload: what failed half way is not said to be the old code.
func TestFailedReload(t *testing.T) {
	for done, want := range []string{
		"reload failed at w/2, the old code keeps serving: start: no such port",
		"reload failed at w/2, 1 process has the new code, elsewhere the old code keeps serving: start: no such port",
		"reload failed at w/2, 2 processes have the new code, elsewhere the old code keeps serving: start: no such port",
	} {
		err := failedReload{&master.ReloadError{Worker: "w", Slot: 2, Step: "start", Done: done, Err: errors.New("no such port")}, "the old code keeps serving"}
		if err.Error() != want {
			t.Errorf("%d: %q", done, err)
		}
	}
	err := failedReload{&master.ReloadError{Step: master.StepInterrupted, Done: 1, Err: errors.New("the master stops")}, "the old code keeps serving"}
	if err.Error() != "reload failed: interrupted: the master stops" {
		t.Errorf("%q", err)
	}
}
