package testkit

import (
	"time"
	"unsafe"
)

// Leap returns t as time.Now would have returned it had the wall clock been set
// forwards by so many whole seconds: what was measured before still has the same
// distance to it, and the date is another one. t is of time.Now.
func Leap(t time.Time, by time.Duration) time.Time {
	was := t
	// Of a time with a monotonic reading the seconds of the wall clock are above the
	// 30 bits of nanoseconds, in the first word.
	(*struct{ wall uint64 })(unsafe.Pointer(&t)).wall += uint64(by/time.Second) << 30
	if t.Sub(was) != 0 || t.Round(0).Sub(was.Round(0)) != by {
		panic("testkit: Leap does not know how this release of Go keeps time")
	}
	return t
}
