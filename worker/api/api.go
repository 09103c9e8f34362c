// Package api is how a back end reaches the clients of pushd: an HTTP API, JSON
// ingest over udp, tcp and unix sockets, and the metrics. It runs in the broker
// process and talks to the workers over the bus only.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/order"
	"github.com/pushd/pushd/worker/seldom"
)

// Defaults of Options, and bounds that are not configurable.
const (
	maxBody         = 1 << 20 // bytes of a request's body, a line or a datagram
	maxConnections  = 4096    // of each HTTP listener
	defaultRequests = 1024
	defaultAnswer   = 250 * time.Millisecond
	defaultIdle     = 5 * time.Minute
	defaultIngest   = 1000
	filesShare      = 10 // one of so many descriptors of the process is for the connections of a listener
)

// Options configure a Server.
type Options struct {
	// Client is the API's own end of the bus, started with a nil Inbox. The
	// Server does not close it. Whose answers are waited for is on its roster.
	Client *broker.Client
	// Key is the bearer key of the HTTP API. Needed.
	Key string
	// Apps are those that requests may name. Default: none.
	Apps order.Apps
	// Groups names this node's worker groups, also those that have no process at
	// the moment. Orders may name those that live anywhere, too. Default: none.
	Groups func() []string
	// Stats returns the object of `status --json`.
	Stats func(ctx context.Context) (json.RawMessage, error)
	// Ready says why the server is not ready, nil = it is. Default: always.
	Ready func() error
	// Services returns the numbers of the services in this process. Default:
	// there are none.
	Services func() []worker.Metric
	// States returns those that do not do all that they should. Default: there are none.
	States func() []control.ServiceState

	Logger            *slog.Logger  // default slog.Default()
	MaxRequests       int           // in flight, beyond it 503; default 1,024
	AnswerTimeout     time.Duration // for the workers' answers; default 250 ms
	Connections       int           // of each HTTP listener; default, and most, 4,096
	IngestConnections int           // over all ingest listeners; default 1,000
	OpenFiles         int           // descriptors of the process: connections of a listener, and those of ingest, are at most a tenth of them, so that the process itself never lacks one; default no such bound
	IngestIdle        time.Duration // silence that ends an ingest connection; default 5 m
}

// Server serves everything of this package. Its methods may be called by any
// goroutine.
type Server struct {
	o       Options
	log     *slog.Logger
	key     secret
	busy    chan struct{} // a token per request in flight
	http    *http.Server
	metrics *http.Server
	ingest  ingest
	doors   doors

	published atomic.Uint64 // messages by the API, for the metrics
	shakes    struct {      // TLS handshakes that failed
		more   atomic.Int64 // since the last line of log
		logged seldom.Limit
	}
}

// New checks o and returns a server without listeners.
func New(o Options) (*Server, error) {
	switch {
	case o.Client == nil:
		return nil, errors.New("api: no broker client")
	case o.Key == "":
		return nil, errors.New("api: no key; set [api] key, or let pushd generate one")
	case o.Stats == nil:
		return nil, errors.New("api: no source of stats")
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = defaultRequests
	}
	if o.AnswerTimeout <= 0 {
		o.AnswerTimeout = defaultAnswer
	}
	if o.IngestConnections <= 0 {
		o.IngestConnections = defaultIngest
	}
	if o.Connections <= 0 || o.Connections > maxConnections {
		o.Connections = maxConnections
	}
	if share := o.OpenFiles / filesShare; share > 0 {
		o.Connections, o.IngestConnections = min(o.Connections, share), min(o.IngestConnections, share)
	}
	if o.IngestIdle <= 0 {
		o.IngestIdle = defaultIdle
	}
	s := &Server{
		o:    o,
		log:  o.Logger,
		key:  newSecret(o.Key),
		busy: make(chan struct{}, o.MaxRequests),
	}
	s.doors.http, s.doors.in = map[*boundedListener]string{}, map[string]door{}
	s.http = s.httpServer(s.doors.unlessTaken(s.handler()))
	s.metrics = s.httpServer(s.doors.unlessTaken(s.metricsHandler()))
	s.ingest.init()
	return s, nil
}

// names are those that orders may use.
func (s *Server) names() order.Names { return order.Names{Apps: s.o.Apps, Groups: s.groups} }

// groups lists the worker groups of this node, and those that live on any.
func (s *Server) groups() []string {
	all := s.o.Client.Groups()
	if s.o.Groups != nil {
		all = append(all, s.o.Groups()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const (
	headTimeout    = 5 * time.Second  // from the first byte of a request to the end of its head
	requestTimeout = 15 * time.Second // to the end of its body
	idleTimeout    = 75 * time.Second // between two requests of a connection
)

// httpServer bounds what one client can hold: none of its limits is zero.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ConnState:         noteState,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// Serve serves the HTTP API on ln until Close, which makes it return nil.
func (s *Server) Serve(ln net.Listener) error { return s.serve(s.http, ln) }

// ServeMetrics serves /metrics, /healthz and /readyz on ln until Close.
func (s *Server) ServeMetrics(ln net.Listener) error { return s.serve(s.metrics, ln) }

// Close closes the listeners, lets requests in flight finish until ctx is
// over, and disconnects everyone.
func (s *Server) Close(ctx context.Context) error {
	s.ingest.close()
	var errs [2]error
	var wg sync.WaitGroup
	for i, h := range []*http.Server{s.http, s.metrics} {
		wg.Go(func() {
			if errs[i] = h.Shutdown(ctx); errs[i] != nil {
				h.Close()
			}
		})
	}
	wg.Wait()
	s.ingest.wait()
	return errors.Join(errs[:]...)
}
