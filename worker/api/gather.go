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
	complete bool            // every live worker answered in time
	missing  []string        // nodes on which some did not
	refusal  string          // by a worker, "" = none
	numbered worker.Numbered // of a message in a channel with history
}

// ask publishes all of ps, or none, and gathers the answers.
func (s *Server) ask(ctx context.Context, ps []worker.Publication) ([]tally, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.AnswerTimeout)
	defer cancel()
	tallies := make([]tally, len(ps))
	outcomes, err := s.o.Client.PublishCollect(ctx, ps, func(i int, a worker.Answer) {
		if a.Worker == worker.HistoryService {
			_ = json.Unmarshal(a.Data, &tallies[i].numbered) // ours
			return
		}
		tallies[i].reached += a.Reached
		if a.Error != "" {
			tallies[i].refusal = a.Error
		}
	})
	if err != nil {
		return nil, err
	}
	s.published.Add(messages(ps))
	for i := range tallies {
		tallies[i].complete, tallies[i].missing = outcomes[i].Complete, outcomes[i].Missing
	}
	return tallies, nil
}

// query asks some workers and hands the data of each answer to take, with the
// name of the worker.
func (s *Server) query(ctx context.Context, what string, args any, who broker.Who, take func(from string, data json.RawMessage) error) (broker.Outcome, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return broker.Outcome{}, fmt.Errorf("encode query %q: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.AnswerTimeout)
	defer cancel()
	var wrong error // in an answer
	all, err := s.o.Client.Collect(ctx, worker.BusQuery{What: what, Args: raw}, who, func(a worker.Answer) {
		switch {
		case wrong != nil:
		case a.Error != "":
			wrong = fmt.Errorf("worker %s: query %q: %s", a.Worker, what, a.Error)
		default:
			if e := take(a.Worker, a.Data); e != nil {
				wrong = fmt.Errorf("worker %s: query %q: %w", a.Worker, what, e)
			}
		}
	})
	if err == nil {
		err = wrong
	}
	return all, err
}

// meetTry is how long one question of Meet waits for its answers.
const meetTry = 50 * time.Millisecond

// Meet returns once every worker on the roster has answered over the bus, or
// when ctx is over.
func (s *Server) Meet(ctx context.Context) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, meetTry)
		all, err := s.query(try, "stats", nil, broker.Who{}, func(string, json.RawMessage) error { return nil })
		if err == nil && all.Complete {
			cancel()
			return
		}
		<-try.Done() // the bus itself may be away
		cancel()
	}
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
