package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
)

// tally is what the workers said to one publication.
type tally struct {
	reached  int
	complete bool   // every live worker answered in time
	refusal  string // by a worker, "" = none
}

// expected is one answer that is waited for.
type expected struct {
	index  int
	worker string
}

// ask publishes all of ps, or none, and gathers the answers.
func (s *Server) ask(ctx context.Context, ps []worker.Publication) ([]tally, error) {
	if !s.o.Client.Stats().Connected {
		return nil, worker.ErrBrokerAway // what is queued now might reach no one, or everyone a second later
	}
	workers := s.roster.group("")
	r := s.o.Client.Replies(2 * len(ps) * (len(workers) + 1)) // twice: workers may join meanwhile
	defer r.Close()
	for i := range ps {
		ps[i].Reply = r.Subject(i)
	}
	if err := s.o.Client.PublishAll(ps); err != nil {
		return nil, err
	}
	s.published.Add(messages(ps))
	tallies := make([]tally, len(ps))
	missing := s.gather(ctx, r, len(ps), workers, func(a broker.Reply) {
		t := &tallies[a.Index]
		t.reached += a.Reached
		if a.Error != "" {
			t.refusal = a.Error
		}
	})
	for i := range tallies {
		tallies[i].complete = true
	}
	for m := range missing {
		tallies[m.index].complete = false
	}
	return tallies, nil
}

// query asks the workers of a group, "" = all, and hands the data of each
// answer to take.
func (s *Server) query(ctx context.Context, what string, args any, group string, take func(json.RawMessage) error) (complete bool, err error) {
	if !s.o.Client.Stats().Connected {
		return false, worker.ErrBrokerAway
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return false, fmt.Errorf("encode query %q: %w", what, err)
	}
	workers := s.roster.group(group)
	all, _ := s.roster.get()
	r := s.o.Client.Replies(2 * (len(all) + 1))
	defer r.Close()
	if err := s.o.Client.Query(worker.BusQuery{What: what, Args: raw, Reply: r.Subject(0)}, ""); err != nil {
		return false, err
	}
	missing := s.gather(ctx, r, 1, workers, func(a broker.Reply) {
		switch {
		case err != nil || group != "" && groupOf(a.Worker) != group:
		case a.Error != "":
			err = fmt.Errorf("worker %s: query %q: %s", a.Worker, what, a.Error)
		default:
			if e := take(a.Data); e != nil {
				err = fmt.Errorf("worker %s: query %q: %w", a.Worker, what, e)
			}
		}
	})
	return len(missing) == 0, err
}

// gather hands over the answers to n questions until each of the workers has
// answered each of them, has left the roster, or time is over. It returns the
// answers that are missing.
func (s *Server) gather(ctx context.Context, r *broker.Replies, n int, workers []string, take func(broker.Reply)) map[expected]struct{} {
	missing := make(map[expected]struct{}, n*len(workers))
	for _, w := range workers {
		for i := range n {
			missing[expected{i, w}] = struct{}{}
		}
	}
	timeout := time.NewTimer(s.o.AnswerTimeout)
	defer timeout.Stop()
	changed := s.excuse(missing)
	for len(missing) > 0 {
		select {
		case <-r.C:
			for _, a := range r.Take() {
				if a.Index >= 0 && a.Index < n {
					take(a)
					delete(missing, expected{a.Index, a.Worker})
				}
			}
		case <-changed:
			changed = s.excuse(missing)
		case <-timeout.C:
			return missing
		case <-ctx.Done():
			return missing
		}
	}
	return missing
}

// excuse forgets the answers of workers that have left the roster. Those who
// have joined may have missed the question and are not waited for. It returns
// the channel that tells of the next change.
func (s *Server) excuse(missing map[expected]struct{}) <-chan struct{} {
	names, changed := s.roster.get()
	live := make(map[string]bool, len(names))
	for _, name := range names {
		live[name] = true
	}
	for m := range missing {
		if !live[m.worker] {
			delete(missing, m)
		}
	}
	return changed
}

// messages counts the publications that carry a message.
func messages(ps []worker.Publication) (n uint64) {
	for i := range ps {
		if ps[i].Kind == worker.KindMessage {
			n++
		}
	}
	return n
}
