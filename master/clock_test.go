package master

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestTimesOutliveTheClock: what one program leaves to the next is as old there as
// it was, however the wall clock leaps before and behind that.
func TestTimesOutliveTheClock(t *testing.T) {
	begin := time.Now()
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 30 * 24 * time.Hour, -24 * time.Hour} {
		now := testkit.Leap(begin.Add(time.Minute), leap) // in the old program
		data, err := json.Marshal(carried(begin, now))
		var read time.Time
		if err == nil {
			err = json.Unmarshal(data, &read)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := now.Sub(read).Round(time.Millisecond); got != time.Minute {
			t.Errorf("a leap of %v before: a minute is written as %v", leap, got)
		}
		next := now.Add(time.Second)
		got := testkit.Leap(next, leap).Sub(arrived(read, next)).Round(time.Millisecond)
		if got != time.Minute+time.Second {
			t.Errorf("a leap of %v before and behind: a minute and a second became %v", leap, got)
		}
	}
	for range 1000 { // as long as nobody sets the clock a time stays what it was
		if got := carried(begin, time.Now()); !got.Equal(begin) {
			t.Fatalf("%v became %v", begin, got)
		}
	}
	if !carried(time.Time{}, begin).IsZero() || !arrived(time.Time{}, begin).IsZero() {
		t.Error("never became a moment")
	}
}
