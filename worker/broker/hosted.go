package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/pushd/pushd/worker"
)

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
		Publish: s.publishHere, PublishAll: s.publish, After: s.after, Now: time.Now, Busy: h.busy, Apps: h.o.Apps,
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
			s.host.o.Client.Answer(reply, worker.AnswerOf(json, err))
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
