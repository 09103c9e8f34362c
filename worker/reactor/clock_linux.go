package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic reads CLOCK_MONOTONIC, which all processes of a machine share, so
// that deadlines can move between them. Go's own clock is the same one, read
// without a system call, but counts from a moment of its own: sinceBoot is what
// that moment was, to a microsecond or so. Any goroutine.
func Monotonic() time.Duration { return sinceBoot + time.Since(goClock) }

var (
	goClock   = time.Now()
	sinceBoot = bootClock() - time.Since(goClock)
)

// bootClock asks the system.
func bootClock() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
