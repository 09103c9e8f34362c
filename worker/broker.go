package worker

import (
	"encoding/json"
	"errors"

	"github.com/pushd/pushd/worker/history"
)

// Errors of the publishing methods.
var (
	// ErrBrokerBusy: the queue towards the broker is full (64 Ki
	// publications or 64 MiB); the publication was not taken.
	ErrBrokerBusy = errors.New("broker queue is full: publishing faster than the broker takes")
	// ErrBrokerAway: the broker has not been reachable for more than a second;
	// the publication was not taken.
	ErrBrokerAway = errors.New("broker is away")
	// ErrUnavailable: the history that several nodes share takes no message now;
	// it may have taken this one.
	ErrUnavailable = errors.New("the shared history is not available")
	// ErrOutdated: the channel has had a message of this version or a higher one.
	ErrOutdated = errors.New("the version is not new")
)

// Scope says what kind of name a Target is. A user, a connection and "all" are
// channels too; the scope keeps their names apart.
type Scope byte

const (
	ScopeChannel Scope = 'c' // members of the channel Target
	ScopeUID     Scope = 'u' // connections bound to the user id Target
	ScopeConn    Scope = 'i' // the connection with the id Target
	ScopeAll     Scope = 'a' // every connection of the worker group Target, "" = all groups
	ScopeList    Scope = 'l' // the connections in Conns; in the order of the channel Target
)

// Kind says what is to be done for the connections that a publication reaches.
type Kind byte

const (
	KindMessage Kind = 'm' // send Data to them
	KindKick    Kind = 'k' // close them with Code and Data as the reason
	KindBind    Kind = 'b' // bind them to the uid in Data
	KindUnbind  Kind = 'B' // unbind them: from the uid in Data, from any if that is empty
	KindJoin    Kind = 'j' // join the channels in Data (JSON list)
	KindLeave   Kind = 'l' // leave the channels in Data (JSON list)

	// Data is several messages, see AppendMessage; each connection gets them
	// in one write. They are of a service, about the channel: ChannelSlow is
	// not applied to them.
	KindMessages Kind = 'M'
	// Data is a Notice for their handler.
	KindService Kind = 'S'
	// Data is a history.Reply: they join the channel Target here, and get what
	// they have missed of it. See Conn.Join.
	KindRecovery Kind = 'R'
	// Data is a list of history.Stand, by which processes know whether they have
	// missed something. Nobody gets it.
	KindStand Kind = 'H'
)

// Publication is one entry of the ordered stream between processes.
//
// Publisher, Shard and Seq are set by the broker client that sends it: per
// (Publisher, Shard) Seq counts 1, 2, 3 …, so that a receiver sees each
// publication once, in the publisher's order, and knows what it has missed.
type Publication struct {
	Publisher uint64 // random, new for each client of the broker
	Shard     uint8  // Shard(Scope, Target)
	Seq       uint64

	Kind   Kind
	Scope  Scope
	Target string
	Conns  []string // of ScopeList: connection ids
	Binary bool     // of KindMessage: opcode or type of the message
	Code   uint16   // of KindKick: close code; of KindService: Notice.Code; of a message to the history service: CodeNumberOnly
	Except []string // connection ids that are left out
	Data   []byte   // immutable once published
	Local  bool     // only for connections of the publisher's node; not part of what is sent
	Unkept bool     // not for the channel's history; not part of what is sent
	Stamp  *Stamp   // its place in the channel's history; nil = none, or not numbered yet
	Order  *Order   // what is asked of the history service; nil = nothing

	// Reply, when not empty, asks each worker to call Broker.Answer with it
	// when the publication has been queued for its connections.
	Reply string
}

// Stamp is the place of a message in the history of its channel.
type Stamp struct {
	history.Stamp
	Before uint64 // offset of the message before it in the same shard and app, 0 = none that is known
}

// CodeNumberOnly is the Code of a message with a Reply that only the service which
// numbers it is to answer, not the workers.
const CodeNumberOnly = 1

// Order is what the publisher of a message may ask of the service that numbers
// it.
type Order struct {
	// Key makes a second publish with it into the same channel, within 5 minutes,
	// nothing but the same answer. "" = none; at most history.MaxKey bytes.
	Key string
	// Version, unless 0, must be higher than that of each message before it in
	// the channel, or the message is dropped.
	Version uint64
}

// Numbered is the answer, as Answer.Data, of the service that numbers to a
// message with a Reply. It comes before those of the workers, whose answers
// follow only if the message was published.
type Numbered struct {
	Position history.Position `json:"position"`           // "" in a channel without history
	Repeated bool             `json:"repeated,omitempty"` // the key was known: this is the answer of then
	Outdated bool             `json:"outdated,omitempty"` // the version was not new: nobody gets it
	Failed   string           `json:"failed,omitempty"`   // why it could not be numbered: see ErrUnavailable
}

// HistoryService is the name of the service that numbers the messages of
// channels with history, and keeps them.
const HistoryService = "history"

// Shards is the fixed number of subjects that publications are spread over.
const Shards = 64

// Shard returns the subject, 0 to Shards-1, of a target: FNV-1a of scope and
// name. Every process must agree on it. A list shares the shard of the channel
// that it is ordered with.
func Shard(scope Scope, target string) uint8 {
	if scope == ScopeList {
		scope = ScopeChannel
	}
	h := uint32(2166136261)
	h = (h ^ uint32(scope)) * 16777619
	for i := 0; i < len(target); i++ {
		h = (h ^ uint32(target[i])) * 16777619
	}
	return uint8((h ^ h>>16) % Shards)
}

// Answer is what one worker process says to a publication or query with a
// Reply.
type Answer struct {
	Worker  string          `json:"w"`           // text of the control.Identity
	Reached int             `json:"n,omitempty"` // connections it was queued for, closed, bound …
	Data    json.RawMessage `json:"d,omitempty"` // of a query
	Heir    string          `json:"h,omitempty"` // likewise, of the process that has to answer too: connections have moved there
	Error   string          `json:"e,omitempty"`
}

// BusQuery is a question to every worker process, outside the stream.
type BusQuery struct {
	What   string          `json:"q"` // as control.Query.What
	Args   json.RawMessage `json:"a,omitempty"`
	Roster bool            `json:"r,omitempty"` // the asker also wants to know who has to answer
	Reply  string          `json:"-"`
}

// Broker carries publications between the processes. worker/broker implements
// it; it is made outside and handed to Serve. All methods but Start and Close
// are called on the loop, unless they say otherwise, and never block.
//
// That is what a worker cannot do without. A Broker may have further parts,
// which are in broker_parts.go: ServiceBus and Pauser.
type Broker interface {
	// Start connects, subscribes and returns once every publication published
	// from then on will be delivered to in.
	Start(in Inbox) error
	// Publish queues p, with Publisher and Seq still unset. It keeps p.Data
	// until it is sent. Errors: ErrBrokerBusy, ErrBrokerAway.
	Publish(p *Publication) error
	// PublishAll queues all of ps in their order or, with an error, none.
	PublishAll(ps []Publication) error
	// Barrier calls reached when all that was published here before has reached
	// the broker; with arrived, when besides all that had reached the broker by
	// then has been given to the Inbox. No other process is asked or woken. A
	// broker that dies meanwhile may never answer: ask again. Errors as of
	// Publish. Any goroutine may call it; reached runs on one of the broker
	// client's, as the methods of the Inbox do.
	Barrier(arrived bool, reached func()) error
	// Answer queues an answer. One that finds the queue full is dropped: the
	// asker then reports complete = false.
	Answer(reply string, a Answer)
	// Stats may be called by any goroutine.
	Stats() BrokerStats
	// Close sends what is queued, for at most a second.
	Close() error
}

// Inbox is where a Broker delivers to: the worker. All methods may be called by
// one goroutine at a time and may block while the loop is busy; the broker's
// client then buffers up to its own limit and counts what it drops as gaps.
type Inbox interface {
	// Deliver hands over publications in the order of the stream. The worker
	// owns the slice and its contents until it returns, the Data for good.
	Deliver(batch []Publication)
	// Query hands over a question to be answered by Broker.Answer.
	Query(q BusQuery)
	// Gap reports publications that were lost on the way.
	Gap(publisher uint64, shard uint8, missing uint64)
}

// BrokerStats counts since the process started.
type BrokerStats struct {
	Published uint64 // sent to the broker
	Refused   uint64 // ErrBrokerBusy and ErrBrokerAway
	Expired   uint64 // taken, then given up after a second without the broker
	Received  uint64
	Gaps      uint64 // publications known to be lost
	Connected bool
}
