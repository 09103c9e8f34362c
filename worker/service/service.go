// Package service says what a service is: the part of a handler that there is one of
// in a node, in the broker process. Handlers bring services along and register them in
// init functions; worker/broker starts and runs them; worker itself only tells and
// asks them, over the bus.
package service

import (
	"log/slog"
	"time"

	"github.com/pushd/pushd/worker/bus"
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
	Start(env *Env) error
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

// Parting is a Service that is told when the server begins to close all
// its clients, to stop. Parting runs on the service's goroutine, once.
type Parting interface {
	Parting()
}

// An Ordering is a Service that gives messages their order: it gets the
// publications that are sent to it in place of everybody, and publishes them. p
// and what it refers to are the service's to keep. p.Reply, unless empty, awaits
// Env.Answer. Order runs on the service's goroutine, in the order of the
// words of Tell.
type Ordering interface {
	Order(p *bus.Publication)
}

// A Peer is a Service that speaks with those of its name on the other nodes
// of a cluster. Its methods run on the service's goroutine.
type Peer interface {
	// Nodes tells of the other nodes that are known now, in the order of their
	// names: at the start and whenever one has come, changed its state, its
	// epoch or its words, or is forgotten.
	Nodes(others []nodes.Node)
	// Peer is a word of the service on a node, in the order in which that one
	// has told it; some may be lost. data is the service's to keep.
	Peer(node string, data []byte)
}

// A Rejoined is a Service that is told when the bus is back, and for how long it may
// have been away: what others have told it meanwhile is lost. Rejoined runs on the
// service's goroutine.
type Rejoined interface {
	Rejoined(away time.Duration)
}

// Measured is a Service with numbers of its own for /metrics. Metrics
// runs on the service's goroutine.
type Measured interface {
	Metrics(emit func(Metric))
}

// Absent is a Measured of which something is known when it does not get to Metrics in
// time, most often as it waits for the bus. Absent runs on any goroutine.
type Absent interface {
	Absent(emit func(Metric))
}

// Stateful is a Service that may have something to say in `status` and
// /readyz: what it does not do now that it should, and why; "" = all is well. State
// runs on the service's goroutine.
type Stateful interface {
	State() string
}

// Metric is one number of a service, exported as pushd_NAME.
type Metric struct {
	Name, Help   string
	Counter      bool   // only grows; else a gauge
	Label, Value string // one label, or none
	Number       float64
}

// Env is what a service may use.
type Env struct {
	Options  []Options     // the service's own, of All
	Channels channel.Rules // what the config and the program say of channels
	DataDir  string        // may not exist yet; "" = keep nothing
	Log      *slog.Logger
	// Publish queues publications in order, all or none, for the connections of
	// this node: where there are several nodes, each has its own service. It waits while the
	// queue is full or the broker away, so a publication is lost only with the
	// process. Errors: bus.ErrTooLarge, and bus.ErrAway when the service is being
	// stopped.
	Publish func(ps ...bus.Publication) error
	// PublishAll is Publish for the connections of all nodes.
	PublishAll func(ps ...bus.Publication) error
	// Answer answers a publication that the service got by Order.
	Answer func(reply string, json []byte)
	// Apps are the ids of the apps whose channels are "ID:NAME" on the bus.
	Apps channel.Apps
	// After runs fn on the service's goroutine, d from now, unless the service
	// is stopped before.
	After func(d time.Duration, fn func())
	// OpenLog opens the order of messages that all nodes share; what it calls
	// runs on the service's goroutine. nil, or an error: there is none.
	OpenLog func(bus.LogOptions) (bus.Log, error)
	// Now is the clock.
	Now func() time.Time
	// Busy says, in Start, that the service gets on with what its predecessor has left,
	// and in Stop, with what it leaves to the next: the master gives the process more time
	// for it. Call it after each piece of work, as often as you like; a piece takes seconds
	// at most.
	Busy func()

	// Node is this node's name, "" = there are no others. What follows is for
	// those who are a Peer, and does nothing where there are no others.
	Node string
	// Say puts a word of at most nodes.MaxWord bytes into each sign of life of
	// this node, under the service's name (nodes.Node.Words): the peers hear it
	// at once, and twice a second. nil = no word. It copies word. Errors:
	// bus.ErrTooLarge.
	Say func(word []byte) error
	// TellPeers tells the services of this name on all other nodes, TellPeer the
	// one on a node, which need not be there. They copy data. Errors: of Publish.
	TellPeers func(data []byte) error
	TellPeer  func(node string, data []byte) error
}
