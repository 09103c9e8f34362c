package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
)

// tally is what the workers said to one publication.
type tally struct {
	reached  int
	complete bool            // every live worker answered in time
	refusal  string          // by a worker, "" = none
	numbered worker.Numbered // of a message in a channel with history
}

// ask publishes all of ps, or none, and gathers the answers.
func (s *Server) ask(ctx context.Context, ps []worker.Publication) ([]tally, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.AnswerTimeout)
	defer cancel()
	tallies := make([]tally, len(ps))
	complete, err := s.o.Client.PublishCollect(ctx, ps, func(i int, a worker.Answer) {
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
		tallies[i].complete = complete[i]
	}
	return tallies, nil
}

// query asks the workers of a group, "" = all, and hands the data of each
// answer to take.
func (s *Server) query(ctx context.Context, what string, args any, group string, take func(json.RawMessage) error) (complete bool, err error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return false, fmt.Errorf("encode query %q: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.AnswerTimeout)
	defer cancel()
	var wrong error // in an answer
	complete, err = s.o.Client.Collect(ctx, worker.BusQuery{What: what, Args: raw}, group, func(a worker.Answer) {
		switch {
		case wrong != nil:
		case a.Error != "":
			wrong = fmt.Errorf("worker %s: query %q: %s", a.Worker, what, a.Error)
		default:
			if e := take(a.Data); e != nil {
				wrong = fmt.Errorf("worker %s: query %q: %w", a.Worker, what, e)
			}
		}
	})
	if err == nil {
		err = wrong
	}
	return complete, err
}

// meetTry is how long one question of Meet waits for its answers.
const meetTry = 50 * time.Millisecond

// Meet returns once every worker on the roster has answered over the bus, or
// when ctx is over.
func (s *Server) Meet(ctx context.Context) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, meetTry)
		all, err := s.query(try, "stats", nil, "", func(json.RawMessage) error { return nil })
		if err == nil && all {
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
