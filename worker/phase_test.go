package worker

import "testing"

// TestPhases goes every way there is, and tries those that there are not.
func TestPhases(t *testing.T) {
	all := []phase{phaseServing, phaseHanding, phaseWaiting, phaseLeaving, phaseRetired}
	want := map[phase]map[phase]phase{ // from, asked for: where that leads, if anywhere
		phaseServing: {phaseServing: phaseServing, phaseHanding: phaseHanding, phaseLeaving: phaseLeaving},
		phaseHanding: {phaseServing: phaseServing, phaseHanding: phaseHanding, phaseWaiting: phaseWaiting, phaseLeaving: phaseRetired},
		phaseWaiting: {phaseServing: phaseServing, phaseHanding: phaseHanding, phaseWaiting: phaseWaiting, phaseLeaving: phaseRetired},
		phaseLeaving: {phaseLeaving: phaseLeaving},
		phaseRetired: {phaseRetired: phaseRetired},
	}
	for _, from := range all {
		for _, to := range all {
			if to == phaseRetired && from != phaseRetired {
				continue // nobody asks for it: it is what leaving is while moving
			}
			l := &loop{phase: from}
			ok := l.become(to)
			at, legal := want[from][to]
			if !legal {
				at = from
			}
			if ok != legal || l.phase != at {
				t.Errorf("from %d to %d: %v, now %d; want %v, %d", from, to, ok, l.phase, legal, at)
			}
		}
	}
}
