package worker

// transport is what a connection speaks. There is one value of each kind, in
// the seats of its connections, and one file for it, transport_NAME.go: whoever
// asks what a connection can do asks here, and nobody asks which one it is. A
// further one is its file and a call of register.
//
// All functions run on the loop. nil ones do nothing.
type transport struct {
	name   string     // of Conn.Protocol; "" is the scheme of the listener
	number uint64     // in records: 0 HTTP, 1 WebSocket, 2 packets, 3 TLS, 4 server-sent events, 5 a poll, 6 carried, 7 lines; means nothing unless moves
	behind *transport // what such a connection has spoken at first; nil is this
	flags  flags      // that one can have when it arrives from another process

	talks    bool // it has members and users and is sent messages, from OnConnect on
	moves    bool // it can go to another process
	requests bool // it answers requests, and begins none while a hand-over waits for answers that are due
	stays    bool // its socket has come to stay: see reactor.Settle
	events   bool // what is published reaches it as events: see OnEvent
	once     bool // it lasts for one datagram and is in no registry
	whole    bool // no message may be dropped: a slow client is closed, whatever the group's Slow

	// open begins with a client that has just come in.
	open func(c *Conn)
	// await sets the first deadline of one that is quiet.
	await func(c *Conn)
	// receive works on what the client has sent and returns what has to wait. It
	// may overwrite p. Where it changes the transport, the rest is the next one's.
	receive func(c *Conn, p []byte) []byte
	// encode appends a message as the client reads it.
	encode func(c *Conn, dst []byte, m Message) []byte
	// variant tells apart what encode makes of a message of n bytes for different
	// connections: those of one variant are sent the same bytes.
	variant func(c *Conn, n int) variant
	// collect takes what is sent, encoded, in place of the socket; nil: that does.
	// What the client says meanwhile waits.
	collect func(c *Conn, b []byte)
	// goodbye sends what ends the stream, and reports whether the client answers
	// that. nil: that our side is closed says it all.
	goodbye func(c *Conn, code int, reason string) (answers bool)
	// due acts on the deadline.
	due func(c *Conn)
	// check finds a contradiction in a record of such a connection, whose flags
	// are among flags. It runs on any goroutine.
	check func(a *arrival) error

	cut error // of OnClose when the stream ends without a goodbye; nil: that is one
}

// variant is a key: what is equal of connections that are sent equal bytes.
type variant struct {
	transport *transport
	port      *port // where the encoding is the listener's
	bits      uint8 // where messages are compressed, or for whom they are worded
}

// The transports that a listener begins with, by its scheme, and those that
// records know, by number.
var (
	schemes  = map[string]*transport{}
	byNumber [16]*transport
)

// register makes t known. Call it from an init function: what transports do
// leads to each other, so their values are set there.
func register(t *transport, listen ...string) {
	for _, scheme := range listen {
		schemes[scheme] = t
	}
	if t.moves {
		if byNumber[t.number] != nil {
			panic("worker: two transports have one number")
		}
		byNumber[t.number] = t
	}
}

// numbered returns the transport of a record, nil for one unknown here.
func numbered(n uint64) *transport {
	if n >= uint64(len(byNumber)) {
		return nil
	}
	return byNumber[n]
}

// asks reports whether the next bytes are a request's.
func (c *Conn) asks() bool { return c.transport.requests && c.stage == stageOpen }

// speak gives the connection another transport.
func (c *Conn) speak(t *transport) { c.sit(c.route.at(c.port, t)) }

// sit gives the connection another seat. Its TLS session comes along.
func (c *Conn) sit(s *seat) {
	if c.session == nil {
		c.seat = s
		return
	}
	c.place = s.place
}
