package hook

import (
	"math/rand/v2"
	"time"
)

// Limits that no test needs to change.
const (
	maxBatch  = 500       // events in one POST
	maxBody   = 256 << 10 // bytes of events after which a POST takes no more
	compactAt = 1 << 20   // bytes of a journal below which it is left alone
	mendEvery = 5 * time.Second

	complainEvery = 10 * time.Second // about dropped events

	grace = 500 * time.Millisecond // that Close gives POSTs that are under way
)

// timing are the delays and limits, which tests shorten.
type timing struct {
	hold     time.Duration // of events that may be taken back
	first    time.Duration // pause after the first failed attempt; doubles
	longest  time.Duration // pause between attempts
	giveUp   time.Duration // age at which an event that was tried is dropped, and after so much failure any
	answer   time.Duration // for an endpoint's answer
	maxBytes int           // estimate, of what waits for one endpoint, and of the inbox
}

// Hold is how long an event waits that may be taken back.
const Hold = 3 * time.Second

// backoff is the pause after so many failed attempts in a row, up to a tenth
// longer, so that several servers do not come back at once.
func (tm *timing) backoff(failed int) time.Duration {
	d := tm.longest
	if shift := failed - 1; shift < 16 && tm.first<<shift < d {
		d = tm.first << shift
	}
	return d + rand.N(d/10+1)
}

// defaults are the delays and limits of the package's documentation.
var defaults = timing{
	hold: Hold, first: time.Second, longest: time.Minute, giveUp: 5 * time.Minute,
	answer: 10 * time.Second, maxBytes: 32 << 20,
}
