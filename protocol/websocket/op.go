package websocket

// Op says what an Event or a frame is. The values are those on the wire.
type Op uint8

// The kinds of messages and control frames (RFC 6455, section 11.8).
const (
	Text   Op = 0x1
	Binary Op = 0x2
	Close  Op = 0x8
	Ping   Op = 0x9
	Pong   Op = 0xa

	opContinuation Op = 0x0
)

// control tells Close, Ping and Pong, which may come between the fragments of
// a message, from everything else.
func (op Op) control() bool { return op&0x8 != 0 }

// String returns the name that RFC 6455 uses.
func (op Op) String() string {
	switch op {
	case opContinuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved"
}
