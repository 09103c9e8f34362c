package worker

// phase is where a worker process is in its life. There is one, and become is
// the only way to another:
//
//	            export             nothing is frozen,
//	            begins             answers are due first
//	 serving ──────────▶ handing ──────────────────────▶ waiting
//	  │   ▲                │  ▲                            │ │
//	  │   └────────────────┤  └────────────────────────────┘ │
//	  │     the other one  │      the next batch             │
//	  │     is dead        ├─────────────────────────────────┘
//	  │                    │
//	  │ stop               │ stop
//	  ▼                    ▼
//	leaving             retired
//
// What else may be so at the same time is no phase: that this process takes
// connections in (loop.importing), and that accepting is paused for want of room
// (admission.paused).
type phase uint8

const (
	phaseServing phase = iota
	phaseHanding       // connections go to another process: nobody is let in, timers rest
	phaseWaiting       // the same, but nothing is frozen: timers run, requests wait
	phaseLeaving       // stop was asked for: clients are sent away
	phaseRetired       // the same, and another process has taken over: its timers run, ours of the program do not
)

// become changes the phase, and reports whether it may: who leaves does not come
// back, whatever the other process does. It runs on the loop.
func (l *loop) become(p phase) bool {
	switch {
	case l.phase.leaving(), p == phaseWaiting && !l.phase.moving():
		return p == l.phase
	case p == phaseLeaving && l.phase.moving():
		p = phaseRetired
	}
	l.phase = p
	return true
}

// moving reports whether connections are being handed over.
func (p phase) moving() bool { return p == phaseHanding || p == phaseWaiting }

// leaving reports whether the process is about to end.
func (p phase) leaving() bool { return p == phaseLeaving || p == phaseRetired }
