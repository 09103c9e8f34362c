// Package brokerd is the broker process: the embedded bus, the services of
// handlers, the HTTP API, metrics and JSON ingest. It is to the broker process
// what worker.Serve is to a worker process: the program has read its spec and
// calls Serve, which obeys the master until it may leave.
package brokerd

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/acme"
	"github.com/pushd/pushd/worker/api"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/memory"
	"github.com/pushd/pushd/worker/nodes"
	"github.com/pushd/pushd/worker/order"
	"github.com/pushd/pushd/worker/reactor"
	_ "github.com/pushd/pushd/worker/sequencer" // the service that numbers messages
)

// closeBound is how long requests in flight may take when the process leaves.
const closeBound = 2 * time.Second

// tidyAfter is how long after the last change of the workers, as in a reload or
// the start, the process gives memory back that it no longer needs.
const tidyAfter = 2 * time.Second

// Settings are what the config says about the broker process. They travel in the
// plan; the addresses are those of the plan's listeners.
type Settings struct {
	UIDs    []uint32 `json:"uids"`              // users that may connect to the bus
	API     string   `json:"api,omitempty"`     // address of the HTTP API, "" = off
	Metrics string   `json:"metrics,omitempty"` // address, "" = off

	APITLS     *certs.Settings `json:"api_tls,omitempty"` // nil = none
	MetricsTLS *certs.Settings `json:"metrics_tls,omitempty"`

	Ingest  []Ingest      `json:"ingest,omitempty"`
	DataDir string        `json:"data_dir"`       // for services
	Orders  []certs.Order `json:"acme,omitempty"` // certificates that this process orders
}

// Ingest is an address that takes lines or datagrams of JSON.
type Ingest struct {
	Listen string `json:"listen"`
	Key    string `json:"key,omitempty"` // "" = whoever can connect may order
}

// Process is what the broker process gets from outside.
type Process struct {
	Control      *control.Conn // to the master; its Init has been received
	Init         control.Init
	Settings     Settings
	URL          string                // of an external NATS cluster; "" = the bus is embedded
	Prefix       string                // of subjects there
	Access       broker.Access         // to it
	Node         string                // "" = the only one
	Version      string                // of the program, for the other nodes
	AppsHash     string                // of what all nodes must agree on, likewise
	RulesHash    string                // of what is said of channels, likewise
	Times        nodes.Times           // after which another node is lost, and forgotten
	Key          string                // of the HTTP API
	Apps         order.Apps            // that the API takes
	Services     worker.ServiceOptions // of the config and the program
	ChannelRules channel.Rules         // likewise
	Certs        *certs.Store          // what TLS listeners need; may be nil without any
	Reopen       func(*os.File) error  // makes a file the log; default: the order to do so is ignored
	Log          *slog.Logger          // default slog.Default()
}

// serving is a running broker process.
type serving struct {
	Process
	sockets map[string]*os.File // inherited listeners by address
	server  *broker.Server      // nil with an external cluster
	client  *broker.Client
	host    *broker.Host // of the services
	api     *api.Server  // nil until open: on standby
	master  asker

	draining atomic.Bool // the master is stopping
	workers  atomic.Int64
	groups   atomic.Value  // []string of workers, as the last roster says
	broken   chan error    // a listener gave up
	met      chan struct{} // closed: the workers are on the bus
	meeting  sync.Once
	opening  sync.Once          // closes met
	guests   chan []api.Carried // one value: connections of the process before; nil = none come
	tidy     *time.Timer
	ordering func() // ends the ordering of certificates; nil = there is none
}

// Serve runs the broker process until the master tells it to stop, or is gone,
// and returns nil then. It reports readiness and failures to the master. Call it
// once.
func Serve(p Process) error {
	err := serve(p)
	var s *control.StepError
	if errors.As(err, &s) {
		_ = p.Control.Send(control.TypeFailed, 0, control.Failed{Step: s.Step, Error: s.Err.Error()}) // the master may be gone
	}
	return err
}

func serve(p Process) error {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	b := &serving{Process: p, sockets: map[string]*os.File{}, broken: make(chan error, 8), met: make(chan struct{})}
	b.master.control = p.Control
	b.tidy = time.AfterFunc(tidyAfter, memory.Return)
	defer b.tidy.Stop()
	calm := make(chan struct{})
	defer close(calm)
	go tidies(calm, tidyEach)
	for _, l := range p.Init.Listeners {
		b.sockets[l.Address] = os.NewFile(uintptr(l.FD), l.Address)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if err := b.prepare(); err != nil {
		return control.AtStep("open broker", err)
	}
	if !p.Init.Standby {
		if err := b.open(); err != nil {
			return err
		}
	}
	over, gone := make(chan struct{}), make(chan struct{})
	go b.obey(over, gone)
	if err := p.Control.Send(control.TypeReady, 0, nil); err != nil {
		p.Log.Warn("the master is gone", "error", err)
	}
	select {
	case <-over:
	case err := <-b.broken:
		b.close()
		return control.AtStep("serve", err)
	case <-gone:
		b.outliveMaster(terminated)
	}
	b.close()
	return nil
}

// prepare does what needs no socket and disturbs no other broker process.
func (b *serving) prepare() (err error) {
	if b.URL == "" {
		if len(b.Init.Listeners) == 0 {
			return errors.New("the master gave no socket")
		}
		if b.server, err = broker.NewServer(broker.ServerOptions{UIDs: b.Settings.UIDs, Logger: b.Log}); err != nil {
			return err
		}
	}
	b.client, err = broker.NewClient(broker.Options{ID: "api", Node: b.Node, URL: b.URL, Prefix: b.Prefix, Access: b.Access, Server: b.server, Ordered: b.ChannelRules.Ordered(), SharedHistory: b.Services.SharedHistory(), Logger: b.Log})
	return err
}

// open serves.
func (b *serving) open() error {
	if err := b.client.Start(nil); err != nil {
		return control.AtStep("open broker", err)
	}
	server, err := api.New(api.Options{
		Client: b.client, Key: b.Key, Apps: b.Apps, Groups: b.known, Stats: b.stats, Ready: b.ready, Logger: b.Log,
		Services: func() []worker.Metric { return b.host.Metrics() },
		States:   b.states, OpenFiles: reactor.OpenFiles(),
	})
	if err != nil {
		return control.AtStep("open API", err)
	}
	b.host, err = broker.StartHost(broker.HostOptions{
		Client: b.client, Options: b.Services, Channels: b.ChannelRules, Apps: channel.NewApps(slices.Collect(maps.Keys(b.Apps))), DataDir: b.Settings.DataDir, Logger: b.Log,
		Version: b.Version, AppsHash: b.AppsHash, RulesHash: b.RulesHash, Tenure: b.Init.Tenure, Times: b.Times, OnConflict: b.giveUp,
		Keep: b.keep(), Busy: b.busy(),
	})
	if err != nil {
		return control.AtStep("start services", err)
	}
	if err := b.openBus(); err != nil {
		return control.AtStep("open broker", err)
	}
	b.api = server
	if err := b.openListeners(); err != nil {
		return control.AtStep("open listeners", err)
	}
	b.orderCertificates()
	return nil
}

// keep tells the master what the broker process after this one is to know; nil: the
// master is too old to pass it on.
func (b *serving) keep() func(json.RawMessage) {
	if b.Init.Tenure == nil {
		return nil
	}
	return func(known json.RawMessage) {
		b.send(control.Message{Type: control.TypeKeep, Body: known})
	}
}

// busy tells the master that a start takes longer, once a second. What is soon over
// says nothing.
func (b *serving) busy() func() {
	said := time.Now()
	return func() {
		if time.Since(said) >= busyPause {
			said = time.Now()
			b.send(control.Message{Type: control.TypeBusy})
		}
	}
}

const busyPause = time.Second

// orderCertificates begins to keep those that authorities issue.
func (b *serving) orderCertificates() {
	if len(b.Settings.Orders) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	b.ordering = func() { cancel(); <-over }
	go func() {
		defer close(over)
		acme.Run(ctx, acme.Options{Orders: b.Settings.Orders, Log: b.Log, Renew: func(ctx context.Context, issues []control.Issue) error {
			args, err := json.Marshal(issues)
			if err == nil {
				ctx, cancel := context.WithTimeout(ctx, renewBound)
				defer cancel()
				_, err = b.master.ask(ctx, control.Query{What: control.QueryRenew, Args: args})
			}
			return err
		}})
	}()
}

// renewBound is how long all processes may take to get a new certificate.
const renewBound = 10 * time.Second

func (b *serving) stopOrdering() {
	if b.ordering != nil {
		b.ordering()
		b.ordering = nil
	}
}

// openBus serves the bus on the inherited socket, if it is embedded: when the
// services listen, since a word that comes before is lost, and a message of a
// channel with history is one.
func (b *serving) openBus() error {
	if b.server == nil {
		return nil
	}
	ln, err := b.listener(b.Init.Listeners[0].Address)
	if err == nil {
		b.serve(func() error { return b.server.Serve(ln) })
	}
	return err
}

// giveUp ends this process; the master starts another one.
func (b *serving) giveUp(err error) {
	select {
	case b.broken <- err:
	default:
	}
}

// serve runs a listener until it is closed.
func (b *serving) serve(run func() error) {
	go func() {
		if err := run(); err != nil {
			b.broken <- err
		}
	}()
}

// outliveMaster frees the addresses at once, so that a new start can bind them,
// and keeps the bus for the workers while they drain. SIGTERM ends the wait; as
// long as there is a master it means nothing, since service managers send it to
// all processes and the master decides who leaves when.
func (b *serving) outliveMaster(terminated <-chan os.Signal) {
	b.Log.Warn("the master is gone: leaving", "drain_ms", b.Init.DrainMS)
	b.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	b.openDoors() // a listener that does not serve yet would stay open
	if b.api != nil {
		b.host.Part()
		b.api.Close(ctx)
	}
	drained := time.NewTimer(time.Duration(b.Init.DrainMS)*time.Millisecond + closeBound)
	defer drained.Stop()
	for len(terminated) > 0 {
		<-terminated // of the time before
	}
	select {
	case <-terminated:
	case <-drained.C:
	}
}

// close ends everything in the order of the data's way. It says that it gets on, as each
// of the steps may take a while, and a history that is written takes what it takes.
func (b *serving) close() {
	busy := b.busy()
	b.stopOrdering()
	busy()
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	if b.api != nil { // else it was on standby
		if err := b.api.Close(ctx); err != nil {
			b.Log.Debug("close API", "error", err)
		}
		busy()
		b.host.Close()
	}
	busy()
	b.client.Close()
	if b.server != nil {
		b.server.Close()
	}
}
