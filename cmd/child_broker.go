package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/api"
	"github.com/pushd/pushd/worker/broker"
)

// closeBound is how long requests in flight may take when the process leaves.
const closeBound = 2 * time.Second

// tidyAfter is how long after the last change of the workers, as in a reload or
// the start, the process gives memory back that it no longer needs.
const tidyAfter = 2 * time.Second

// brokerProcess holds the embedded broker, the HTTP API, metrics and JSON
// ingest.
type brokerProcess struct {
	*child
	spec    brokerSpec
	sockets map[string]*os.File // inherited listeners by address
	server  *broker.Server      // nil with an external cluster
	key     string              // of the API
	client  *broker.Client
	host    *broker.Host // of the services
	api     *api.Server
	master  asker

	draining atomic.Bool // the master is stopping
	workers  atomic.Int64
	broken   chan error    // a listener gave up
	met      chan struct{} // closed: the workers are on the bus
	meeting  sync.Once
	opening  sync.Once          // closes met
	guests   chan []api.Carried // one value: connections of the process before; nil = none come
	tidy     *time.Timer
}

// runBroker is the broker process from its first message to its end.
func (c *child) runBroker() error {
	b := &brokerProcess{child: c, sockets: map[string]*os.File{}, broken: make(chan error, 8), met: make(chan struct{})}
	b.master.control = c.control
	b.tidy = time.AfterFunc(tidyAfter, debug.FreeOSMemory)
	defer b.tidy.Stop()
	if err := json.Unmarshal(c.init.Spec, &b.spec); err != nil {
		return atStep("read plan", err)
	}
	c.setLog(b.spec.processSpec)
	for _, l := range c.init.Listeners {
		b.sockets[l.Address] = os.NewFile(uintptr(l.FD), l.Address)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if err := b.prepare(); err != nil {
		return err
	}
	if !c.init.Standby {
		if err := b.open(); err != nil {
			return err
		}
	}
	over, gone := make(chan struct{}), make(chan struct{})
	go b.obey(over, gone)
	if err := c.control.Send(control.TypeReady, 0, nil); err != nil {
		c.log.Warn("the master is gone", "error", err)
	}
	select {
	case <-over:
	case err := <-b.broken:
		b.close()
		return atStep("serve", err)
	case <-gone:
		b.outliveMaster(terminated)
	}
	b.close()
	return nil
}

// prepare does what needs no socket and disturbs no other broker process.
func (b *brokerProcess) prepare() (err error) {
	if b.spec.BrokerURL == "" {
		if len(b.init.Listeners) == 0 {
			return atStep("open broker", errors.New("the master gave no socket"))
		}
		if b.server, err = broker.NewServer(broker.ServerOptions{UIDs: b.spec.UIDs, Logger: b.log}); err != nil {
			return atStep("open broker", err)
		}
	}
	if b.spec.DataTemporary {
		b.log.Warn("data_dir lies in the temporary folder: the API key and webhooks that wait do not outlive it; set data_dir", "data_dir", b.spec.DataDir)
	}
	if b.key, err = b.spec.apiKey(b.init.FormerUID); err != nil {
		return atStep("load API key", err)
	}
	b.client, err = broker.NewClient(broker.Options{ID: "api", Node: b.spec.Node, URL: b.spec.BrokerURL, Server: b.server, Logger: b.log})
	return atStep("open broker", err)
}

// open serves.
func (b *brokerProcess) open() error {
	if err := b.openBus(); err != nil {
		return atStep("open broker", err)
	}
	services := b.program.services(b.spec.processSpec)
	apps, err := config.AppIDs(services)
	if err != nil {
		return err
	}
	server, err := api.New(api.Options{
		Client: b.client, Key: b.key, Apps: apps, Stats: b.stats, Ready: b.ready, Logger: b.log,
		Services: func() []worker.Metric { return b.host.Metrics() },
	})
	if err != nil {
		return atStep("open API", err)
	}
	b.host, err = broker.StartHost(broker.HostOptions{
		Client: b.client, Options: services, DataDir: b.spec.DataDir, Logger: b.log,
		OnRoster: server.SetRoster, OnConflict: b.giveUp,
	})
	if err != nil {
		return atStep("start services", err)
	}
	b.api = server
	return atStep("open listeners", b.openListeners())
}

// openBus serves the bus on the inherited socket, if it is embedded, and
// connects to it.
func (b *brokerProcess) openBus() error {
	if b.server != nil {
		ln, err := b.listener(b.init.Listeners[0].Address)
		if err != nil {
			return err
		}
		b.serve(func() error { return b.server.Serve(ln) })
	}
	return b.client.Start(nil)
}

func (b *brokerProcess) openListeners() error {
	stream := func(addr string, serve func(net.Listener) error) error {
		if addr == "" {
			return nil
		}
		ln, err := b.listener(addr)
		if err == nil {
			b.serve(func() error { return serve(ln) })
		}
		return err
	}
	if err := stream(b.spec.Metrics, b.api.ServeMetrics); err != nil {
		return err
	}
	if err := stream(b.spec.API.Listen, b.onceMet(b.api.Serve)); err != nil {
		return err
	}
	for _, in := range b.spec.Ingest {
		o := api.IngestOptions{Key: in.Key}
		if !isDatagram(in.Listen) {
			if err := stream(in.Listen, b.onceMet(func(ln net.Listener) error { return b.api.ServeIngest(ln, o) })); err != nil {
				return err
			}
			continue
		}
		pc, err := b.packets(in.Listen)
		if err != nil {
			return err
		}
		b.serve(func() error { <-b.met; return b.api.ServeIngestPackets(pc, o) })
	}
	return nil
}

// onceMet lets those who publish wait until the workers are on the bus: after
// the death of a broker process they come back one by one, and what is published
// before would not reach their connections.
func (b *brokerProcess) onceMet(serve func(net.Listener) error) func(net.Listener) error {
	return func(ln net.Listener) error { <-b.met; return serve(ln) }
}

// meetBound is how long publishers wait for a worker that does not come.
const meetBound = 900 * time.Millisecond

// meet waits for the workers on the first roster.
func (b *brokerProcess) meet() {
	ctx, cancel := context.WithTimeout(context.Background(), meetBound)
	defer cancel()
	b.api.Meet(ctx)
	b.openDoors()
	b.admitGuests()
}

// giveUp ends this process; the master starts another one.
func (b *brokerProcess) giveUp(err error) {
	select {
	case b.broken <- err:
	default:
	}
}

func (b *brokerProcess) openDoors() { b.opening.Do(func() { close(b.met) }) }

// serve runs a listener until it is closed.
func (b *brokerProcess) serve(run func() error) {
	go func() {
		if err := run(); err != nil {
			b.broken <- err
		}
	}()
}

func (b *brokerProcess) inherited(addr string) (*os.File, error) {
	f := b.sockets[addr]
	if f == nil {
		return nil, fmt.Errorf("the master gave no socket for %s", addr)
	}
	return f, nil
}

func (b *brokerProcess) listener(addr string) (net.Listener, error) {
	f, err := b.inherited(addr)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener has a duplicate
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use socket of %s: %w", addr, err)
	}
	return ln, nil
}

func (b *brokerProcess) packets(addr string) (net.PacketConn, error) {
	f, err := b.inherited(addr)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("use socket of %s: %w", addr, err)
	}
	return pc, nil
}

// stats asks the master for the object of `status --json`.
func (b *brokerProcess) stats(ctx context.Context) (json.RawMessage, error) {
	return b.master.ask(ctx, control.Query{What: "stats"})
}

// ready says why a balancer should send no clients here.
func (b *brokerProcess) ready() error {
	switch {
	case b.draining.Load():
		return errors.New("stopping")
	case !b.client.Stats().Connected:
		return errors.New("broker is away")
	case b.workers.Load() == 0:
		return errors.New("no worker is ready")
	}
	return nil
}

// obey works on the master's messages. It closes over when told to stop, gone
// when the master has died.
func (b *brokerProcess) obey(over, gone chan<- struct{}) {
	for {
		m, files, err := b.control.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				b.log.Error("control channel", "error", err)
			}
			close(gone)
			return
		}
		if m.Type == control.TypeReopen && len(files) == 1 {
			if err := redirect(files[0]); err != nil {
				b.log.Error("reopen log", "error", err)
			}
		}
		if m.Type == control.TypeBus {
			b.busStep(m, files)
		}
		for _, f := range files {
			f.Close()
		}
		if m.Type == control.TypeStop {
			close(over)
			return
		}
		b.handle(m)
	}
}

func (b *brokerProcess) handle(m control.Message) {
	switch m.Type {
	case control.TypePing:
		b.send(control.Message{Type: control.TypePong, ID: m.ID})
	case control.TypeAnswer:
		b.master.answered(m)
	case control.TypeQuery:
		b.send(control.Message{Type: control.TypeAnswer, ID: m.ID, Error: "the broker process answers no queries"})
	case control.TypeRoster:
		var r control.Roster
		answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
		if err := json.Unmarshal(m.Body, &r); err != nil {
			answer.Error = err.Error()
		} else {
			b.workers.Store(int64(len(r.Workers)))
			b.draining.Store(r.Draining)
			b.host.SetRoster(r.Workers)
			b.meeting.Do(func() { go b.meet() })
			b.tidy.Reset(tidyAfter)
		}
		b.send(answer)
	}
}

// busStep is this process's part when the broker process is replaced.
func (b *brokerProcess) busStep(m control.Message, files []*os.File) {
	var step control.Bus
	err := json.Unmarshal(m.Body, &step)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(step.BoundMS)*time.Millisecond)
	defer cancel()
	switch {
	case err != nil:
	case step.Do == control.BusReceive && len(files) == 1:
		err = b.receive(files[0])
	case step.Do == control.BusOpen && b.api == nil:
		err = b.open()
	case step.Do == control.BusPause:
		b.openDoors()
		if len(files) == 1 {
			err = b.export(ctx, files[0])
		}
		err = errors.Join(err, b.api.Close(ctx))
	case step.Do == control.BusDrain:
		b.host.Close()
		err = b.client.Close()
	}
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	if err != nil {
		answer.Error = err.Error()
	}
	b.send(answer)
}

func (b *brokerProcess) send(m control.Message) {
	if err := b.control.SendMessage(m); err != nil {
		b.log.Debug("answer the master", "error", err)
	}
}

// outliveMaster frees the addresses at once, so that a new start can bind them,
// and keeps the bus for the workers while they drain. SIGTERM ends the wait; as
// long as there is a master it means nothing, since service managers send it to
// all processes and the master decides who leaves when.
func (b *brokerProcess) outliveMaster(terminated <-chan os.Signal) {
	b.log.Warn("the master is gone: leaving", "drain_ms", b.init.DrainMS)
	b.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	b.openDoors() // a listener that does not serve yet would stay open
	if b.api != nil {
		b.api.Close(ctx)
	}
	drained := time.NewTimer(time.Duration(b.init.DrainMS)*time.Millisecond + closeBound)
	defer drained.Stop()
	for len(terminated) > 0 {
		<-terminated // of the time before
	}
	select {
	case <-terminated:
	case <-drained.C:
	}
}

// close ends everything in the order of the data's way.
func (b *brokerProcess) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	if b.api != nil { // else it was on standby
		if err := b.api.Close(ctx); err != nil {
			b.log.Debug("close API", "error", err)
		}
		b.host.Close()
	}
	b.client.Close()
	if b.server != nil {
		b.server.Close()
	}
}
