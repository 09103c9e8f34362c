package master

import "time"

// A time that one program leaves to the next is written by the wall clock, which may
// be set at any moment. carried and arrived keep its distance to now: what the clock
// was set by while the old program ran, and is set by while the new one runs, counts
// for nothing.

// noLeap is by how much the wall clock and the one that is never set may differ: they
// are read one after the other, and drift.
const noLeap = time.Second

// carried is t for the record: the wall clock of now, less the age of t. Where nobody
// has set the clock it is t to the nanosecond, so that who asks sees the same again.
func carried(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	was, is := t.Round(0), now.Round(0).Add(t.Sub(now))
	if is.Sub(was).Abs() < noLeap {
		return was
	}
	return is
}

// arrived is t, from the record, as if this program had seen it.
func arrived(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}
