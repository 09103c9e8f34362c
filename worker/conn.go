package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/tls"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/reactor"
	"github.com/pushd/pushd/worker/record"
)

// Errors that Send returns and OnClose receives.
var (
	ErrClosed      = errors.New("connection is closed")
	ErrQueueFull   = errors.New("connection's queue is full: the message was dropped")
	ErrSlow        = errors.New("client reads too slowly: its queue is over max_queue")
	ErrTimeout     = errors.New("client did not answer the ping in time")
	ErrHandshake   = errors.New("client did not finish its request in time")
	ErrPanic       = errors.New("a callback panicked")
	ErrCloseCode   = errors.New("close code may not be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 may, 0 is none")
	ErrSessionFull = errors.New("session values exceed 64 KiB")
	ErrSessionKey  = errors.New("key of a session value has a NUL byte")
)

// CloseError says with which close code a WebSocket client left or was failed.
type CloseError = websocket.CloseError

// stage is how far the end of a connection is, whatever it speaks.
type stage uint8

const (
	stageOpen    stage = iota
	stageClosing       // our goodbye is said; waiting for the peer's
	stageDrain         // our side is done: bytes are thrown away until the peer closes
)

// flags of a connection.
type flags uint16

const (
	flagConnected flags = 1 << iota // OnConnect or OnResume ran, OnClose is due
	flagPaused                      // by PauseRead
	flagHeld                        // an answer is deferred: input waits
	flagPinged                      // a ping is out
	flagDeflate                     // permessage-deflate is negotiated
	flagFull                        // OnBufferFull ran
	flagEnd                         // destroy when the queue is empty
	flagDead                        // to be closed at the end of this turn
	flagMuted                       // its socket is not read
	_                               // meant something once; the bits of the others are in records
	flagBody                        // of a request: header is read, body is not
	flagMoving                      // on its way to another process
	flagSkip                        // has had some publications before it came; see skips
	flagGuest                       // there was no place for it when it came
	flagRest                        // on the waitlist: has input that waits for a turn, and is not listened to
	flagHeader                      // a header of the PROXY protocol comes first
)

// Conn is one client. It is cheap on purpose: what an idle connection does not
// need is in parts that exist only while they are used. A test holds it to 128
// bytes, which is a size class of Go's heap; the next one is 144.
type Conn struct {
	sock     reactor.Handle // not valid once closed
	loop     *loop          //
	*seat                   // port, route, transport
	id       ID
	in       *input // bytes of an unfinished message
	out      *queue // unsent frames
	more     *extra // what few connections have
	lastRecv uint32 // second of monotonic time of the last byte
	since    uint32 // second of Unix time of the accept
	control  uint32 // second<<16 | control frames in it
	flags    flags
	stage    stage
	bits     uint8                    // deflate window of what is sent
	msgs     struct{ in, out uint32 } // as bytes
	bytes    struct{ in, out uint32 } // modulo 2^32; the rest is extra.wraps
	groups   hub.List[*Conn]          // channels and uid
}

// seat is where a connection is, which it shares with all that came in there. A
// connection that goes elsewhere takes another one. One under TLS has a seat of its
// own, at the same place.
type seat struct {
	*place
	session *tls.Session // nil, or this one connection's, and the seat with it
}

// place is what the connections of a seat have in common. It never changes.
type place struct {
	port      *port      // the listener
	route     *route     // callbacks and rules; never nil
	transport *transport // what they speak; nil only in a record that is being read
}

// extra holds what few connections have.
type extra struct {
	texts   record.Texts
	counted *visitor // the address that admission counts, where it does
	wraps   wraps
	timers  map[*Timer]struct{}
	held    *held // a deferred handshake or response, or a TLS handshake
	dropped uint64
	err     error // for OnClose
}

func (c *Conn) extra() *extra {
	if c.more == nil {
		c.more = &extra{}
	}
	return c.more
}

// shed lets go of extra when nothing is in it.
func (c *Conn) shed() {
	x := c.more
	if x != nil && x.texts == "" && x.counted == nil && x.wraps == (wraps{}) &&
		len(x.timers) == 0 && x.held == nil && x.dropped == 0 && x.err == nil {
		c.more = nil
	}
}

func (c *Conn) has(f flags) bool { return c.flags&f != 0 }
func (c *Conn) set(f flags)      { c.flags |= f }
func (c *Conn) clear(f flags)    { c.flags &^= f }

// open reports whether the connection can be sent messages.
func (c *Conn) open() bool {
	return c.has(flagConnected) && !c.has(flagDead|flagEnd|flagMoving) && c.stage == stageOpen && c.transport.talks
}

// Open reports whether the connection can be sent messages here: it is neither
// being closed nor on its way to another process.
func (c *Conn) Open() bool { return c.open() }

// datagram reports whether c stands for a single UDP packet.
func (c *Conn) datagram() bool { return c.transport.once }

// Memberships implements hub.Member; it is of no use to callbacks.
func (c *Conn) Memberships() *hub.List[*Conn] { return &c.groups }

// ID returns the connection's name, unique over all processes and time. It
// survives reloads. Any goroutine.
func (c *Conn) ID() string { return c.id.String() }

// Worker returns the worker that runs the connection. Any goroutine.
func (c *Conn) Worker() *Worker { return c.loop.w }

// Send queues a message for the client, in the order of the calls; m.Data may
// be reused at once. It never blocks. Errors: ErrClosed, and ErrQueueFull or
// ErrSlow when the queue is over max_queue.
func (c *Conn) Send(m Message) error {
	if c.datagram() && c.sock.Valid() {
		return c.loop.sendDatagram(c, m)
	}
	if !c.open() {
		return ErrClosed
	}
	return c.loop.send(c, m)
}

// SendText sends a text message; s is UTF-8, see Message.
func (c *Conn) SendText(s string) error { return c.Send(Text(s)) }

// SendBinary sends a binary message.
func (c *Conn) SendBinary(b []byte) error { return c.Send(Binary(b)) }

// Close sends what is queued, then says goodbye: a WebSocket client gets a
// close frame with code and at most 123 bytes of reason, others the end of the
// stream. Calls after the first do nothing.
//
// Codes are 1000 and 3000 to 4999, the registered ones (1001 to 1003, 1007 to
// 1014), and 0 for a frame without any, as which those that are never sent go
// (1005, 1006, 1015). Clients take any other for a broken protocol: it is logged,
// and 1011 goes out.
func (c *Conn) Close(code int, reason string) {
	if c.datagram() {
		return
	}
	if !websocket.MayClose(code) {
		c.loop.badCode(c, code)
		code = int(websocket.CloseInternal)
	}
	c.loop.closeConn(c, code, reason, nil)
}

// Join makes the connection a member of channel; twice is once, and an empty name is
// no channel: nothing happens. With From, After
// or Last the channel's history is asked for first: the join takes place when it
// answers, at one place in the channel's messages, and OnRecovery tells of it.
// Until then, and across a reload, the connection is Joining; it asks for a
// further channel only while its queue is below a quarter of max_queue. A join
// without a position takes place at once where the process knows the place, and
// OnRecovery runs before Join returns. A member that joins again so stays one:
// what services say to the channel reaches it meanwhile, and its messages come
// with the answer.
func (c *Conn) Join(channel string, from ...JoinOption) {
	switch {
	case !c.open() || channel == "":
	case len(from) > 0:
		c.loop.joinFrom(c, channel, from[0])
	default:
		c.loop.recall.cancel(c, channel)
		c.loop.hub.Join(hub.Channel, channel, c)
	}
}

// Joining reports whether a join of channel waits for its history.
func (c *Conn) Joining(channel string) bool { return c.loop.recall.find(c, channel) >= 0 }

// Leave ends the membership of channel, or the join that waits, if there is one.
func (c *Conn) Leave(channel string) {
	c.loop.recall.cancel(c, channel)
	c.loop.hub.Leave(hub.Channel, channel, c)
}

// Channels returns the names that the connection has joined, in that order.
func (c *Conn) Channels() []string { return c.groups.Names(hub.Channel) }

// Channel returns the first channel joined whose name begins with prefix, or "".
// A handler that keeps each connection in one channel of its own sort needs no
// session value beside that.
func (c *Conn) Channel(prefix string) string { return c.groups.First(hub.Channel, prefix) }

// CountChannels returns how many channels the connection has joined.
func (c *Conn) CountChannels() int { return c.groups.Len(hub.Channel) }

// InChannel reports whether the connection has joined channel.
func (c *Conn) InChannel(channel string) bool { return c.groups.Has(hub.Channel, channel) }

// Bind gives the connection to a user, in place of the one before; "" is none. A user
// may have many connections.
func (c *Conn) Bind(uid string) {
	c.Unbind()
	if c.open() && uid != "" {
		c.loop.hub.Join(hub.UID, uid, c)
	}
}

// Unbind takes the connection from its user.
func (c *Conn) Unbind() {
	if uid := c.UID(); uid != "" {
		c.loop.hub.Leave(hub.UID, uid, c)
	}
}

// UID returns the user that the connection is bound to, or "".
func (c *Conn) UID() string { return c.groups.First(hub.UID, "") }

// maxSession bounds the session values of a connection, in bytes of keys and
// values.
const maxSession = 64 << 10

// Set stores a small session value that survives reloads; "" deletes it. One of
// a few bytes takes about 100 bytes of memory, the next ones not much more than
// themselves; but a change writes all of them anew. Errors: ErrSessionFull when
// keys and values together would exceed 64 KiB, ErrSessionKey.
func (c *Conn) Set(key, value string) error {
	if strings.IndexByte(key, 0) >= 0 {
		return ErrSessionKey
	}
	if value != "" && c.sessionSize(key)+len(key)+len(value) > maxSession {
		return ErrSessionFull
	}
	c.remember(record.Value, key, value)
	return nil
}

// sessionSize returns the bytes of the session values other than key's.
func (c *Conn) sessionSize(key string) int {
	if c.more == nil {
		return 0
	}
	n := c.more.texts.Size(record.Value)
	if old := c.Get(key); old != "" {
		n -= len(key) + len(old)
	}
	return n
}

// Get returns a session value, or "".
func (c *Conn) Get(key string) string { return c.text(record.Value, key) }

// Path returns the path of the handshake or the current request, "" where the
// protocol has none.
func (c *Conn) Path() string {
	if path := c.text(record.Path, ""); path != "" {
		return path
	}
	return c.route.exact
}

// RawQuery returns the query of the handshake, without "?".
func (c *Conn) RawQuery() string { return c.text(record.Query, "") }

// Param returns a parameter of the route's pattern: "key" for "/app/{key}".
func (c *Conn) Param(name string) string {
	return c.route.params.Param(c.Path(), name)
}

// Header returns a header that Handshake.Keep has kept.
func (c *Conn) Header(name string) string {
	if c.more == nil {
		return ""
	}
	return c.text(record.Header, canonical(name))
}

// Headers calls visit for each header that Handshake.Keep has kept.
func (c *Conn) Headers(visit func(name, value string)) {
	if c.more == nil {
		return
	}
	for t := c.more.texts; len(t) > 0; {
		tag, body, n := t.First()
		if name, value, ok := strings.Cut(body, "\x00"); ok && tag == record.Header {
			visit(name, value)
		}
		t = t[n:]
	}
}

// Subprotocol returns what the handshake agreed on.
func (c *Conn) Subprotocol() string { return c.text(record.Subprotocol, "") }

// Protocol returns "websocket", "http", "text" and so on.
func (c *Conn) Protocol() string {
	if name := c.transport.name; name != "" {
		return name
	}
	return c.port.addr.scheme
}

// RemoteAddr returns the client's address: as a trusted proxy tells it, else
// the peer's. It is not valid for unix sockets.
func (c *Conn) RemoteAddr() netip.AddrPort {
	if text := c.text(record.IP, ""); text != "" {
		if ip, err := netip.ParseAddr(text); err == nil {
			return netip.AddrPortFrom(ip, 0)
		}
	}
	return c.peer()
}

// RemoteIP returns the client's address as text, "" for unix sockets.
func (c *Conn) RemoteIP() string {
	if a := c.RemoteAddr(); a.Addr().IsValid() {
		return a.Addr().String()
	}
	return ""
}

// TLS tells version and cipher, "1.3 AES128", "" without TLS.
func (c *Conn) TLS() string {
	if c.session == nil {
		return ""
	}
	return c.session.String()
}

// LocalAddr returns the address of the listener, as configured.
func (c *Conn) LocalAddr() string { return c.port.addr.local }

// Listener returns the listener as the config has it: "websocket://0.0.0.0:2346".
func (c *Conn) Listener() string { return c.port.addr.text }

// Since returns when the connection was accepted, to the second.
func (c *Conn) Since() time.Time { return time.Unix(int64(c.since), 0) }

// QueueBytes returns how many bytes wait to be sent.
func (c *Conn) QueueBytes() int { return c.out.len() }

// PauseRead stops reading from the client, so that it feels back-pressure, and
// holds back the messages already read.
func (c *Conn) PauseRead() {
	if c.datagram() {
		return // the socket is that of all senders
	}
	c.set(flagPaused)
	c.loop.watch(c)
}

// ResumeRead undoes PauseRead.
func (c *Conn) ResumeRead() {
	if c.has(flagPaused) {
		c.clear(flagPaused)
		c.loop.resume(c)
	}
}

// After runs fn once, d from now, unless the connection ends before.
func (c *Conn) After(d time.Duration, fn func()) *Timer {
	var t *Timer
	t = c.loop.after(d, c.loop.users(func() {
		c.disown(t)
		fn()
	}))
	c.own(t)
	return t
}

// Every runs fn each d until it is stopped or the connection ends.
func (c *Conn) Every(d time.Duration, fn func()) *Timer {
	t := c.loop.every(d, c.loop.users(fn))
	c.own(t)
	return t
}

// own ties t to the connection; one that is gone, or a datagram, has no timers.
func (c *Conn) own(t *Timer) {
	if c.datagram() || c.has(flagDead) {
		t.Stop()
		return
	}
	x := c.extra()
	if x.timers == nil {
		x.timers = map[*Timer]struct{}{}
	}
	x.timers[t] = struct{}{}
	t.c = c
}

// disown forgets a timer that is over.
func (c *Conn) disown(t *Timer) {
	x := c.more
	if x == nil {
		return
	}
	if delete(x.timers, t); len(x.timers) == 0 {
		x.timers = nil
	}
	c.shed()
}

// String names the connection in logs.
func (c *Conn) String() string {
	return fmt.Sprintf("%s %s from %s", c.Protocol(), c.id, c.peer())
}
