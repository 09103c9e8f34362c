package worker

import (
	"runtime/debug"

	"github.com/pushd/pushd/protocol/control"
)

// callbacks are the functions of one handler, looked up once. A nil one costs
// nothing.
type callbacks struct {
	onWorkerStart  func(*Worker) error
	onStarting     func(*Worker, func(error))
	onWorkerReload func(*Worker)
	onWorkerResume func(*Worker)
	onWorkerStop   func(*Worker)
	onHandshake    func(*Conn, *Handshake)
	onRequest      func(*Response, *Request)
	onConnect      func(*Conn)
	onMessage      func(*Conn, Message)
	onClosing      func(*Conn)
	onClose        func(*Conn, error)
	onTimeout      func(*Conn)
	onError        func(*Conn, error)
	onBufferFull   func(*Conn)
	onBufferDrain  func(*Conn)
	onResume       func(*Conn)
	onService      func(*Conn, Notice) bool
	onRecovery     func(*Conn, *Recovery)
	onPosition     func(*Published) Message
	onEvent        func(*Published) Event
	onFilter       func(*Conn, *Published) bool
	onCarry        func(*Conn, *CloseError)
	onQuery        func(what string, args []byte) ([]byte, error)
	onLeaving      func(w *Worker, ready func())
	onExport       func(w *Worker, ready func(carry []byte))
	onImport       func(w *Worker)
	onImported     func(w *Worker, carry []byte)
	clients        *Clients
	script         func() ScriptStats
	renew          func(done func(control.Renewed, error))
	settle         func(done func())
}

// ofWorker returns the callbacks that are fields of w.
func ofWorker(w *Worker) callbacks {
	return callbacks{
		onWorkerStart: w.OnWorkerStart, onWorkerReload: w.OnWorkerReload,
		onWorkerResume: w.OnWorkerResume, onWorkerStop: w.OnWorkerStop,
		onHandshake: w.OnHandshake, onRequest: w.OnRequest, onConnect: w.OnConnect, onMessage: w.OnMessage,
		onClosing: w.OnClosing, onClose: w.OnClose, onTimeout: w.OnTimeout, onError: w.OnError, onBufferFull: w.OnBufferFull, onBufferDrain: w.OnBufferDrain,
		onResume: w.OnResume, onRecovery: w.OnRecovery, onPosition: w.OnPosition, onEvent: w.OnEvent,
	}
}

// ofHandler finds the callback methods that h has.
func ofHandler(h Handler) (cb callbacks) {
	cb.ofProcess(h)
	cb.ofConnections(h)
	return cb
}

// ofProcess are those about the process: its life, hand-overs and questions.
func (cb *callbacks) ofProcess(h Handler) {
	if i, ok := h.(interface{ OnWorkerStart(*Worker) error }); ok {
		cb.onWorkerStart = i.OnWorkerStart
	}
	if i, ok := h.(interface {
		OnWorkerStarting(w *Worker, ready func(error))
	}); ok {
		cb.onStarting = i.OnWorkerStarting
	}
	if i, ok := h.(interface{ OnWorkerReload(*Worker) }); ok {
		cb.onWorkerReload = i.OnWorkerReload
	}
	if i, ok := h.(interface{ OnWorkerResume(*Worker) }); ok {
		cb.onWorkerResume = i.OnWorkerResume
	}
	if i, ok := h.(interface{ OnWorkerStop(*Worker) }); ok {
		cb.onWorkerStop = i.OnWorkerStop
	}
	if i, ok := h.(interface {
		OnQuery(what string, args []byte) ([]byte, error)
	}); ok {
		cb.onQuery = i.OnQuery
	}
	if i, ok := h.(interface {
		OnWorkerLeaving(w *Worker, ready func())
	}); ok {
		cb.onLeaving = i.OnWorkerLeaving
	}
	if i, ok := h.(interface {
		OnExport(w *Worker, ready func(carry []byte))
	}); ok {
		cb.onExport = i.OnExport
	}
	if i, ok := h.(interface{ OnImport(*Worker) }); ok {
		cb.onImport = i.OnImport
	}
	if i, ok := h.(interface{ OnImported(*Worker, []byte) }); ok {
		cb.onImported = i.OnImported
	}
	if i, ok := h.(interface{ Clients() *Clients }); ok {
		cb.clients = i.Clients()
	}
	if i, ok := h.(interface{ Script() ScriptStats }); ok {
		cb.script = i.Script
	}
	if i, ok := h.(interface {
		Renew(done func(control.Renewed, error))
	}); ok {
		cb.renew = i.Renew
	}
	if i, ok := h.(interface{ Settle(done func()) }); ok {
		cb.settle = i.Settle
	}
}

// ofConnections are those about connections and their messages.
func (cb *callbacks) ofConnections(h Handler) {
	if i, ok := h.(interface{ OnHandshake(*Conn, *Handshake) }); ok {
		cb.onHandshake = i.OnHandshake
	}
	if i, ok := h.(interface{ OnRequest(*Response, *Request) }); ok {
		cb.onRequest = i.OnRequest
	}
	if i, ok := h.(interface{ OnConnect(*Conn) }); ok {
		cb.onConnect = i.OnConnect
	}
	if i, ok := h.(interface{ OnMessage(*Conn, Message) }); ok {
		cb.onMessage = i.OnMessage
	}
	if i, ok := h.(interface{ OnClosing(*Conn) }); ok {
		cb.onClosing = i.OnClosing
	}
	if i, ok := h.(interface{ OnClose(*Conn, error) }); ok {
		cb.onClose = i.OnClose
	}
	if i, ok := h.(interface{ OnTimeout(*Conn) }); ok {
		cb.onTimeout = i.OnTimeout
	}
	if i, ok := h.(interface{ OnError(*Conn, error) }); ok {
		cb.onError = i.OnError
	}
	if i, ok := h.(interface{ OnBufferFull(*Conn) }); ok {
		cb.onBufferFull = i.OnBufferFull
	}
	if i, ok := h.(interface{ OnBufferDrain(*Conn) }); ok {
		cb.onBufferDrain = i.OnBufferDrain
	}
	if i, ok := h.(interface{ OnResume(*Conn) }); ok {
		cb.onResume = i.OnResume
	}
	if i, ok := h.(interface{ OnService(*Conn, Notice) bool }); ok {
		cb.onService = i.OnService
	}
	if i, ok := h.(interface{ OnRecovery(*Conn, *Recovery) }); ok {
		cb.onRecovery = i.OnRecovery
	}
	if i, ok := h.(interface{ OnPosition(*Published) Message }); ok {
		cb.onPosition = i.OnPosition
	}
	if i, ok := h.(interface{ OnFilter(*Conn, *Published) bool }); ok {
		cb.onFilter = i.OnFilter
	}
	if i, ok := h.(interface{ OnCarry(*Conn, *CloseError) }); ok {
		cb.onCarry = i.OnCarry
	}
	if i, ok := h.(interface{ OnEvent(*Published) Event }); ok {
		cb.onEvent = i.OnEvent
	}
}

// talks reports whether the handler can do something with a WebSocket or a
// stream of packets.
func (cb *callbacks) talks() bool {
	return cb.onHandshake != nil || cb.onConnect != nil || cb.onMessage != nil || cb.onClose != nil
}

// contain ends a callback, by being deferred: it recovers from a panic, closes
// the connection that it happened to, and tells of callbacks that take long.
func (l *loop) contain(callback string, c *Conn) {
	if r := recover(); r != nil {
		l.panicked(callback, c, r, debug.Stack())
	}
	now := l.reactor.Now()
	if took := now - l.mark; took > slowCallback && l.counts.slowLog.allow(now) {
		l.log.Warn("slow callback holds up every connection of this process", "callback", callback, "took", took)
	}
	l.mark = now
}

// containProtocol is contain for what calls the methods of a protocol of the
// program's own on behalf of c. Once for all that one read has brought, or for all
// whom one encoding is for, so that a message more costs nothing. err, where there is
// one, becomes ErrPanic.
func (c *Conn) containProtocol(err *error) {
	r := recover()
	if r == nil {
		return
	}
	if err != nil {
		*err = ErrPanic
	}
	c.loop.panicked("protocol "+c.Protocol(), c, r, debug.Stack())
}

// The methods below call one callback each, with the care of contain: a panic
// closes the connection, a slow one is told of.

func (r *route) handshake(c *Conn, h *Handshake) {
	if r.onHandshake != nil {
		defer c.loop.contain("OnHandshake", c)
		r.onHandshake(c, h)
	}
}

func (r *route) connect(c *Conn) {
	c.set(flagConnected)
	c.loop.counts.opened++
	if r.onConnect != nil {
		defer c.loop.contain("OnConnect", c)
		r.onConnect(c)
	}
}

func (r *route) resumed(c *Conn) {
	if r.onResume != nil {
		defer c.loop.contain("OnResume", c)
		r.onResume(c)
	}
}

func (r *route) message(c *Conn, m Message) {
	c.gotMessage()
	c.loop.counts.messagesIn++
	if r.onMessage != nil {
		defer c.loop.contain("OnMessage", c)
		r.onMessage(c, m)
	}
}

func (r *route) closing(c *Conn) {
	if r.onClosing != nil {
		defer c.loop.contain("OnClosing", c)
		r.onClosing(c)
	}
}

func (r *route) closed(c *Conn, err error) {
	if r.onClose != nil {
		defer c.loop.contain("OnClose", nil)
		r.onClose(c, err)
	}
}

func (r *route) timedOut(c *Conn) {
	if r.onTimeout != nil {
		defer c.loop.contain("OnTimeout", c)
		r.onTimeout(c)
	}
}

func (r *route) failed(c *Conn, err error) {
	if r.onError != nil && c.has(flagConnected) {
		defer c.loop.contain("OnError", c)
		r.onError(c, err)
	}
}

func (r *route) recovered(c *Conn, rec *Recovery) {
	if c.transport.collect != nil {
		r.recoveredPoll(c, rec)
		return
	}
	r.tellRecovery(c, rec)
}

func (r *route) tellRecovery(c *Conn, rec *Recovery) {
	if r.onRecovery != nil {
		defer c.loop.contain("OnRecovery", c)
		r.onRecovery(c, rec)
	}
}

func (r *route) bufferFull(c *Conn) {
	if r.onBufferFull != nil {
		defer c.loop.contain("OnBufferFull", c)
		r.onBufferFull(c)
	}
}

func (r *route) bufferDrain(c *Conn) {
	if r.onBufferDrain != nil {
		defer c.loop.contain("OnBufferDrain", c)
		r.onBufferDrain(c)
	}
}
