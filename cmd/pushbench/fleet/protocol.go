// Package fleet runs load in several processes: one cannot hold more
// connections than it may have descriptors, nor leave from one address with
// more than there are ports. The coordinator starts copies of its own program
// as agents and talks JSON with them over their standard input and output.
package fleet

import "github.com/pushd/pushd/cmd/pushbench/load"

// AgentCommand is the argument with which the program becomes an agent.
const AgentCommand = "agent"

// Job is the first thing that an agent reads.
type Job struct {
	Run     uint32      `json:"run"`
	Agent   uint32      `json:"agent"`
	Sources []string    `json:"sources,omitempty"` // local addresses to leave from, in turn
	Loads   []load.Spec `json:"loads"`
}

// command is what an agent reads after its job.
type command struct {
	Do      string `json:"do"` // one of the constants
	On      bool   `json:"on,omitempty"`
	DrainNS int64  `json:"drain_ns,omitempty"`
}

// Commands.
const (
	doStart  = "start"  // begin the traffic
	doMark   = "mark"   // begin or end a stretch whose latencies are kept apart
	doStop   = "stop"   // end the traffic; answered by eventStopped
	doReport = "report" // answered by eventReport
)

// event is what an agent writes.
type event struct {
	Kind     string         `json:"kind"` // one of the constants
	Counters *load.Counters `json:"counters,omitempty"`
	Seq      uint32         `json:"seq,omitempty"`
	Report   *load.Report   `json:"report,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// Events.
const (
	eventReady    = "ready"    // all standing connections are open, or have failed
	eventProgress = "progress" // Counters, a few times a second
	eventSeen     = "seen"     // all members have message Seq of the watched stream
	eventStopped  = "stopped"  // nothing of its own is on its way any more
	eventReport   = "report"   // Report
	eventError    = "error"    // Error; the agent ends
)
