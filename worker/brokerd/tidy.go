package brokerd

import (
	"time"

	"github.com/pushd/pushd/worker/memory"
)

// tidyEach is how often the process looks whether it has memory to give back.
const tidyEach = time.Second

// tidies gives back what a storm has left behind, until over is closed: thousands of
// clients that come at once ask the services what they have missed, and what that
// takes is garbage a moment later. It is a worker's way, see package memory.
func tidies(over <-chan struct{}, each time.Duration) {
	var t memory.Tidier
	done := make(chan func(), 1) // of the one that may run
	tick := time.NewTicker(each)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case fn := <-done:
			fn()
		case <-tick.C:
			if due, _ := t.Due(0, false); due {
				t.Tidy(func(fn func()) { done <- fn })
			}
		}
	}
}
