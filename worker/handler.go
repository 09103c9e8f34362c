package worker

import (
	"fmt"
	"sort"
	"sync"
)

// A Handler is any value with some of the callback methods below. They are
// looked up once, when the process starts; each has the meaning of the Worker
// field of the same name. All run on the loop, one at a time.
//
//	OnWorkerStart(w *Worker) error
//	OnWorkerReload(w *Worker)
//	OnWorkerResume(w *Worker)
//	OnWorkerStop(w *Worker)
//	OnHandshake(c *Conn, h *Handshake)
//	OnRequest(w *Response, r *Request)
//	OnConnect(c *Conn)
//	OnMessage(c *Conn, m Message)
//	OnClosing(c *Conn)
//	OnClose(c *Conn, err error)
//	OnTimeout(c *Conn)
//	OnError(c *Conn, err error)
//	OnBufferFull(c *Conn)
//	OnBufferDrain(c *Conn)
//	OnResume(c *Conn)
//	OnRecovery(c *Conn, r *Recovery)
//	OnPosition(p *Published) Message
//	OnEvent(p *Published) Event
//
// One is OnWorkerStart for who takes a while: the loop goes on meanwhile, and the
// process is ready when ready was called, on the loop, for each of them. More than
// 8 s it has while it calls StillStarting.
//
//	OnWorkerStarting(w *Worker, ready func(err error))
//
// One runs before the clients of a process that ends are sent away, for last words to
// them: these go when ready was called, on the loop, for each, or after a second.
//
//	OnWorkerLeaving(w *Worker, ready func())
//
// OnFilter says whether a member of a channel gets a message of it; p is valid until
// it returns. It runs for each member, or for those that an Audience names.
//
//	OnFilter(c *Conn, p *Published) bool
//
// CheckServices judges a handler beside the options of services, when a config is
// checked; it must not have effects.
//
//	CheckServices(services ServiceOptions) error
//
// Two more are for handlers that bring a Service along. OnService gets a Notice
// for a connection; true sends the message on to its client, encoded once for
// all that get it. OnQuery answers a question of Worker.Gather with JSON, or
// with nothing when it is for another handler.
//
//	OnService(c *Conn, n Notice) bool
//	OnQuery(what string, args []byte) ([]byte, error)
//
// Three are for handlers with a state that is to go along when connections move
// to another process, see carry.go, and one for those that hand their connections
// on, see Clients.
//
//	OnExport(w *Worker, ready func(carry []byte))
//	OnImport(w *Worker)
//	OnImported(w *Worker, carry []byte)
//	Clients() *Clients
//	Script() ScriptStats
//	Renew(done func(control.Renewed, error))
//	Settle(done func())
type Handler any

// NewFunc makes a handler from the options of its route. It runs once per
// process and route, before any client is accepted, and also when a config is
// checked: it must not have effects outside the value it returns.
type NewFunc func(o Options) (Handler, error)

var (
	handlersMu sync.RWMutex
	handlers   = map[string]NewFunc{}
)

// RegisterHandler makes a handler available to configs under name. Call it from
// an init function; it panics when the name is empty or taken.
func RegisterHandler(name string, fn NewFunc) {
	handlersMu.Lock()
	defer handlersMu.Unlock()
	if name == "" || fn == nil {
		panic("worker: RegisterHandler needs a name and a function")
	}
	if _, taken := handlers[name]; taken {
		panic(fmt.Sprintf("worker: handler %q is registered twice", name))
	}
	handlers[name] = fn
}

// HandlerNames lists the registered handlers in alphabetical order.
func HandlerNames() []string {
	handlersMu.RLock()
	defer handlersMu.RUnlock()
	names := make([]string, 0, len(handlers))
	for n := range handlers {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// NewHandler makes the handler registered under name.
func NewHandler(name string, o Options) (Handler, error) {
	handlersMu.RLock()
	fn := handlers[name]
	handlersMu.RUnlock()
	if fn == nil {
		return nil, fmt.Errorf("handler %q is not in this program (it has %q)", name, HandlerNames())
	}
	h, err := fn(o)
	if err != nil {
		return nil, fmt.Errorf("handler %q: %w", name, err)
	}
	if h == nil {
		return nil, fmt.Errorf("handler %q: its constructor returned nothing", name)
	}
	return h, nil
}

// Route sends the connections whose path matches Pattern to a handler.
type Route struct {
	// Pattern is an exact path ("/chat"), a path with parameters
	// ("/app/{key}"), or a prefix ("/static/*"). Exact wins over parameters,
	// these over the longest prefix.
	Pattern string
	// Handler gets the callbacks.
	Handler Handler
	// Origins lists the origins from which browsers may connect besides the
	// host that they connect to: "https://example.com" (scheme and port count
	// when given), "example.com", "*.example.com", "*" for any, and exactly
	// "null" and "file://", which pages of many makers have.
	Origins []string
	// Protocols lists subprotocols, best first: the first that the client offers
	// is agreed on, unless OnHandshake chooses.
	Protocols []string
}
