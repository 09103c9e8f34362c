// Package seldom keeps a log from being flooded by one cause.
package seldom

import (
	"sync/atomic"
	"time"
)

// Limit lets one line a second through. The zero value is ready; any goroutine.
type Limit struct{ last atomic.Int64 } // ns since began

// began is a second before anything happens. Time is counted from it, as the wall
// clock may be set back, and lines must go on.
var began = time.Now().Add(-time.Second)

// Allow reports whether a line may be written now, which is time.Now.
func (l *Limit) Allow(now time.Time) bool {
	last, t := l.last.Load(), int64(now.Sub(began))
	return t-last >= int64(time.Second) && l.last.CompareAndSwap(last, t)
}
