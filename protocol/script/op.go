package script

import "fmt"

// Op says what a frame means. Those below 32 are a worker's, the others a
// handler's.
type Op byte

// Events, from the worker.
const (
	Open      Op = 1  // a connection: payload as in AppendOpen, aux bytes of session
	Message   Op = 2  // of a connection; flag Binary
	Close     Op = 3  // a connection has ended; aux close code, payload why
	Full      Op = 4  // half of its queue waits for the client
	Drain     Op = 5  // all of that is sent
	Packet    Op = 6  // a datagram, as in AppendPacket
	Resume    Op = 7  // as Open, of a connection that was here before this process
	Tick      Op = 8  // the end of a batch; connection is its number
	Stop      Op = 9  // leave; flag Successor: another process takes over, so CARRY
	Request   Op = 10 // an HTTP request, as in AppendRequest
	Carried   Op = 11 // what the process before has carried, as in AppendCarry
	Handshake Op = 12 // a client wants to stay: as Open, answered with Accept
	Channel   Op = 13 // a message on a channel that was subscribed to, as in AppendNamed; flag Binary
	Answer    Op = 14 // to a Call or an Order; connection is its number, payload JSON
	Setup     Op = 15 // the first frame: a Config
	Alarm     Op = 16 // a timer; connection is its number
	Leaving   Op = 17 // the worker ends and sends its clients away when this is done
	Reload    Op = 18 // a reload leaves this process, as it wants
)

// Orders, from the handler process.
const (
	Ready     Op = 32 // the first frame: a Welcome
	Send      Op = 33 // to a connection; flag Binary
	Many      Op = 34 // the same to several, as in AppendMany; flag Binary
	End       Op = 35 // close a connection; aux close code, payload reason
	Pause     Op = 36 // read no more of a connection
	GoOn      Op = 37 // undoes Pause
	Session   Op = 38 // what is kept with a connection, in place of what was
	All       Op = 39 // to all of the group, in all processes, but connection; flag Binary
	Done      Op = 40 // the batch of that number is done
	Poison    Op = 41 // this process dies of the callback of a connection, or of nobody's; payload u32: events of the batch that are done
	Held      Op = 42 // the program holds the connection, flag On, or does not any more; 0: those of the payload, see ParseHeld
	Carry     Op = 43 // for the successor, as in AppendCarry; opaque
	Bye       Op = 44 // all is said: the worker closes
	Publish   Op = 45 // to a channel, in all processes, but connection; as in AppendNamed; flag Binary
	Join      Op = 46 // connection joins the channel
	Leave     Op = 47 // connection leaves the channel
	Bind      Op = 48 // connection is a user's; empty: nobody's
	Order     Op = 49 // JSON, as the HTTP API takes it; connection is the answer's number, 0 for none
	Subscribe Op = 50 // this process gets Channel; flag On, or not any more
	Respond   Op = 51 // bytes of an HTTP answer; flag More
	Accept    Op = 52 // answers Handshake; aux HTTP status, 101 is yes; payload header lines, or text; flag Whole
	Call      Op = 53 // JSON; connection is the answer's number
	AskOpens  Op = 54 // from now on all connections are told, those that are here first; ends with an Answer
	Timer     Op = 55 // connection is its number; payload u32 milliseconds, 0 ends it; flag On: again and again
	Reply     Op = 56 // a datagram, as in AppendPacket
	Files     Op = 57 // what it has loaded since READY, for `watch`: names with a NUL between
)

// lastOp bounds what is an op at all, so that garbage is found early.
const lastOp Op = 63

// Flags of ops.
const (
	Binary    = 0x01 // a message is no text
	Successor = 0x01 // of Stop
	On        = 0x01 // of Held, Subscribe, Timer
	More      = 0x01 // of Respond: the answer goes on
	Whole     = 0x01 // of Accept: the payload of a no is an answer of HTTP/1.1, head and body
)

var names = map[Op]string{
	Open: "OPEN", Message: "MESSAGE", Close: "CLOSE", Full: "FULL", Drain: "DRAIN", Packet: "PACKET",
	Resume: "RESUME", Tick: "TICK", Stop: "STOP", Request: "REQUEST", Carried: "CARRIED",
	Handshake: "HANDSHAKE", Channel: "CHANNEL", Answer: "ANSWER", Setup: "CONFIG", Alarm: "ALARM", Leaving: "LEAVING", Reload: "RELOAD",
	Ready: "READY", Send: "SEND", Many: "MANY", End: "END", Pause: "PAUSE", GoOn: "GOON",
	Session: "SESSION", All: "ALL", Done: "DONE", Poison: "POISON", Held: "HELD", Carry: "CARRY",
	Bye: "BYE", Publish: "PUBLISH", Join: "JOIN", Leave: "LEAVE", Bind: "BIND", Order: "ORDER",
	Subscribe: "SUBSCRIBE", Respond: "RESPOND", Accept: "ACCEPT", Call: "CALL", AskOpens: "ASK_OPENS",
	Timer: "TIMER", Reply: "REPLY", Files: "FILES",
}

// Known reports whether this version has the op.
func (o Op) Known() bool { return names[o] != "" }

func (o Op) ofHandler() bool { return o >= Ready }

// String returns the name that the documentation uses.
func (o Op) String() string {
	if name := names[o]; name != "" {
		return name
	}
	return fmt.Sprintf("op %d", byte(o))
}
