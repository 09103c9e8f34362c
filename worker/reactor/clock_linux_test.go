package reactor

import (
	"testing"
	"time"
)

// clockError is far below the second in which deadlines are kept, and above what
// a busy machine may put between two readings at start.
const clockError = 500 * time.Millisecond

// TestClock compares the clock that costs no system call with the system's.
func TestClock(t *testing.T) {
	for range 100 {
		before, now, after := bootClock(), Monotonic(), bootClock()
		if now < before-clockError || now > after+clockError {
			t.Fatalf("clock says %v, between %v and %v", now, before, after)
		}
	}
}
