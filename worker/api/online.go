package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/order"
)

type onlineResult struct {
	Online   map[string]int `json:"online"` // connections of those who have any
	Complete bool           `json:"complete"`
	Missing  []string       `json:"missing,omitempty"`
}

// online serves POST /v1/online.
func (s *Server) online(ctx context.Context, r *http.Request) (any, error) {
	fields, err := readObject(r)
	if err != nil {
		return nil, err
	}
	uids, err := order.UIDs(fields)
	if err != nil {
		return nil, err
	}
	q, online := worker.NewOnlineQuery(uids), make(map[string]int)
	all, err := s.query(ctx, "online", q, broker.Who{}, func(_ string, raw json.RawMessage) error {
		var counts []int
		if err := json.Unmarshal(raw, &counts); err != nil {
			return err
		}
		q.Add(online, counts)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return onlineResult{online, all.Complete, all.Missing}, nil
}
