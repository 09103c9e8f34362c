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
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
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
	// OnConflict, if not nil, is told that another process has this node's name.
	OnConflict func(error)
}

// Host runs the program's services, each on a goroutine of its own, and knows
// the roster. There is one, in the broker process. Its methods may be called by
// any goroutine.
type Host struct {
	o        HostOptions
	nodes    *nodes
	roster   atomic.Pointer[[]string] // of all nodes; nil = not known yet
	own      atomic.Pointer[[]string] // of this one
	services []*hosted
	query    *nats.Subscription
	panics   atomic.Int64
	parting  sync.Once
}

// StartHost starts every registered service. If one cannot start, those before
// it are stopped and the error names it.
func StartHost(o HostOptions) (*Host, error) {
	h := &Host{o: o}
	h.nodes = newNodes(o.Client, h.rosterChanged, h.conflict)
	err := errors.Join(h.answerRoster(), h.nodes.join())
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

// rosterChanged notes the workers of all nodes, once those of this one are
// known.
func (h *Host) rosterChanged(all []string) {
	if h.own.Load() == nil {
		return
	}
	h.roster.Store(&all)
	h.o.Client.SetRoster(all)
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
	h.own.CompareAndSwap(nil, &[]string{})
	own := h.nodes.set(workers)
	h.own.Store(&own)
	for _, s := range h.services {
		s.announce()
	}
}

// Part tells the services that all clients are about to be closed. Any further
// call does nothing.
func (h *Host) Part() {
	h.parting.Do(func() {
		for _, s := range h.services {
			if p, ok := s.service.(worker.PartingService); ok && !s.tryPost(p.Parting) {
				go s.post(p.Parting)
			}
		}
	})
}

// Metrics returns the numbers of all services. One whose mailbox is full, or
// that does not answer within a second, is left out.
func (h *Host) Metrics() []worker.Metric {
	all := []worker.Metric{
		{Name: "service_panics_total", Help: "Panics in services.", Counter: true, Number: float64(h.panics.Load())},
		{Name: "service_words_lost_total", Help: "Words to services that found their queues full.", Counter: true, Number: float64(h.wordsLost())},
	}
	for _, s := range h.services {
		m, ok := s.service.(worker.MetricsService)
		if !ok {
			continue
		}
		got := make(chan []worker.Metric, 1)
		if !s.tryPost(func() {
			var own []worker.Metric
			m.Metrics(func(n worker.Metric) { own = append(own, n) })
			got <- own
		}) {
			continue
		}
		t := time.NewTimer(metricsWait)
		select {
		case own := <-got:
			all = append(all, own...)
		case <-t.C:
		case <-s.quit:
		}
		t.Stop()
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
	h.nodes.leave()
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
	service worker.Service
	log     *slog.Logger
	words   *nats.Subscription
	events  *nats.Subscription // words to the services of all nodes; nil = there are no others
	mail    chan func()
	quit    chan struct{} // closed: no more mail is taken
	done    chan struct{} // closed by run
	once    sync.Once
	due     atomic.Bool // the mail holds, or will, an announcement of the roster
}

func (h *Host) start(name string, service worker.Service) error {
	s := &hosted{
		host: h, service: service, log: h.o.Logger.With("service", name),
		mail: make(chan func(), mailboxItems), quit: make(chan struct{}), done: make(chan struct{}),
	}
	env := &worker.ServiceEnv{
		Options: h.o.Options[name], Channels: h.o.Channels, DataDir: h.o.DataDir, Log: s.log,
		Publish: s.publish, After: s.after, Now: time.Now, Apps: h.o.Apps,
		Answer: func(reply string, json []byte) { h.o.Client.Answer(reply, worker.Answer{Worker: name, Data: json}) },
	}
	if err := service.Start(env); err != nil {
		close(s.quit)
		return err
	}
	var err error
	s.words, err = s.listen(h.o.Client.subjects.serviceOf(name))
	if all := h.o.Client.subjects.allOf(name); err == nil && all != s.words.Subject {
		s.events, err = s.listen(all)
	}
	go s.run()
	h.services = append(h.services, s)
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

// announce has the service told of the roster once it has worked on its mail.
// Never more than one announcement is under way: it tells the latest.
func (s *hosted) announce() {
	if !s.due.CompareAndSwap(false, true) {
		return
	}
	tell := func() {
		s.due.Store(false) // first: a roster that comes now is announced anew
		s.service.Roster(*s.host.own.Load())
	}
	if !s.tryPost(tell) {
		go s.post(tell)
	}
}

// stop lets the service work on what has reached the broker, for a while, and
// ends it.
func (s *hosted) stop() {
	s.once.Do(func() {
		if s.words != nil {
			s.finish()
			_ = s.words.Unsubscribe()
			if s.events != nil {
				_ = s.events.Unsubscribe()
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

// publish implements ServiceEnv.Publish.
func (s *hosted) publish(ps ...worker.Publication) error {
	for i := range ps {
		ps[i].Local = true // the other nodes have services of their own
	}
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
