// Package pusher is the handler "pusher": the Pusher Channels protocol,
// version 7, for clients at /app/{key} and for back ends at /apps/*. The apps
// come from the config.
//
// A channel of an app is the channel "ID:NAME" of the bus, a signed-in user the
// uid "ID:USER". A subscription to a channel without presence or cache concerns
// this process only; what the workers have to know of each other is kept by the
// service "pusher" in the broker process (package keeper).
package pusher

import (
	"log/slog"
	"sync"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/keeper"
)

func init() { worker.RegisterHandler("pusher", New) }

// Handler serves one route. All of its state is that of the process.
type Handler struct{ *process }

// App is an application, DefaultApp one with the default limits.
type App = wire.App

// DefaultApp returns an app without credentials and with the default limits.
func DefaultApp() App { return wire.DefaultApp() }

// SetApps gives a worker of a program its apps. They hold for the whole server,
// like those of the config; of an id those of the config count.
func SetApps(w *worker.Worker, apps ...App) {
	if w.Services == nil {
		w.Services = worker.ServiceOptions{}
	}
	w.Services[keeper.Service] = keeper.Options(apps)
}

// New makes a handler; it has no options, since apps belong to all routes.
func New(o worker.Options) (worker.Handler, error) {
	var none struct{}
	if err := o.Decode(&none); err != nil {
		return nil, err
	}
	return &Handler{}, nil
}

// process is what the routes of a worker process share. It belongs to the loop.
type process struct {
	w       *worker.Worker
	log     *slog.Logger
	byKey   map[string]*app
	byID    map[string]*app
	refused quiet
	keeper  *keeper.Client
	moving  bool // connections are going to another process

	events, subscriptions limiter // of each connection

	carried  map[*worker.Conn]*session // clients without WebSocket
	sessions map[string]*session       // of clients without WebSocket, by their channel
	carriers map[*worker.Conn]struct{} // of them
	looking  *worker.Timer             // for the sessions of those
	asks     asks
}

// app is an app and what this process knows of it.
type app struct {
	wire.App
	counted bool // the keeper wants to know how many are in its channels
	room    room // where connections are limited

	connections int // of this process; counted anew while they move, see countApp
}

// channel returns the name of an app's channel on the bus.
func (a *app) channel(name string) string { return a.ID + ":" + name }

// uid returns the name of an app's user on the bus.
func (a *app) uid(user string) string { return a.ID + ":" + user }

var (
	processesMu sync.Mutex
	processes   = map[*worker.Worker]*process{}
)

// OnWorkerStart finds what the other routes of the process use too.
func (h *Handler) OnWorkerStart(w *worker.Worker) error {
	processesMu.Lock()
	defer processesMu.Unlock()
	if processes[w] == nil {
		p, err := newProcess(w)
		if err != nil {
			return err
		}
		processes[w] = p
	}
	h.process = processes[w]
	return nil
}

// OnWorkerReload begins a time in which connections leave without a callback.
func (h *Handler) OnWorkerReload(*worker.Worker) {
	h.moving = true
	h.keepSessions()
}

// OnWorkerResume tells the keeper of the connections that are left.
func (h *Handler) OnWorkerResume(*worker.Worker) {
	h.moving = false
	for _, a := range h.byID {
		a.connections = h.recount(a)
	}
	h.keeper.Resumed()
}

// OnWorkerStop forgets it.
func (h *Handler) OnWorkerStop(w *worker.Worker) {
	processesMu.Lock()
	defer processesMu.Unlock()
	delete(processes, w)
	keeper.Forget(w)
}

func newProcess(w *worker.Worker) (*process, error) {
	apps, err := keeper.Apps(w.Services[keeper.Service])
	if err != nil {
		return nil, err
	}
	p := &process{
		w: w, log: slog.Default().With("worker", w.Name, "slot", w.Slot()),
		keeper: keeper.For(w),
		byKey:  map[string]*app{}, byID: map[string]*app{}, events: newLimiter(w), subscriptions: newLimiter(w),
		carried: map[*worker.Conn]*session{}, sessions: map[string]*session{}, carriers: map[*worker.Conn]struct{}{}, asks: asks{w: w},
	}
	for _, a := range apps {
		own := &app{App: a, counted: keeper.Counted(&a)}
		p.byKey[a.Key], p.byID[a.ID] = own, own
	}
	return p, nil
}

// app returns the app of a connection, nil if there is none of its key. Those that
// carry another one are of none.
func (p *process) app(c *worker.Conn) *app {
	switch {
	case isCarrier(c):
		return nil
	case isSession(c):
		return p.byKey[keyOf(c.Path())]
	}
	return p.byKey[c.Param("key")]
}

// isSession reports whether a connection is of a client without WebSocket.
func isSession(c *worker.Conn) bool { return c.Protocol() == "carried" }
