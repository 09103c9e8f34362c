package bus

import "github.com/pushd/pushd/worker/history"

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
	Code   uint16   // of KindKick: close code; of KindService: Notice.Code; of a message: CodeNumberOnly, CodeUnkept
	Except []string // connection ids that are left out
	Data   []byte   // immutable once published
	Local  bool     // only for connections of the publisher's node; not part of what is sent
	Unkept bool     // not for the channel's history; not part of what is sent, but as Code
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

// MaxData is the most bytes that one publication carries.
const MaxData = 1 << 20

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
