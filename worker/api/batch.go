package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

type batchResult struct {
	Results []any `json:"results"`
}

// batch serves several orders, in their order.
func (s *Server) batch(ctx context.Context, r *http.Request) (any, error) {
	fields, err := readObject(r)
	if err != nil {
		return nil, err
	}
	items, err := order.Batch(fields, s.names())
	if err != nil {
		return nil, err
	}
	results, err := s.carryOut(ctx, items)
	if err != nil {
		return nil, err
	}
	return batchResult{results}, nil
}

// batchLimit is how long the items of a batch wait for each other, less than the time
// for the answer to a request.
const batchLimit = 10 * time.Second

// carryOut publishes as many items at once as come to the workers in their order, and
// the next ones when those have been answered: a message that the history numbers goes
// a longer way than a kick behind it. When somebody has not answered in time, all that
// is left goes at once: he does not hold up a batch as often as its items change their
// way.
//
// An error means that nothing was published. If what comes later is not taken, its items
// and all behind them say so.
func (s *Server) carryOut(ctx context.Context, items []order.Item) (results []any, err error) {
	limit, sent, late := time.Now().Add(batchLimit), false, false
	lists := make([][]worker.Publication, len(items))
	for i := range items {
		lists[i] = items[i].Publications
	}
	for n := 0; len(items) > 0; items, lists = items[n:], lists[n:] {
		if n = len(items); !late && time.Now().Before(limit) {
			n = s.o.Client.InOrder(lists)
		}
		tallies, err := s.askAll(ctx, lists[:n])
		switch {
		case err != nil && !sent:
			return nil, err
		case err != nil:
			for _, it := range items {
				results = append(results, refused(it, err))
			}
			return results, nil
		}
		for i, it := range items[:n] {
			results = append(results, resultOf(it, tallies[i]))
			sent = sent || len(lists[i]) > 0
			late = late || !sum(tallies[i]).complete
		}
	}
	return results, nil
}

// askAll publishes all of the lists, or none, and gathers the answers to each.
func (s *Server) askAll(ctx context.Context, lists [][]worker.Publication) ([][]tally, error) {
	var ps []worker.Publication
	for _, list := range lists {
		ps = append(ps, list...)
	}
	var all []tally
	if len(ps) > 0 {
		var err error
		if all, err = s.ask(ctx, ps); err != nil {
			return nil, err
		}
	}
	tallies := make([][]tally, len(lists))
	for i, list := range lists {
		tallies[i], all = all[:len(list)], all[len(list):]
	}
	return tallies, nil
}

// refused is the result of an item that was not sent.
func refused(it order.Item, err error) any {
	if it.Err != nil {
		err = it.Err
	}
	return asProblem(err)
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
