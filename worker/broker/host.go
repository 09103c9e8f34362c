package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/nodes"
)

const (
	mailboxItems = 1024     // functions that wait for a service's goroutine
	wordItems    = 64 << 10 // words that wait for the mailbox, and their bytes
	wordBytes    = 64 << 20
	busyPause    = 5 * time.Millisecond
	metricsWait  = time.Second
	finishLimit  = 500 * time.Millisecond // for what a service has to do when it is stopped
)

// HostOptions say what the services of a program get.
type HostOptions struct {
	Client   *Client // started
	Options  worker.ServiceOptions
	Channels channel.Rules
	Apps     channel.Apps
	DataDir  string
	Logger   *slog.Logger

	// What this node says of itself to others on the same cluster.
	Version   string
	AppsHash  string
	RulesHash string
	Tenure    *control.Tenure // of the master; nil = it has none
	Times     nodes.Times
	// Keep, if not nil, gets what Tenure.Kept of the next process is to be, after
	// each change. Called by one goroutine.
	Keep func(json.RawMessage)
	// Busy is service.Env.Busy.
	Busy func()
	// OnConflict, if not nil, is told that another process has this node's name.
	OnConflict func(error)
}

// Host runs the program's services, each on a goroutine of its own, and knows
// the roster. There is one, in the broker process. Its methods may be called by
// any goroutine.
type Host struct {
	o        HostOptions
	signs    *signs
	roster   atomic.Pointer[[]string] // of all nodes; nil = not known yet
	services []*hosted
	started  atomic.Bool // services are all there
	query    *nats.Subscription
	panics   atomic.Int64
	parting  sync.Once
}

// StartHost starts every registered service. If one cannot start, those before
// it are stopped and the error names it.
func StartHost(o HostOptions) (*Host, error) {
	h := &Host{o: o}
	h.signs = newSigns(&h.o)
	h.signs.changed, h.signs.usurped, h.signs.rejoined = h.nodesChanged, h.conflict, h.rejoined
	if t := o.Tenure; t != nil && t.Workers != nil {
		h.signs.set(t.Workers) // else the others would take our word for it that there are none
	}
	err := errors.Join(h.answerRoster(), h.signs.join())
	for _, name := range worker.ServiceNames() {
		if err != nil {
			break
		}
		if err = h.start(name, worker.NewService(name)); err != nil {
			err = fmt.Errorf("service %q: %w", name, err)
		}
	}
	if err == nil {
		err = o.Client.link.confirmed(o.Client.o.StartTimeout)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	h.started.Store(true)
	for _, s := range h.services {
		s.nodes.announce()
	}
	return h, nil
}

// answerRoster tells those who gather answers whose to wait for.
func (h *Host) answerRoster() (err error) {
	h.query, err = h.o.Client.link.nc.Subscribe(h.o.Client.subjects.query, func(m *nats.Msg) {
		var q worker.BusQuery
		roster := h.roster.Load()
		if json.Unmarshal(m.Data, &q) != nil || !q.Roster && q.What != worker.GatherQuery || roster == nil {
			return
		}
		if raw, err := json.Marshal(*roster); err == nil {
			h.o.Client.Answer(m.Reply, worker.Answer{Worker: rosterOf(h.o.Client.o.Node), Data: raw})
		}
	})
	return err
}

// nodesChanged notes what there is now: the workers of all nodes, once those of
// this one are known. It is called with the table held.
func (h *Host) nodesChanged() {
	if h.signs.own != nil {
		all := h.signs.table.Workers()
		h.roster.Store(&all)
		h.o.Client.SetRoster(all)
	}
	if h.started.Load() {
		for _, s := range h.services {
			s.nodes.announce()
		}
	}
}

// Nodes are this one and the others on the same cluster, in the order of their
// names. On a bus of its own a node is alone and has no name.
func (h *Host) Nodes() []nodes.Node { return h.signs.all() }

func (h *Host) busy() {
	if h.o.Busy != nil {
		h.o.Busy()
	}
}

// rejoined tells the services that the bus is back.
func (h *Host) rejoined(away time.Duration) {
	if !h.started.Load() {
		return
	}
	for _, s := range h.services {
		if r, ok := s.service.(worker.RejoinedService); ok {
			tell := func() { r.Rejoined(away) }
			if !s.tryPost(tell) {
				go s.post(tell)
			}
		}
	}
}

func (h *Host) conflict(err error) {
	if h.o.OnConflict != nil {
		h.o.OnConflict(err)
	}
}

// SetRoster names the workers of this node that live, as the master calls them.
// It does not wait for the services: one that is stuck is told of the latest
// roster only.
func (h *Host) SetRoster(workers []string) {
	h.signs.set(workers)
	for _, s := range h.services {
		s.roster.announce()
	}
}

// Part tells the services that all clients are about to be closed. Any further
// call does nothing.
func (h *Host) Part() {
	h.parting.Do(func() {
		h.signs.leave()
		for _, s := range h.services {
			if p, ok := s.service.(worker.PartingService); ok && !s.tryPost(p.Parting) {
				go s.post(p.Parting)
			}
		}
	})
}

// States are the services that have something to say. One that does not get to it
// within wait says so.
func (h *Host) States(wait time.Duration) []control.ServiceState {
	all := []control.ServiceState{}
	for _, s := range h.services {
		t, ok := s.service.(worker.StatefulService)
		if !ok {
			continue
		}
		says := make(chan string, 2) // both words may come
		if !s.ask(wait, func() { says <- t.State() }) {
			says <- h.whyBusy()
		}
		if text := <-says; text != "" {
			all = append(all, control.ServiceState{Service: s.name, Says: text})
		}
	}
	return all
}

// whyBusy is said in the place of a service that does not get to it: most often it
// publishes, and waits for the bus.
func (h *Host) whyBusy() string {
	if !h.o.Client.Stats().Connected {
		return "away, as the bus is"
	}
	return "it is busy: it has not answered in time"
}

// ask runs fn on the service's goroutine; false means that it has not been run in
// time, and may still be.
func (s *hosted) ask(wait time.Duration, fn func()) bool {
	done := make(chan struct{})
	if !s.tryPost(func() { defer close(done); fn() }) {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-s.quit:
	}
	return false
}

// Metrics returns the numbers of all services. Of one whose mailbox is full, or
// that does not answer within a second, there is what holds then.
func (h *Host) Metrics() []worker.Metric {
	all := []worker.Metric{
		{Name: "service_panics_total", Help: "Panics in services.", Counter: true, Number: float64(h.panics.Load())},
		{Name: "service_words_lost_total", Help: "Words to services that found their queues full.", Counter: true, Number: float64(h.wordsLost())},
	}
	all = append(all, h.nodeMetrics()...)
	for _, s := range h.services {
		m, ok := s.service.(worker.MetricsService)
		if !ok {
			continue
		}
		var own []worker.Metric
		if s.ask(metricsWait, func() { m.Metrics(func(n worker.Metric) { own = append(own, n) }) }) {
			all = append(all, own...)
		} else if a, ok := s.service.(worker.AbsentService); ok {
			a.Absent(func(n worker.Metric) { all = append(all, n) })
		}
	}
	return all
}

// wordsLost counts the words that services were too slow for.
func (h *Host) wordsLost() (n int) {
	for _, s := range h.services {
		if lost, err := s.words.Dropped(); err == nil {
			n += lost
		}
	}
	return n
}

// Close stops the services, the last started first.
func (h *Host) Close() {
	h.signs.close()
	if h.query != nil {
		_ = h.query.Unsubscribe()
	}
	for _, s := range slices.Backward(h.services) {
		h.busy()
		s.stop()
	}
}
