// Package census is the service "mercure" in the broker process: it knows which
// worker process has which subscriptions, so that somebody can say that they are
// over when a process has died with them.
package census

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// Service is the name that workers tell.
const Service = "mercure"

func init() { worker.RegisterService(Service, func() worker.Service { return &census{} }) }

// Word is what a worker says of a stream: that it has it, with the documents of
// its subscriptions, or without any, that it is over. Without a subscriber it says
// that it is there.
type Word struct {
	Process    string          `json:"p"`           // drawn by each: the next one may have the name of one that died
	Hub        string          `json:"h,omitempty"` // channel of the hub
	Subscriber string          `json:"s,omitempty"`
	Documents  []wire.Document `json:"d,omitempty"`
}

// grace is how long a process is gone before its subscriptions are over: what the
// process that takes over says comes first.
const grace = time.Second

// census belongs to the service's goroutine.
type census struct {
	env      *worker.ServiceEnv
	instance string // of this process: to another one the workers tell all anew
	streams  map[string]*stream
	live     map[string]bool
	process  map[string]string // that was heard last, by its name
	parting  bool
}

// stream is a subscriber and the process that has it.
type stream struct {
	owner     string // its name
	process   string
	hub       string
	documents []wire.Document
}

// Start implements worker.Service.
func (s *census) Start(env *worker.ServiceEnv) error {
	s.env, s.instance, s.streams, s.live = env, rand.Text(), map[string]*stream{}, map[string]bool{}
	s.process = map[string]string{}
	return nil
}

// Stop implements worker.Service.
func (s *census) Stop() {}

// Parting implements worker.PartingService: when all are closed nobody is told.
func (s *census) Parting() { s.parting = true }

// Tell implements worker.Service.
func (s *census) Tell(from string, data []byte) {
	var w Word
	if json.Unmarshal(data, &w) != nil || w.Process == "" {
		return
	}
	if s.process[from] != w.Process {
		s.process[from] = w.Process
		s.env.After(grace, s.sweep)
	}
	if len(w.Documents) > 0 {
		s.streams[w.Subscriber] = &stream{from, w.Process, w.Hub, w.Documents}
	} else if old := s.streams[w.Subscriber]; old != nil && old.process == w.Process {
		delete(s.streams, w.Subscriber)
	}
}

// Ask implements worker.Service: it tells the instance.
func (s *census) Ask(_ string, _ []byte, answer func([]byte, error)) {
	answer(json.Marshal(s.instance))
}

// Roster implements worker.Service.
func (s *census) Roster(workers []string) {
	s.live = make(map[string]bool, len(workers))
	for _, name := range workers {
		s.live[name] = true
	}
	s.env.After(grace, s.sweep)
}

// sweep ends what no process has any more.
func (s *census) sweep() {
	for _, id := range slices.Sorted(maps.Keys(s.streams)) {
		one := s.streams[id]
		if s.live[one.owner] && s.process[one.owner] == one.process {
			continue
		}
		delete(s.streams, id)
		if s.parting {
			continue
		}
		for _, d := range one.documents {
			d.Active = false
			if err := s.env.Publish(publication(one.hub, &d)); err != nil {
				s.env.Log.Warn("the end of a subscription was not announced", "error", err)
			}
		}
	}
}

// Event is the event of a subscription.
func Event(d *wire.Document) wire.Event {
	data, err := json.Marshal(d)
	if err != nil {
		data = []byte("{}") // the payload was JSON when it came
	}
	return wire.Event{ID: wire.NewID(), Topics: []string{d.ID}, Private: true, Type: wire.EventType, Data: string(data)}
}

func publication(hub string, d *wire.Document) worker.Publication {
	e := Event(d)
	return worker.Publication{
		Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: hub, Shard: worker.Shard(worker.ScopeChannel, hub), Data: e.Append(nil),
	}
}
