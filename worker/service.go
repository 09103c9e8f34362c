package worker

import (
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/nodes"
)

// A Service is the part of a handler that there is only one of: it runs in the
// broker process, where all workers can tell and ask it things, and knows what
// no worker alone can know (who is present in a channel, say). The program that
// brings the handler brings the service; every broker process starts it.
//
// All methods but Start and Stop run on one goroutine, the service's own, one
// at a time; Start runs before any of them, Stop after all. They should not
// block for long: what arrives meanwhile waits, up to 64 Ki words or 64 MiB,
// and is lost beyond that. A panic is logged and counted; the service goes on.
//
// A service may be killed at any moment with its process, and starts again with
// nothing but what it keeps in DataDir and what the workers tell it anew.
type Service interface {
	// Start prepares the service. env stays valid until Stop.
	Start(env *ServiceEnv) error
	// Tell is a word of the worker process from (text of its control.Identity),
	// in the order in which it was told; what came by TellAll may come from
	// other nodes, in an order of its own. data is the service's to keep.
	Tell(from string, data []byte)
	// Ask is a question; answer is called once, from any goroutine, with JSON.
	Ask(from string, data []byte, answer func(json []byte, err error))
	// Roster names the worker processes of this node that live now.
	Roster(workers []string)
	// Stop ends the service.
	Stop()
}

// PartingService is a Service that is told when the server begins to close all
// its clients, to stop. Parting runs on the service's goroutine, once.
type PartingService interface {
	Parting()
}

// An OrderingService is a Service that gives messages their order: it gets the
// publications that are sent to it in place of everybody, and publishes them. p
// and what it refers to are the service's to keep. p.Reply, unless empty, awaits
// ServiceEnv.Answer. Order runs on the service's goroutine, in the order of the
// words of Tell.
type OrderingService interface {
	Order(p *Publication)
}

// A PeerService is a Service that speaks with those of its name on the other nodes
// of a cluster. Its methods run on the service's goroutine.
type PeerService interface {
	// Nodes tells of the other nodes that are known now, in the order of their
	// names: at the start and whenever one has come, changed its state, its
	// epoch or its words, or is forgotten.
	Nodes(others []nodes.Node)
	// Peer is a word of the service on a node, in the order in which that one
	// has told it; some may be lost. data is the service's to keep.
	Peer(node string, data []byte)
}

// MetricsService is a Service with numbers of its own for /metrics. Metrics
// runs on the service's goroutine.
type MetricsService interface {
	Metrics(emit func(Metric))
}

// StatefulService is a Service that may have something to say in `status` and
// /readyz: what it does not do now that it should, and why; "" = all is well. State
// runs on the service's goroutine.
type StatefulService interface {
	State() string
}

// Metric is one number of a service, exported as pushd_NAME.
type Metric struct {
	Name, Help   string
	Counter      bool   // only grows; else a gauge
	Label, Value string // one label, or none
	Number       float64
}

// ServiceEnv is what a service may use.
type ServiceEnv struct {
	Options  []Options     // the service's own, of ServiceOptions
	Channels channel.Rules // what the config and the program say of channels
	DataDir  string        // may not exist yet; "" = keep nothing
	Log      *slog.Logger
	// Publish queues publications in order, all or none, for the connections of
	// this node: where there are several nodes, each has its own service. It waits while the
	// queue is full or the broker away, so a publication is lost only with the
	// process. Errors: ErrTooLarge, and ErrBrokerAway when the service is being
	// stopped.
	Publish func(ps ...Publication) error
	// PublishAll is Publish for the connections of all nodes.
	PublishAll func(ps ...Publication) error
	// Answer answers a publication that the service got by Order.
	Answer func(reply string, json []byte)
	// Apps are the ids of the apps whose channels are "ID:NAME" on the bus.
	Apps channel.Apps
	// After runs fn on the service's goroutine, d from now, unless the service
	// is stopped before.
	After func(d time.Duration, fn func())
	// OpenLog opens the order of messages that all nodes share; what it calls
	// runs on the service's goroutine. nil, or an error: there is none.
	OpenLog func(SharedLogOptions) (SharedLog, error)
	// Now is the clock.
	Now func() time.Time

	// Node is this node's name, "" = there are no others. What follows is for
	// those who are a PeerService, and does nothing where there are no others.
	Node string
	// Say puts a word of at most nodes.MaxWord bytes into each sign of life of
	// this node, under the service's name (nodes.Node.Words): the peers hear it
	// at once, and twice a second. nil = no word. It copies word. Errors:
	// ErrTooLarge.
	Say func(word []byte) error
	// TellPeers tells the services of this name on all other nodes, TellPeer the
	// one on a node, which need not be there. They copy data. Errors: of Publish.
	TellPeers func(data []byte) error
	TellPeer  func(node string, data []byte) error
}

// ServiceOptions are the options of services, and of the handlers that go with
// them: by the service's name a list, whose meaning is the service's (of
// "pusher" each is an app). Unlike the options of a route they hold for the whole
// server: all workers and the broker process get the lists of the config and of
// every worker of the program, one behind the other.
type ServiceOptions map[string][]Options

// A CheckedService finds what is wrong with its options before anything runs.
// Check must not have effects.
type CheckedService interface {
	Check(options []Options) error
}

// Check asks the services that the program has. Options of others are nobody's.
func (o ServiceOptions) Check() error {
	for _, name := range ServiceNames() {
		if c, ok := NewService(name).(CheckedService); ok {
			if err := c.Check(o[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	servicesMu sync.Mutex
	services   = map[string]func() Service{}
)

// RegisterService makes every broker process of the program start the service
// that fn makes. Call it from an init function; it panics when the name is
// empty or taken.
func RegisterService(name string, fn func() Service) {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	if name == "" || fn == nil {
		panic("worker: RegisterService needs a name and a function")
	}
	if _, taken := services[name]; taken {
		panic(fmt.Sprintf("worker: service %q is registered twice", name))
	}
	services[name] = fn
}

// ServiceNames lists the registered services in alphabetical order.
func ServiceNames() []string {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	names := make([]string, 0, len(services))
	for n := range services {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// NewService makes the service registered under name, nil if there is none.
func NewService(name string) Service {
	servicesMu.Lock()
	defer servicesMu.Unlock()
	if fn := services[name]; fn != nil {
		return fn()
	}
	return nil
}
