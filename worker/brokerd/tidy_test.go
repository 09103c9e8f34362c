package brokerd

import (
	"runtime"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestTidies: what a storm leaves goes back to the system, without a change of the
// workers; at rest nothing is done.
func TestTidies(t *testing.T) {
	over, gone := make(chan struct{}), make(chan struct{})
	go func() { defer close(gone); tidies(over, 10*time.Millisecond) }()
	defer func() { close(over); <-gone }()
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	for range 2 {
		before := forced()
		var storm [][]byte
		pushdtest.Eventually(t, "memory is given back", func() bool { // which grows until it is: the last time may still be under way
			storm = append(storm, make([]byte, 256<<10))
			return forced() > before
		})
		runtime.KeepAlive(storm)
	}
}
