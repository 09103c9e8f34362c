package master

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// A State says what a slot's process does. The words are part of `status`.
type State string

// States of a worker slot and of the broker process.
const (
	Starting State = "starting" // spawned, not yet ready
	Ready    State = "ready"    // it serves
	Full     State = "full"     // it serves, and has no place for one more connection; told by the worker
	Draining State = "draining" // told to leave, closing its clients
	Degraded State = "degraded" // dies again and again; tried every 10 s
	Stopped  State = "stopped"  // no process, the next attempt is due within 10 s
)

// Status is the object of `status --json`.
type Status struct {
	Version string         `json:"version"`
	Master  MasterStatus   `json:"master"`
	Workers []WorkerStatus `json:"workers"` // by group in plan order, slot, generation
	Broker  BrokerStatus   `json:"broker"`
	Reloads ReloadStatus   `json:"reloads"`

	// Nodes are those of the cluster, this one among them; none on a bus of its own.
	Nodes []control.Node `json:"nodes,omitempty"`
	// NodesUnknown says why Nodes is empty though there may be several.
	NodesUnknown string `json:"nodes_unknown,omitempty"`

	// Services are those of the broker process that do not do all that they should.
	Services []control.ServiceState `json:"services,omitempty"`

	Certificates []CertificateStatus `json:"certificates"` // by file

	// Ended is what worker groups had counted that are no more. With it the
	// counters of Workers add up to all that was counted since the master started.
	Ended control.Counters `json:"ended"`

	// DatagramsDropped is how many datagrams the kernel has thrown away, by
	// address, since the socket was opened: nobody had read those before. Only
	// addresses that have lost some are there.
	DatagramsDropped map[string]uint64 `json:"datagrams_dropped,omitempty"`

	// SocketsGone are unix sockets whose file somebody has removed: no client
	// can connect. A reload or restart makes them anew.
	SocketsGone []string `json:"sockets_gone,omitempty"`
}

// MasterStatus describes the master process.
type MasterStatus struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`

	Goroutines int `json:"goroutines"`
}

// BrokerStatus describes the broker process.
type BrokerStatus struct {
	PID    int      `json:"pid"` // 0 = none at the moment
	State  State    `json:"state"`
	Listen []string `json:"listen,omitempty"` // in the order of the plan, with the port that was bound
}

// ReloadStatus counts the reloads since the master started. One that several
// callers share counts once.
type ReloadStatus struct {
	OK         uint64  `json:"ok"`
	Failed     uint64  `json:"failed"`
	PauseMaxMS float64 `json:"pause_max_ms"` // of the last reload, failed or not: the longest pause of a connection
}

// WorkerStatus describes one worker process, or a slot without one. In JSON the
// fields of Stats stand beside the others.
type WorkerStatus struct {
	Name       string    `json:"name"`
	Slot       int       `json:"slot"` // from 0
	PID        int       `json:"pid"`  // 0 = none at the moment
	State      State     `json:"state"`
	Generation int       `json:"generation"` // 1 at start, one more with each reload
	Started    time.Time `json:"started"`    // of the process
	Listen     []string  `json:"listen"`     // with the port that was bound
	RSSBytes   int64     `json:"rss_bytes"`
	Restarts   int       `json:"restarts"` // of the slot, since the master started

	// Ended is the part of the counters that earlier processes of the slot have
	// counted, and those of slots that the group had.
	Ended control.Counters `json:"ended"`

	// Stats is what the worker said last to the query "stats" (worker.Stats), its
	// counters with Ended. The master passes on what it does not know. Never nil.
	Stats json.RawMessage `json:"-"`
}

// noStats is shown for a process that has not answered yet.
var noStats = json.RawMessage(`{"connections":0,"messages_in":0,"messages_out":0,` +
	`"send_failures":0,"queue_bytes":0,"timers":0,"loop_lag_ms":0}`)

// plainWorkerStatus has the fields of WorkerStatus without its methods.
type plainWorkerStatus WorkerStatus

// MarshalJSON merges Stats with the other fields, which win.
func (w WorkerStatus) MarshalJSON() ([]byte, error) {
	own, err := json.Marshal(plainWorkerStatus(w))
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	for _, object := range []json.RawMessage{noStats, w.Stats, own} {
		if len(object) == 0 {
			continue
		}
		if err := json.Unmarshal(object, &all); err != nil {
			return nil, err
		}
	}
	if w.State == Ready && string(all["accept_paused"]) == "true" {
		all["state"] = json.RawMessage(`"` + Full + `"`)
	}
	return json.Marshal(all)
}

// UnmarshalJSON sets Stats to the whole object, out of which a reader takes the
// fields that it knows.
func (w *WorkerStatus) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*plainWorkerStatus)(w)); err != nil {
		return err
	}
	w.Stats = append(json.RawMessage(nil), data...)
	return nil
}

// Started is what `start` tells once every worker is ready.
type Started struct {
	PID        int
	Version    string
	RuntimeDir string
	LogFile    string // "" = stderr
	Groups     []StartedGroup
	BrokerUser string   // "" = the master's
	Broker     []string // listeners of the broker process, with the port that was bound
	Chosen     []string // of the groups' listeners those whose port the system has chosen
}

// StartedGroup is one worker group of Started.
type StartedGroup struct {
	Name   string
	User   string   // as in the plan, "" = the master's
	Listen []string // with the port that was bound
	Count  int
	Room   int // connections that each process takes, 0 = not known
}

// ReloadReport is the outcome of a reload, the object of `reload --json`.
type ReloadReport struct {
	OK           bool          `json:"ok"`
	Moved        int           `json:"moved"`   // connections that live on in a new process
	Drained      int           `json:"drained"` // connections that were asked to come back
	Pause        Pause         `json:"pause_ms"`
	BytesCarried int64         `json:"bytes_carried"`
	Slots        []SlotReport  `json:"slots"`
	Master       *MasterReport `json:"master,omitempty"` // nil = its program has not changed
}

// MasterReport is the replacement of the master's own code.
type MasterReport struct {
	OldVersion string `json:"old_version"`
	NewVersion string `json:"new_version"`
	MS         int64  `json:"ms"` // for which it answered nobody
}

// Pause is how long connections stood still while they were moved, in ms.
type Pause struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// SlotReport is the replacement of one process.
type SlotReport struct {
	Worker     string  `json:"worker"` // the name of the group, "broker" for the broker process
	Slot       int     `json:"slot"`
	OldPID     int     `json:"old_pid"` // 0 = the slot is new, or had no process
	NewPID     int     `json:"new_pid"` // 0 = the slot was removed
	Moved      int     `json:"moved"`
	MS         int64   `json:"ms"`
	HandoverMS float64 `json:"handover_ms"` // the part of MS in which connections moved

	// Scripts are the programs that were replaced beside the process, which stays.
	Scripts []control.Renewed `json:"scripts,omitempty"`
}

// add counts a reload that has ended.
func (s *ReloadStatus) add(r *ReloadReport) {
	if r.OK {
		s.OK++
	} else {
		s.Failed++
	}
	s.PauseMaxMS = r.Pause.Max
}

// StepInterrupted is the Step of a reload that a stop falls into: no code serves on.
const StepInterrupted = "interrupted"

// ReloadError says why a reload was given up; what it had not reached serves
// on unchanged, what it had replaced serves with the new code.
type ReloadError struct {
	Worker string // "" = before any slot
	Slot   int
	Step   string // e.g. "plan", "bind", "start", "load handlers", or a step of the hand-over as "canary"
	Lost   int    // connections that had moved to the new process and ended with it
	Done   int    // processes that had been replaced before, and keep the new code
	Err    error
}

func (e *ReloadError) Error() string { return e.Step + ": " + e.Err.Error() }
func (e *ReloadError) Unwrap() error { return e.Err }

// reloadFailure is the object of a failed `reload --json`.
type reloadFailure struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
	Worker string `json:"worker"`
	Slot   int    `json:"slot"`
	Step   string `json:"step"`
	Lost   int    `json:"lost"`
	Done   int    `json:"replaced"`
}

// MarshalJSON gives the object of a failed `reload --json`.
func (e *ReloadError) MarshalJSON() ([]byte, error) {
	return json.Marshal(reloadFailure{Error: e.Error(), Worker: e.Worker, Slot: e.Slot, Step: e.Step, Lost: e.Lost, Done: e.Done})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (e *ReloadError) UnmarshalJSON(data []byte) error {
	var f reloadFailure
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*e = ReloadError{f.Worker, f.Slot, f.Step, f.Lost, f.Done, errors.New(strings.TrimPrefix(f.Error, f.Step+": "))}
	return nil
}

// Progress is a step of a running reload.
type Progress struct {
	Worker string `json:"worker"`
	Slot   int    `json:"slot"`
	Step   string `json:"step"`  // "start", "drain", "done"
	Done   int    `json:"done"`  // slots that are through
	Total  int    `json:"total"` // slots of this reload
}
