// Package control is the language between the master and its children: JSON
// messages, with descriptors attached where needed, over one SOCK_SEQPACKET
// socketpair per child, which the child finds at descriptor FD.
//
// Only these messages and the plan cross versions of the program during a
// reload or a binary upgrade, so both carry a version and neither ever changes
// the meaning of a field.
package control

import (
	"encoding/json"
	"math/bits"
	"time"
)

// Version is the version of this language. A child that reads a greater one in
// Init answers Failed and exits.
const Version = 1

// FD is the number at which a child finds its end of the socketpair.
const FD = 3

// RoleEnv names the environment variable that makes the program a child. Its
// value is the Role; the rest of what a child needs comes in Init.
const RoleEnv = "PUSHD_ROLE"

// A Role says what a child process is for.
type Role string

const (
	RoleWorker Role = "worker"
	RoleBroker Role = "broker"
)

// Message types. The master speaks in the imperative, a child reports.
const (
	TypeInit   = "init"   // master → child, first message: Init
	TypeStop   = "stop"   // master → child: Stop
	TypePing   = "ping"   // master → child, with ID; a worker answers from its loop
	TypeQuery  = "query"  // either way, with ID: Query; answered by answer
	TypeReopen = "reopen" // master → child, one descriptor: the new stderr
	TypeRoster = "roster" // master → broker, with ID: Roster; answered by answer

	TypeCopy = "copy" // master → child, with ID and one descriptor: Copy, in the place of the one of that name; answered by answer

	TypeBus = "bus" // master → any, with ID: Bus, a step of the broker process's replacement; answered by answer

	// The live hand-over of connections, from the worker that leaves to the one
	// that stays. Each has an ID and is answered by answer.
	TypeImport = "import" // master → new worker, one end of a stream socketpair: take what comes
	TypeExport = "export" // master → old worker, the other end: Export, hand over; answer: Exported
	TypeResume = "resume" // master → old worker: the new one is dead, go on serving

	TypeRenew = "renew" // master → worker, with ID: replace the programs of its scripts, nothing else; answered by answer: a list of Renewed

	TypeKeep = "keep" // broker process → master: what the next one gets as Tenure.Kept, at most MaxKept bytes of JSON

	TypeBusy   = "busy"   // child → master, while it starts, a broker process while it opens or leaves too: it gets on with much; the time that it has for that begins anew
	TypeReady  = "ready"  // child → master: it serves
	TypeFailed = "failed" // child → master: Failed; it exits on its own
	TypePong   = "pong"   // child → master, with the ID of the ping
	TypeAnswer = "answer" // either way, with the ID of the question
	TypeReport = "report" // worker → master, once its clients have left: all that it has counted, as "stats"
)

// Message is one datagram.
type Message struct {
	Type  string          `json:"type"`
	ID    uint64          `json:"id,omitempty"`
	Error string          `json:"error,omitempty"` // in an answer: why there is no body
	Body  json.RawMessage `json:"body,omitempty"`

	// A body that is too long for one datagram comes in parts, in order, in
	// messages of the same type and ID.
	Part []byte `json:"part,omitempty"`
	More bool   `json:"more,omitempty"` // another part follows
}

// Init tells a child who it is. Descriptor numbers are those of the child.
type Init struct {
	Version    int             `json:"version"`
	Role       Role            `json:"role"`
	Name       string          `json:"name"` // of the worker group
	Slot       int             `json:"slot"` // from 0
	Generation int             `json:"generation"`
	Listeners  []Listener      `json:"listeners"`
	BusFD      int             `json:"bus_fd"`               // worker: O_PATH descriptor of the broker's socket, 0 = none
	BalanceFD  int             `json:"balance_fd,omitempty"` // worker: memory that the processes of its group share, 0 = none
	DrainMS    int64           `json:"drain_ms"`             // over how long to close clients when the master is gone
	Spec       json.RawMessage `json:"spec"`                 // from the plan, opaque to the master

	// Standby makes a broker process that opens nothing before bus says so: the
	// one before it still serves.
	Standby bool `json:"standby,omitempty"`

	// Heir makes a worker that is to take the connections of another one over:
	// TypeImport follows, and what was carried comes before all else.
	Heir bool `json:"heir,omitempty"`

	// Restarts is how often the process of this slot has died since the master started.
	Restarts int `json:"restarts,omitempty"`
	// FormerUID is the user of the broker process before, 0 = root's or none.
	FormerUID int `json:"former_uid,omitempty"`
	// Tenure is for a broker process: the node's right to its name. A master that
	// does not know it gives none.
	Tenure *Tenure `json:"tenure,omitempty"`
	// Copies are what the process needs of files that it may have no right to.
	Copies []Copy `json:"copies,omitempty"`
}

// Tenure is by what the broker processes of one node, which follow each other,
// are known to the other nodes of a cluster as one. The master draws it when it
// starts.
type Tenure struct {
	Token uint64 `json:"token"`
	AgeMS int64  `json:"age_ms"`         // since it was drawn
	Held  bool   `json:"held,omitempty"` // a process with it has served

	Kept json.RawMessage `json:"kept,omitempty"` // of the process before: the nodes that it knew
	// Workers are those that live, as in Roster, which follows once this process
	// serves: until then it says and waits for these. At a start, until all are ready, and
	// for a master of an earlier version nil: not known.
	Workers []string `json:"workers"`
}

// MaxKept bounds Tenure.Kept, in bytes.
const MaxKept = 32 << 10

// Copy is a sealed file in memory with what the master has made of files: a
// certificate and its key in one piece, say. It is read from its start, by
// position: all processes share the descriptor's own.
type Copy struct {
	Name string `json:"name"` // as in the plan
	Kind string `json:"kind"`
	FD   int    `json:"fd,omitempty"` // in Init; in TypeCopy the descriptor comes with the message
}

// CopyMax is the longest copy in bytes.
const CopyMax = 1 << 20

// Listener is an inherited socket, already bound and listening.
type Listener struct {
	Address string `json:"address"` // as in the plan, e.g. "websocket://127.0.0.1:2346"
	FD      int    `json:"fd"`
}

// Renewed is the replacement of one program of a script.
type Renewed struct {
	Title   string  `json:"title"`
	OldPID  int     `json:"old_pid"`  // 0 = there was none
	NewPID  int     `json:"new_pid"`  // the old one's: it has stayed, as the program wants
	PauseMS float64 `json:"pause_ms"` // in which its clients were not heard
	Closed  int     `json:"closed"`   // connections that only the old one knew, or for whom the new one has no place
}

// Stop asks a child to leave: stop accepting at once, close its clients with
// Code spread over DrainMS, then exit 0. With Graceful it waits for clients to
// leave by themselves, up to TimeoutMS (0 = no bound), and then does the same; a
// second Stop without Graceful ends that wait. With Report a worker says what it
// has counted before it ends.
type Stop struct {
	Graceful  bool   `json:"graceful,omitempty"`
	Code      int    `json:"code"`
	Reason    string `json:"reason,omitempty"`
	DrainMS   int64  `json:"drain_ms"`
	TimeoutMS int64  `json:"timeout_ms,omitempty"`
	Report    bool   `json:"report,omitempty"` // not of a master that does not know TypeReport
}

// Failed says at which step a child gave up and why.
type Failed struct {
	Step  string `json:"step"` // e.g. "load handlers", "connect to broker"
	Error string `json:"error"`
}

// Query asks for data. A worker knows "stats", "connections" and QueryRecords; the master
// answers "stats" to the broker process with the object of `status --json`.
type Query struct {
	What string          `json:"what"`
	Args json.RawMessage `json:"args,omitempty"`
}

// QueryRenew is of the broker process: it has written files of copies, which all
// processes are to have before the answer comes. Its arguments are a list of Issue.
const QueryRenew = "renew"

// Issue is a certificate that the broker process orders, for the status.
type Issue struct {
	File  string    `json:"file"`
	Due   time.Time `json:"due"`             // when it is ordered next
	Error string    `json:"error,omitempty"` // why it could not be
}

// QueryNodes asks the broker process for the nodes of the cluster: a list of Node,
// empty on a bus of its own.
const QueryNodes = "nodes"

// Node is a machine's pushd as one of them sees it.
type Node struct {
	Node        string  `json:"node"`
	Self        bool    `json:"self,omitempty"`
	State       string  `json:"state"` // "ready", "quiet", "lost", "leaving"
	Version     string  `json:"version"`
	Workers     int     `json:"workers"`
	Connections int     `json:"connections"`      // of those workers that have answered
	RTTMS       float64 `json:"rtt_ms,omitempty"` // 0 = not known
	SilentS     int     `json:"silent_s"`         // since its last sign of life
	URL         string  `json:"url"`              // server of the bus that its broker process hangs on
	OtherApps   bool    `json:"other_apps"`       // its [[app]] or [[channel]] differ from this node's
}

// QueryConnections asks the broker process for a page of the connections of all nodes,
// as GET /v1/connections. Only where there may be several nodes is it among Answers.
const QueryConnections = "connections"

// QueryServices asks the broker process for its services that do not do all that they
// should: a list of ServiceState.
const QueryServices = "services"

// Answers are the questions that a broker process of this version answers, as a plan
// says it: one of a version before says nothing, not even no.
var Answers = []string{QueryNodes, QueryServices}

// ServiceState says what somebody has to know of a service.
type ServiceState struct {
	Service string `json:"service"`
	Says    string `json:"says"`
}

// QueryRecords asks a worker how many of its connections have a record that a
// reader of Records.Version cannot read. A worker that does not know the
// question has none.
const QueryRecords = "records"

// QueryClients asks a worker for its "stats" and how many connections are about to end,
// QuerySettled for the same once its handlers are done with what hand-overs have brought.
// A worker of an earlier version knows neither.
const (
	QueryClients = "clients"
	QuerySettled = "settled"
)

// Records is that question, and its answer.
type Records struct {
	Version     int `json:"version"`
	Unreadable  int `json:"unreadable,omitempty"`
	Connections int `json:"connections,omitempty"`
}

// Bus is a step of the broker process's replacement. Each is done by all whom
// it concerns before the next one begins: the new broker process receives, the
// old one pauses, the workers pause, the old one drains, the workers drain, the
// old one stops, the new one opens, the workers rejoin and proceed.
type Bus struct {
	Do      string `json:"do"`
	BoundMS int64  `json:"bound_ms"` // for the step
}

// Values of Bus.Do.
const (
	BusReceive = "receive" // broker process on standby, with one end of a channel: Carried come through it
	BusPause   = "pause"   // worker: send nothing more; broker process, with the other end: end the requests in flight, send the clients' connections
	BusDrain   = "drain"   // worker: take what the broker still has for you; broker process: send what is left
	BusOpen    = "open"    // broker process on standby: serve
	BusRejoin  = "rejoin"  // worker: be subscribed at the new one
	BusProceed = "proceed" // worker: send again
)

// TypeCarried is what an old broker process sends to the new one: a client's
// connection, its descriptor with the first message of it.
const TypeCarried = "carried"

// Carried is a client's connection, or one more part of its prefix.
type Carried struct {
	Door   string `json:"door"`          // the listener it came through
	TLS    bool   `json:"tls,omitempty"` // which speaks it
	Prefix []byte `json:"prefix"`        // received, not worked on
	More   bool   `json:"more"`          // another part follows
}

// Roster names the live workers, so that the broker process knows whose answer
// to wait for, and the groups that there are. A master of an earlier version does
// not say these.
type Roster struct {
	Workers  []string `json:"workers"`            // texts of Identity, without a node
	Draining bool     `json:"draining,omitempty"` // the master is stopping: readiness fails from now on
	Parting  bool     `json:"parting,omitempty"`  // and all clients are closed; not while a graceful stop waits
	Groups   []string `json:"groups,omitempty"`   // of the node's workers, also those of which none lives
}

// Export tells the old worker who gets its connections. A master of an earlier version
// does not say.
type Export struct {
	To string `json:"to,omitempty"` // text of Identity, without a node
}

// Exported is the old worker's answer to export, once all is moved or the
// hand-over has failed. After a failure it holds still until resume or stop.
type Exported struct {
	Moved   int     `json:"moved"`   // committed: the new worker owns them
	Left    int     `json:"left"`    // not movable: streams of HTTP, connections about to close
	Drained int     `json:"drained"` // moved, but the new config has no place for them: closed with 1012
	Bytes   int64   `json:"bytes"`   // of state carried
	Pauses  []int64 `json:"pauses"`  // histogram: how many connections paused, by PauseBucket
	MaxUS   int64   `json:"max_us"`  // longest pause, µs
	TookUS  int64   `json:"took_us"` // from the first batch to the last, µs
	Step    string  `json:"step,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// PauseBucket returns the place of a pause of us microseconds in
// Exported.Pauses. A bucket is at most an eighth wider than its lower end.
func PauseBucket(us int64) int {
	n := bits.Len64(uint64(max(us, 0)))
	if n <= 3 {
		return int(max(us, 0))
	}
	return (n-3)*8 + int(us>>(n-4))&7
}

// PauseLimit returns the longest pause, in microseconds, of bucket i.
func PauseLimit(i int) int64 {
	if i < 8 {
		return int64(i)
	}
	n := i/8 + 3
	return (int64(8+i%8)+1)<<(n-4) - 1
}
