package worker

import (
	"time"

	"github.com/pushd/pushd/worker/survey"
)

// askTimeout is how long the other processes have to answer.
const askTimeout = 250 * time.Millisecond

// StatsAll asks every worker process of every group for its counters and calls
// fn on the loop a quarter of a second later with those that have answered, in
// the order of group, slot and generation. It does not wait. While a slot is
// being replaced both of its processes answer. Errors: ErrBrokerBusy,
// ErrBrokerAway, ErrNoServices; then fn is not called.
func (w *Worker) StatsAll(fn func(all []ProcessStats)) error {
	return w.loop.broker.Gather(BusQuery{What: "stats"}, askTimeout, func(answers []Answer, _ bool) {
		all := survey.StatsOf(answers)
		w.loop.post(func() { fn(all) })
	})
}
