package script

import "github.com/pushd/pushd/worker"

// Script tells of the program, for `status`.
func (h *handler) Script() worker.ScriptStats {
	s := worker.ScriptStats{
		Title: h.title(), State: "starting", Births: h.births, Waiting: h.waiting(), Told: len(h.told), Bound: h.bound(), Held: h.clients.Held(),
		Holds: h.lost.holds, Doubts: h.lost.doubts, Strands: h.lost.held, Packets: h.lost.packets,
	}
	if h.deaths.again() {
		s.State = "degraded"
	}
	if p := h.cur; p != nil {
		s.State, s.PID, s.Started, s.RSSBytes, s.Batches = "ready", p.PID, p.born, p.Resident(), p.batches
		if p.stopping {
			s.State = "leaving"
		}
	}
	return s
}

// bound is how many connections end with the process, as far as it has said.
func (h *handler) bound() (n int) {
	for _, t := range h.told {
		if t&toldHeld != 0 {
			n++
		}
	}
	return n
}
