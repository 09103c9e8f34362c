package script

import "time"

const (
	pauseMin  = 100 * time.Millisecond
	pauseMax  = 10 * time.Second // before a process that follows some that have done nothing
	pauseSoon = time.Second      // before one that follows some that were of use; who is served by it would wait
	soon      = time.Second      // in which a process dies soon after it was ready
)

// deaths counts processes in a row that are not worth another one at once.
type deaths struct {
	idle int // have done nothing, or did not get ready
	soon int // have died soon, whatever they did
}

// died takes note of a process that was ready for a while and has done batches.
func (d *deaths) died(lived time.Duration, batches int) {
	if batches == 0 {
		d.idle++
	}
	d.soon++
	if lived >= soon {
		d.soon = 0
	}
}

// works takes note of a process that does something.
func (d *deaths) works() { d.idle = 0 }

// pause is how long the next process has to wait: not at all after one death that comes out
// of a calm, and the longer the more there were in a row.
func (d *deaths) pause() time.Duration {
	return max(grown(d.idle, pauseMax), grown(d.soon-1, pauseSoon))
}

// grown is pauseMin at the first, and twice as long at each of the next.
func grown(n int, most time.Duration) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(pauseMin<<min(n-1, 10), most)
}

// again reports whether it is not the first of its kind.
func (d *deaths) again() bool { return d.idle > 1 || d.soon > 1 }
