package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/pushd/pushd/worker"
)

// item is one operation of a batch: refused, or with its publications
// ps[from:to] of the whole batch.
type item struct {
	op       operation
	from, to int
	err      error
}

type batchResult struct {
	Results []any `json:"results"`
}

// batch serves up to maxItems operations. They are published in order before
// the first answer is waited for, so it takes as long as the slowest one.
func (s *Server) batch(ctx context.Context, r *http.Request) (any, error) {
	fields, err := readObject(r)
	if err != nil {
		return nil, err
	}
	raw, err := parseBatch(fields)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(raw))
	var ps []worker.Publication
	for i := range raw {
		op, own, err := parseItem(raw[i], s.apps)
		items[i] = item{op: op, from: len(ps), to: len(ps) + len(own), err: err}
		ps = append(ps, own...)
	}
	if len(ps) > maxTargets {
		return nil, invalid("items", "items: %d targets in all, at most %d", len(ps), maxTargets)
	}
	var tallies []tally
	if len(ps) > 0 {
		if tallies, err = s.ask(ctx, ps); err != nil {
			return nil, err
		}
	}
	results := make([]any, len(items))
	for i, it := range items {
		results[i] = it.result(tallies)
	}
	return batchResult{results}, nil
}

func (it item) result(tallies []tally) any {
	if it.err != nil {
		return asProblem(it.err)
	}
	result, err := it.op.result(sum(tallies[it.from:it.to]))
	if err != nil {
		return asProblem(err)
	}
	return result
}

func parseBatch(fields map[string]json.RawMessage) ([]json.RawMessage, error) {
	for name := range fields {
		if name != "items" {
			return nil, invalid(name, "unknown field %q; known are items", name)
		}
	}
	var raw []json.RawMessage
	if v := fields["items"]; len(v) == 0 || v[0] != '[' || json.Unmarshal(v, &raw) != nil {
		return nil, invalid("items", "items: must be a list of objects")
	}
	if len(raw) == 0 || len(raw) > maxItems {
		return nil, invalid("items", "items: must have 1 to %d entries", maxItems)
	}
	return raw, nil
}

func parseItem(raw json.RawMessage, known apps) (operation, []worker.Publication, error) {
	fields, err := parseObject(raw)
	if err != nil {
		return operation{}, nil, &problem{Status: http.StatusBadRequest, Message: "item must be an object"}
	}
	var name string
	if err := text(&name, fields["op"]); err != nil {
		return operation{}, nil, invalid("op", "op: must be a string")
	}
	op, ok := operations[name]
	if !ok {
		return operation{}, nil, invalid("op", "unknown op %q; known are %v", name, operationNames)
	}
	delete(fields, "op")
	ps, err := op.parse(fields, known)
	return op, ps, err
}

var operationNames = func() []string {
	var names []string
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()
