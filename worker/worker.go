// Package worker runs the callbacks of a program over many connections: one
// process, one event loop, one goroutine of user code. More cores are used by
// more processes.
//
// Unless its documentation says otherwise, a method of Worker or Conn may be
// called only on the loop, that is from a callback, a timer, or a function
// given to Post. Nothing on the loop needs a lock; anything that blocks there
// stops every connection of the process, so blocking work goes through Go.
package worker

import (
	"errors"
	"time"

	"github.com/pushd/pushd/timer"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/reactor"
)

// A Worker is a group of equal processes that listen on the same addresses.
// Set its fields before cmd.Run; the processes are started from there. All
// callbacks are optional and run on the loop.
type Worker struct {
	Name  string // unique within the program; default "none", as in Workerman
	Count int    // processes; 0 = the CPUs that the cgroup allows
	User  string // run the processes as this user, by name or number; "" = as the master
	Group string // "" = the user's own group

	Settings

	// Routes send http and websocket connections to handlers by path. What no
	// route matches goes to Handler if set, else to the callbacks below.
	Routes  []Route
	Handler Handler
	// Origins and Protocols are those of a Route, for Handler and the callbacks
	// below.
	Origins, Protocols []string

	// Services are the options of services, and of the handlers that go with
	// them, see ServiceOptions. A handler's package has a function that sets
	// what is its own, such as pusher.SetApps.
	Services ServiceOptions

	// ChannelRules say how much of a channel's history is kept, and what becomes
	// of its messages when a client reads too slowly, by the channel's name. Like
	// Services they hold for the whole server: the entries [[channel]] of the
	// config count first, behind them those of every worker of the program.
	// SlowChannels of a group are asked before them, for that group.
	ChannelRules channel.Rules

	// OnWorkerStart runs before the first client is accepted. An error stops
	// the process from becoming ready.
	OnWorkerStart func(w *Worker) error
	// OnWorkerReload runs in a process that is about to be replaced.
	OnWorkerReload func(w *Worker)
	// OnWorkerResume runs in that process when it goes on after all, since the
	// one that was to replace it has failed. Connections that had gone there
	// already are gone with it, without OnClose.
	OnWorkerResume func(w *Worker)
	// OnWorkerStop runs last, after the connections are closed.
	OnWorkerStop func(w *Worker)

	// OnHandshake decides on a WebSocket upgrade. Without it all are accepted
	// that the origin rule lets through.
	OnHandshake func(c *Conn, h *Handshake)
	// OnRequest answers a plain HTTP request on the same port.
	OnRequest func(w *Response, r *Request)
	// OnConnect runs once a connection can be sent to: after the handshake, or
	// on accept where the protocol has none.
	OnConnect func(c *Conn)
	// OnMessage gets one whole message; m.Data is valid until it returns.
	OnMessage func(c *Conn, m Message)
	// OnClosing runs when this side begins to close a WebSocket: by Close, a kick,
	// a full queue. From then on nothing reaches its client, and nothing of it is
	// heard; OnClose follows when the client has answered, within 5 s.
	OnClosing func(c *Conn)
	// OnClose runs exactly once for each OnConnect or OnResume, when the
	// connection is gone. err is nil after an orderly close by either side.
	OnClose func(c *Conn, err error)
	// OnTimeout runs when a WebSocket client has not answered a ping in time. If
	// it does not Close the connection, that is cut without a close frame.
	// OnClose follows, with ErrTimeout.
	OnTimeout func(c *Conn)
	// OnError reports what went wrong without closing: ErrQueueFull when a
	// message was dropped, broker errors of asynchronous publishes.
	OnError func(c *Conn, err error)
	// OnBufferFull runs once when half of max_queue is waiting for a slow
	// client, OnBufferDrain when all of that has been sent.
	OnBufferFull  func(c *Conn)
	OnBufferDrain func(c *Conn)
	// OnResume runs instead of OnConnect for a live connection that arrived
	// from the process that this one replaces.
	OnResume func(c *Conn)
	// OnRecovery runs when a join with From, After or Last has taken place, also in
	// a process that took the connection over, and then perhaps before OnResume. It
	// runs for a member of a channel with history, too, when messages were lost on
	// their way: see Recovery.Again.
	OnRecovery func(c *Conn, r *Recovery)
	// OnPosition returns what clients get in place of a message of a channel with
	// history that have Conn.SetPositions: once for all of them, p is valid until
	// it returns, and the Data of the result must not change any more.
	OnPosition func(p *Published) Message
	// OnEvent returns what clients of streams get of a publication, whether its
	// channel has history or not; without OnEvent they get the message as data. It
	// runs as OnPosition does, once for all of them, or twice while joins of some
	// wait.
	OnEvent func(p *Published) Event

	listen []string
	loop   *loop // nil outside of Serve
}

// New returns a worker with default settings that listens on the given
// addresses: "websocket://0.0.0.0:2346" (alias ws), "http://…", "text://…",
// "frame://…", "tcp://…", "udp://…", "unix:///path", or the name of a protocol
// of one's own. A path instead of host and port makes any stream protocol
// listen on a unix socket.
func New(listen ...string) *Worker {
	return &Worker{Name: "none", Settings: DefaultSettings(), listen: listen}
}

// Listen returns the addresses given to New. Any goroutine.
func (w *Worker) Listen() []string { return w.listen }

// SetListen replaces the addresses, before the worker runs.
func (w *Worker) SetListen(addrs ...string) { w.listen = addrs }

// Slot returns the number of this process within the group, from 0. A process
// that replaces another one takes its number. Any goroutine.
func (w *Worker) Slot() int { return w.loop.slot }

// Generation counts how often this slot was started by start and reload. Any
// goroutine.
func (w *Worker) Generation() int { return w.loop.generation }

// First reports whether this process was started with the master: no reload has
// made it, and there was none before it that has died. Any goroutine may ask.
func (w *Worker) First() bool { return w.loop.first }

// Heir reports whether this process was started to take the connections of
// another one over: OnImport runs, if not at once. Any goroutine.
func (w *Worker) Heir() bool { return w.loop.heir }

// Message is what a client sends or is sent. A WebSocket's text is UTF-8: what comes
// in is looked at, what goes out is not, since that would cost each message for the
// mistake of a few. Browsers close the connection for text that is not UTF-8; other
// bytes go as Binary.
type Message struct {
	Data   []byte
	Binary bool // WebSocket opcode; protocols without one ignore it
}

// Text returns a text message; s is UTF-8, see Message.
func Text(s string) Message { return Message{Data: []byte(s)} }

// Binary returns a binary message.
func Binary(b []byte) Message { return Message{Data: b, Binary: true} }

// String returns the data as a string.
func (m Message) String() string { return string(m.Data) }

// Connections calls visit for each connection of this process until it returns
// false. To reach those of all processes, use Broadcast or Publish.
func (w *Worker) Connections(visit func(c *Conn) bool) {
	for _, c := range w.loop.conns.snapshot() {
		if c.open() && !visit(c) {
			return
		}
	}
}

// Has reports whether this process has the connection with that id. One that is
// being closed counts until its OnClose has run, one that has moved to another
// process does not.
func (w *Worker) Has(id string) bool {
	at, ok := ParseID(id)
	return ok && w.loop.conns.find(&at) != nil
}

// Find returns the connection of this process with that ID, nil if there is none.
func (w *Worker) Find(id string) *Conn { return w.loop.conns.named(id) }

// CountMembers returns how many connections of this process have joined channel;
// CountAll asks all processes.
func (w *Worker) CountMembers(channel string) int { return w.loop.size(hub.Channel, channel) }

// Channels calls visit for each channel that connections of this process have
// joined until it returns false, in no order.
func (w *Worker) Channels(visit func(name string, members int) bool) {
	w.loop.hub.Groups(hub.Channel, func(g *hub.Group[*Conn]) bool { return visit(g.Name(), len(g.Members())) })
}

// CountConnections returns the number of connections of this process.
func (w *Worker) CountConnections() int { return w.loop.conns.len() }

// Stats returns the counters of this process.
func (w *Worker) Stats() Stats { return w.loop.snapshot() }

// After runs fn once on the loop, d from now. It lives until it ran or was
// stopped, or the process ends.
func (w *Worker) After(d time.Duration, fn func()) *Timer { return w.loop.after(d, w.loop.users(fn)) }

// Every runs fn on the loop each d. A late timer runs once and skips the
// periods it has missed.
func (w *Worker) Every(d time.Duration, fn func()) *Timer {
	l := w.loop
	return l.every(d, l.users(func() {
		if !l.phase.moving() { // the one that takes over runs its own already
			fn()
		}
	}))
}

// Now is time.Now, by the clock that After and Every go by: in a test with package
// workertest, the test's. Any goroutine.
func (w *Worker) Now() time.Time { return w.loop.reactor.Wall() }

// Timer is a pending After or Every.
type Timer struct {
	l *loop
	c *Conn // whose it is, or nil
	t timer.Timer
}

// Stop ends the timer and reports whether it was pending. It may be called from
// the timer's own function.
func (t *Timer) Stop() bool {
	if t.c != nil {
		t.c.disown(t)
	}
	return t.l.wheel.Stop(&t.t)
}

// ErrNoName is of a publication or kick without a channel or user.
var ErrNoName = errors.New("the name of the channel or user is empty")

// Errors of Post and Go.
var (
	ErrStopped = reactor.ErrStopped
	ErrBusy    = reactor.ErrBusy
)

// maxPosted bounds the functions that wait for the loop.
const maxPosted = 65_536

// Post runs fn on the loop soon, in the order of the calls. It is the one door
// from other goroutines. Errors: ErrBusy when 65,536 functions are waiting,
// ErrStopped. Any goroutine.
func (w *Worker) Post(fn func()) error { return w.loop.reactor.Post(fn, maxPosted) }

// AfterRound runs fn once, when all sockets that were ready together have been
// read: for what is better done once for all of them than for each. It is as if
// posted when the loop is not at a socket. For the loop.
func (w *Worker) AfterRound(fn func()) {
	l := w.loop
	l.reactor.AfterRound(func() { l.run(fn) })
}

// maxTasks bounds the goroutines of Go.
const maxTasks = 1024

// Go runs work on a goroutine of its own, for what blocks: databases, files,
// other services. It reaches connections through Post. A panic in it is logged
// and counted. Errors: ErrBusy when 1,024 are running. Any goroutine.
func (w *Worker) Go(work func()) error {
	l := w.loop
	if l.tasks.Add(1) > maxTasks {
		l.tasks.Add(-1)
		return ErrBusy
	}
	go func() {
		defer l.tasks.Add(-1)
		defer func() {
			if r := recover(); r != nil {
				l.panickedAside("Go", r)
			}
		}()
		work()
	}()
	return nil
}

// Option changes a publish.
type Option struct{ except []string }

// Except leaves connections out, in whatever process they are.
func Except(conns ...*Conn) Option {
	o := Option{except: make([]string, len(conns))}
	for i, c := range conns {
		o.except[i] = c.id.String()
	}
	return o
}

// ExceptID is Except by connection id.
func ExceptID(ids ...string) Option { return Option{except: ids} }

// Publish sends m to every member of channel in every process, in order per
// publisher and channel, exactly once while the broker is there. It does not
// wait: members in this process get it by way of the broker too. Errors:
// ErrBrokerBusy, ErrBrokerAway, ErrTooLarge, ErrNoName, and ErrUnavailable for a
// channel with history while the store that the nodes share takes nothing; then
// nobody gets it.
func (w *Worker) Publish(channel string, m Message, opts ...Option) error {
	return w.loop.publish(KindMessage, ScopeChannel, channel, m, opts)
}

// ChannelMessage is a message to the members of a channel.
type ChannelMessage struct {
	Channel string
	Message
	Except []string // connection ids that do not get it; kept
	Order  *Order   // idempotency key and version; nil = none
	// Unkept leaves the message out of the channel's history: it has no position,
	// only who is there gets it, and its order among those that have one is not
	// kept.
	Unkept bool
}

// PublishAll is Publish for several messages, which go out in their order. With
// an error nobody gets any of them: the queue towards the broker takes all or
// none.
func (w *Worker) PublishAll(list []ChannelMessage) error { return w.loop.publishAll(list) }

// PublishNumbered is PublishAll, and calls done once on the loop, not before it
// returns, with what the history service has made of each message: its position in
// a channel with history, and what was repeated or outdated of those that have an
// Order, and why one was refused. all is false when the service has not answered
// within 2 s; then nobody knows whether the others were published.
func (w *Worker) PublishNumbered(list []ChannelMessage, done func(said []Numbered, all bool)) error {
	return w.loop.publishNumbered(list, done)
}

// Assure calls send, which publishes, and when that has no error done once on the loop:
// with nil when the servers of the bus have what was published, with ErrUnsure when they
// were away, or silent, before they were known to have it. Whoever has to tell somebody
// else that something was sent asks so. Where the bus is of this machine alone it is
// enough that it is queued, and done is called before Assure returns. Errors: those of
// send, and as of Publish.
func (w *Worker) Assure(send func() error, done func(error)) error {
	return w.loop.assure(send, done)
}

// SharesHistory reports whether messages of the channel are kept by a store that all
// nodes share. It may refuse what Publish has taken, of which PublishNumbered tells.
func (w *Worker) SharesHistory(channel string) bool {
	return w.loop.recall.shared && w.loop.hasHistory(channel)
}

// SendToUID sends m to every connection bound to uid. As Publish.
func (w *Worker) SendToUID(uid string, m Message, opts ...Option) error {
	return w.loop.publish(KindMessage, ScopeUID, uid, m, opts)
}

// SendToConn sends m to the connection with that id, wherever it is. As
// Publish; an id that nobody has is no error.
func (w *Worker) SendToConn(id string, m Message) error {
	return w.loop.publish(KindMessage, ScopeConn, id, m, nil)
}

// Broadcast sends m to every connection of this worker group in all processes.
// As Publish.
func (w *Worker) Broadcast(m Message, opts ...Option) error {
	return w.loop.publish(KindMessage, ScopeAll, w.Name, m, opts)
}

// KickUID closes every connection bound to uid, in all processes, with a
// WebSocket close code and a reason of at most 123 bytes, as Conn.Close does.
// Errors: ErrCloseCode, ErrNoName, ErrBrokerBusy, ErrBrokerAway.
func (w *Worker) KickUID(uid string, code int, reason string) error {
	return w.loop.kick(ScopeUID, uid, code, reason)
}

// KickConn closes the connection with that id, wherever it is. As KickUID.
func (w *Worker) KickConn(id string, code int, reason string) error {
	return w.loop.kick(ScopeConn, id, code, reason)
}

// CheckListen finds what is wrong with a listen address.
func CheckListen(addr string) error {
	_, err := parseListen(addr)
	return err
}
