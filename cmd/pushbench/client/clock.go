package client

import (
	"time"

	"golang.org/x/sys/unix"
)

var (
	origin    = time.Now()
	originRaw = monotonicRaw()
)

func monotonicRaw() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

// Now is the machine's monotonic clock in nanoseconds: the same in every
// process, so that a latency may be measured across two of them.
func Now() int64 { return originRaw + int64(time.Since(origin)) }
