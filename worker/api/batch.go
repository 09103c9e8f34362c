package api

import (
	"context"
	"net/http"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

type batchResult struct {
	Results []any `json:"results"`
}

// batch serves several orders. They are published in order before the first
// answer is waited for, so it takes as long as the slowest one.
func (s *Server) batch(ctx context.Context, r *http.Request) (any, error) {
	fields, err := readObject(r)
	if err != nil {
		return nil, err
	}
	items, err := order.Batch(fields, s.names())
	if err != nil {
		return nil, err
	}
	var ps []worker.Publication
	for _, it := range items {
		ps = append(ps, it.Publications...)
	}
	var tallies []tally
	if len(ps) > 0 {
		if tallies, err = s.ask(ctx, ps); err != nil {
			return nil, err
		}
	}
	results := make([]any, len(items))
	for i, it := range items {
		n := len(it.Publications)
		results[i] = resultOf(it, tallies[:n])
		tallies = tallies[n:]
	}
	return batchResult{results}, nil
}

func resultOf(it order.Item, ts []tally) any {
	if it.Err != nil {
		return asProblem(it.Err)
	}
	result, err := positioned(results[it.Verb](sum(ts)))(it.Publications, ts)
	if err != nil {
		return asProblem(err)
	}
	return result
}
