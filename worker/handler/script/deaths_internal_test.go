package script

import (
	"slices"
	"testing"
	"time"
)

// TestPauses: a process is followed by another at once, unless it has done nothing, or dies
// soon as the one before did.
func TestPauses(t *testing.T) {
	type life struct {
		lived   time.Duration
		batches int
	}
	calm, short, idle, slow := life{time.Hour, 1000}, life{50 * time.Millisecond, 2}, life{10 * time.Millisecond, 0}, life{5 * time.Second, 0}
	for name, x := range map[string]struct {
		lives []life
		want  []int // ms
	}{
		"each after a calm":           {[]life{calm, calm, calm}, []int{0, 0, 0}},
		"again and again":             {[]life{calm, short, short, short, short, short, short, short}, []int{0, 0, 100, 200, 400, 800, 1000, 1000}},
		"a calm in between":           {[]life{short, short, short, calm, short, short}, []int{0, 100, 200, 0, 0, 100}},
		"for nothing":                 {[]life{calm, idle, idle, idle, idle, idle, idle, idle, idle, idle}, []int{0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000}},
		"for nothing, after a while":  {[]life{slow, slow, slow}, []int{100, 200, 400}},
		"now with, now without a use": {[]life{short, idle, short, idle, short, idle}, []int{0, 100, 200, 400, 800, 1000}},
	} {
		var d deaths
		var got []int
		for _, l := range x.lives {
			if l.batches > 0 {
				d.works()
			}
			d.died(l.lived, l.batches)
			got = append(got, int(d.pause()/time.Millisecond))
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v ms, want %v", name, got, x.want)
		}
	}
}
