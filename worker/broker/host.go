package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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
	Version  string
	AppsHash string
	Tenure   *control.Tenure // of the master; nil = it has none
	Times    nodes.Times
	// Keep, if not nil, gets what Tenure.Kept of the next process is to be, after
	// each change. Called by one goroutine.
	Keep func(json.RawMessage)
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
	h.signs.changed, h.signs.usurped = h.nodesChanged, h.conflict
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
		err = o.Client.link.nc.FlushTimeout(o.Client.o.StartTimeout)
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

// Metrics returns the numbers of all services. One whose mailbox is full, or
// that does not answer within a second, is left out.
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
		s.stop()
	}
}

// hosted is one running service.
type hosted struct {
	host    *Host
	name    string
	service worker.Service
	log     *slog.Logger
	words   *nats.Subscription
	more    []*nats.Subscription // words to the services of all nodes, and of peers
	mail    chan func()
	quit    chan struct{} // closed: no more mail is taken
	done    chan struct{} // closed by run
	once    sync.Once
	roster  notice // of this node's workers
	nodes   notice // of the nodes
}

func (h *Host) start(name string, service worker.Service) error {
	s := &hosted{
		host: h, name: name, service: service, log: h.o.Logger.With("service", name),
		mail: make(chan func(), mailboxItems), quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.roster = notice{s: s, tell: func() { s.service.Roster(h.signs.ownWorkers()) }}
	s.nodes = notice{s: s, tell: s.tellNodes}
	env := &worker.ServiceEnv{
		Node: h.o.Client.o.Node, Say: s.say, TellPeers: s.tellPeers, TellPeer: s.tellPeer,
		Options: h.o.Options[name], Channels: h.o.Channels, DataDir: h.o.DataDir, Log: s.log,
		Publish: s.publishHere, PublishAll: s.publish, After: s.after, Now: time.Now, Apps: h.o.Apps,
		OpenLog: func(lo worker.SharedLogOptions) (worker.SharedLog, error) { return h.o.Client.OpenLog(lo, s.post) },
		Answer:  func(reply string, json []byte) { h.o.Client.Answer(reply, worker.Answer{Worker: name, Data: json}) },
	}
	if err := service.Start(env); err != nil {
		close(s.quit)
		return err
	}
	err := s.subscribe(name)
	go s.run()
	h.services = append(h.services, s)
	return err
}

func (s *hosted) subscribe(name string) (err error) {
	c := s.host.o.Client
	if s.words, err = s.listen(c.subjects.serviceOf(name)); err != nil || c.o.Node == "" {
		return err
	}
	all, err := s.listen(c.subjects.allOf(name))
	if err == nil {
		s.more = append(s.more, all)
		err = s.hearPeers(c, name)
	}
	return err
}

func (s *hosted) listen(subject string) (*nats.Subscription, error) {
	sub, err := s.host.o.Client.link.nc.Subscribe(subject, s.onWord)
	if err == nil {
		err = sub.SetPendingLimits(wordItems, wordBytes)
	}
	return sub, err
}

// run is the service's goroutine.
func (s *hosted) run() {
	defer close(s.done)
	for {
		select {
		case fn := <-s.mail:
			s.call(fn)
		case <-s.quit:
			s.call(s.service.Stop)
			return
		}
	}
}

func (s *hosted) call(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			s.host.panics.Add(1)
			s.log.Error("service panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	fn()
}

// post waits for room; after stop it does nothing.
func (s *hosted) post(fn func()) {
	select {
	case s.mail <- fn:
	case <-s.quit:
	}
}

// tryPost is post that does not wait; false means that there is no room.
func (s *hosted) tryPost(fn func()) bool {
	select {
	case s.mail <- fn:
		return true
	default:
		return false
	}
}

// notice has a service told of something once it has worked on its mail. Never
// more than one is under way: it tells the latest.
type notice struct {
	s    *hosted
	tell func()
	due  atomic.Bool
}

func (n *notice) announce() {
	if !n.due.CompareAndSwap(false, true) {
		return
	}
	tell := func() {
		n.due.Store(false) // first: what changes now is announced anew
		n.tell()
	}
	if !n.s.tryPost(tell) {
		go n.s.post(tell)
	}
}

// stop lets the service work on what has reached the broker, for a while, and
// ends it.
func (s *hosted) stop() {
	s.once.Do(func() {
		if s.words != nil {
			s.finish()
			_ = s.words.Unsubscribe()
			for _, sub := range s.more {
				_ = sub.Unsubscribe()
			}
		}
		close(s.quit)
		<-s.done
	})
}

// finish waits until every word that the broker had taken is worked on.
func (s *hosted) finish() {
	limit := time.NewTimer(finishLimit)
	defer limit.Stop()
	if s.host.o.Client.link.nc.FlushTimeout(finishLimit) != nil {
		return
	}
	for {
		// The word in hand counts as pending until it is in the mail.
		pending, _, err := s.words.Pending()
		worked := make(chan struct{})
		select {
		case s.mail <- func() { close(worked) }:
		case <-limit.C:
			return
		}
		select {
		case <-worked:
		case <-limit.C:
			return
		}
		if pending == 0 || err != nil {
			return
		}
	}
}

// onWord runs on the subscription's goroutine.
func (s *hosted) onWord(m *nats.Msg) {
	from, data, err := parseWord(m.Data)
	if err != nil {
		s.log.Warn("word ignored", "error", err)
		return
	}
	if o, ok := s.service.(worker.OrderingService); ok && len(data) > 0 && data[0] == envelopeVersion {
		s.onOrder(o, data, m.Reply)
		return
	}
	if m.Reply == "" {
		s.post(func() { s.service.Tell(from, data) })
		return
	}
	reply := m.Reply
	s.post(func() {
		s.service.Ask(from, data, func(json []byte, err error) {
			a := worker.Answer{Data: json}
			if err != nil {
				a = worker.Answer{Error: err.Error()}
			}
			s.host.o.Client.Answer(reply, a)
		})
	})
}

// onOrder passes a publication on to a service that orders them.
func (s *hosted) onOrder(o worker.OrderingService, data []byte, reply string) {
	p, err := parseEnvelope(data)
	if err != nil {
		s.log.Warn("publication ignored", "error", err)
		return
	}
	p.Reply = reply
	s.post(func() { o.Order(&p) })
}

// publishHere implements ServiceEnv.Publish: the other nodes have services of
// their own.
func (s *hosted) publishHere(ps ...worker.Publication) error {
	for i := range ps {
		ps[i].Local = true
	}
	return s.publish(ps...)
}

// publish implements ServiceEnv.PublishAll.
func (s *hosted) publish(ps ...worker.Publication) error {
	for {
		err := s.host.o.Client.PublishAll(ps)
		if !errors.Is(err, worker.ErrBrokerBusy) && !errors.Is(err, worker.ErrBrokerAway) {
			return err
		}
		select {
		case <-time.After(busyPause):
		case <-s.quit:
			return err
		}
	}
}

// after implements ServiceEnv.After.
func (s *hosted) after(d time.Duration, fn func()) {
	time.AfterFunc(d, func() { s.post(fn) })
}
