package sequencer

import "time"

// What is kept grows old by the wall clock, as it outlives processes. A clock that
// was set forwards is believed only after a while: until then all is as old as if it
// had not been, so that what was set in error, and is set back, has cost nothing.

const (
	settles = 10 * time.Minute // from a clock's leap forwards until it is believed
	leapMin = time.Second      // less is none
)

// clock notices leaps. The zero value is ready.
type clock struct {
	read   time.Time     // when it was read last
	behind time.Duration // what it was set forwards by and is not believed to be
	until  time.Time     // when it will be
}

// look reads the wall clock, now, and reports whether it was set back.
func (c *clock) look(now time.Time) (back bool) {
	var leap time.Duration
	if !c.read.IsZero() {
		leap = now.Round(0).Sub(c.read.Round(0)) - now.Sub(c.read)
	}
	c.read = now
	if leap > leapMin {
		c.until = now.Add(settles)
	}
	if c.behind += leap; c.behind < leapMin || !now.Before(c.until) {
		c.behind = 0
	}
	return leap < -leapMin
}
