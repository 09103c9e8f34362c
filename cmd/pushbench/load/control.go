package load

import (
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

// controlSleep is what a control sleeps at a time.
const controlSleep = 2 * time.Millisecond

// StartControl starts a thread that sleeps for 2 ms again and again, and does
// nothing else, until stop is called: by how much it wakes late, the machine is to
// blame and no server. late gets each of these times, in ns; it is to be left alone
// until stop has returned.
func StartControl(late *hdrhistogram.Histogram) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case <-quit:
				return
			default:
			}
			due := client.Now() + int64(controlSleep)
			at := unix.NsecToTimespec(due)
			for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) == unix.EINTR {
			}
			_ = late.RecordValue(min(max(client.Now()-due, 0), late.HighestTrackableValue()))
		}
	}()
	return func() { close(quit); <-done }
}
