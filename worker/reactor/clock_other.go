//go:build !linux

package reactor

import "time"

var goClock = time.Now()

// Monotonic counts from the start of the process.
func Monotonic() time.Duration { return time.Since(goClock) }
