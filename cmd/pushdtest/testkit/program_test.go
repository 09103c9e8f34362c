package testkit

import (
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWriteProgram: what was written can be run at once, while other tests
// start processes without a pause.
func TestWriteProgram(t *testing.T) {
	var done atomic.Bool
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for !done.Load() {
				_ = exec.Command("/bin/true").Run()
			}
		})
	}
	defer others.Wait()
	defer done.Store(true)
	path := filepath.Join(t.TempDir(), "program")
	for range 100 {
		WriteProgram(t, path, []byte("#!/bin/true\n"), 0o755)
		if err := exec.Command(path).Run(); err != nil {
			t.Fatal(err)
		}
	}
}
