package seldom

import (
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestOneASecond: however the wall clock leaps, there is a line each second.
func TestOneASecond(t *testing.T) {
	var l Limit
	now := time.Now()
	for _, leap := range []time.Duration{0, time.Hour, -time.Hour, 30 * 24 * time.Hour, -24 * time.Hour} {
		now = testkit.Leap(now, leap)
		if !l.Allow(now) {
			t.Errorf("nothing is logged after a leap of %v", leap)
		}
		if l.Allow(now.Add(999 * time.Millisecond)) {
			t.Errorf("a second line in the second of a leap of %v", leap)
		}
		now = now.Add(time.Second)
	}
}
