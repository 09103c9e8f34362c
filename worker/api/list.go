package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/broker"
	"github.com/pushd/pushd/worker/order"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	workerLimit  = 100 // of one worker's page
)

// listing merges what the workers hold into one order, so that a cursor, the
// key of the last entry, stays right when entries or workers come and go.
type listing[T any] struct {
	key     func(T) string
	compare func(a, b string) int
	join    func(into *T, same T) // an entry that two workers hold
}

// page is one worker's answer: entries in order, cut after cursor unless "".
type page[T any] struct {
	entries []T
	cursor  string
}

// fetch asks all workers for what comes after cursor.
type fetch[T any] func(cursor string, limit int) (pages []page[T], all broker.Outcome, err error)

// collect gathers up to limit entries after cursor. next is "" at the end.
func (l listing[T]) collect(limit int, cursor string, get fetch[T]) (entries []T, next string, all broker.Outcome, err error) {
	entries = []T{}
	for {
		pages, all, err := get(cursor, min(limit-len(entries), workerLimit))
		if err != nil {
			return nil, "", all, err
		}
		merged, horizon := l.merge(pages)
		entries = append(entries, merged...)
		switch {
		case len(entries) > limit || len(entries) == limit && horizon != "":
			entries = entries[:limit]
			return entries, l.key(entries[limit-1]), all, nil
		case horizon == "" || !all.Complete: // no second wait for a worker that does not answer
			return entries, horizon, all, nil
		}
		cursor = horizon
	}
}

// merge orders the pages up to the horizon: the first key after which some
// worker has more than it has told. "" = all was told.
func (l listing[T]) merge(pages []page[T]) (merged []T, horizon string) {
	for _, p := range pages {
		if p.cursor != "" && (horizon == "" || l.compare(p.cursor, horizon) < 0) {
			horizon = p.cursor
		}
	}
	var all []T
	for _, p := range pages {
		for _, e := range p.entries {
			if horizon == "" || l.compare(l.key(e), horizon) <= 0 {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b T) int { return l.compare(l.key(a), l.key(b)) })
	for _, e := range all {
		if n := len(merged); n > 0 && l.key(merged[n-1]) == l.key(e) {
			l.join(&merged[n-1], e)
		} else {
			merged = append(merged, e)
		}
	}
	return merged, horizon
}

var connectionList = listing[worker.ConnInfo]{
	key:     func(c worker.ConnInfo) string { return c.ID },
	compare: compareIDs,
	join:    func(*worker.ConnInfo, worker.ConnInfo) {}, // moved while we asked: either view is right
}

var channelList = listing[worker.ChannelInfo]{
	key:     func(c worker.ChannelInfo) string { return c.Name },
	compare: cmp.Compare[string],
	join:    func(into *worker.ChannelInfo, same worker.ChannelInfo) { into.Members += same.Members },
}

// compareIDs orders connection ids as the workers do: as numbers.
func compareIDs(a, b string) int {
	x, okX := worker.ParseID(a)
	y, okY := worker.ParseID(b)
	if !okX || !okY {
		return cmp.Compare(a, b)
	}
	return bytes.Compare(x[:], y[:])
}

// ConnQuery selects connections of all nodes; empty fields select all.
type ConnQuery struct {
	Node   string `json:"node,omitempty"`
	Worker string `json:"worker,omitempty"` // name of the group
	worker.ConnQuery
}

// ConnPage is a page of connections in the order of their ids, the answer of
// GET /v1/connections.
type ConnPage struct {
	Connections []worker.ConnInfo `json:"connections"`
	Cursor      string            `json:"cursor"`
	Complete    bool              `json:"complete"`
	missing
}

type channelsResult struct {
	Channels []worker.ChannelInfo `json:"channels"`
	Cursor   string               `json:"cursor"`
	Complete bool                 `json:"complete"`
	missing
}

// connections serves GET /v1/connections.
func (s *Server) connections(ctx context.Context, r *http.Request) (any, error) {
	q, err := parseList(r.URL.RawQuery, "node", "worker", "uid", "channel", "ip")
	if err != nil {
		return nil, err
	}
	if ip := q.filter["ip"]; ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return nil, invalid("ip", "ip: must be an IP address")
		}
	}
	return s.Connections(ctx, ConnQuery{Node: q.filter["node"], Worker: q.filter["worker"], ConnQuery: worker.ConnQuery{
		UID: q.filter["uid"], Channel: q.filter["channel"], IP: q.filter["ip"], Limit: q.limit, Cursor: sealCursor(q.cursor),
	}})
}

// Connections asks the workers of all nodes, each for 250 ms by default. Any goroutine
// may call it.
func (s *Server) Connections(ctx context.Context, q ConnQuery) (*ConnPage, error) {
	after, err := openCursor(q.Cursor)
	if err != nil {
		return nil, invalid("cursor", "cursor: must come from an earlier answer")
	}
	who := broker.Who{Node: q.Node, Group: q.Worker}
	entries, next, all, err := connectionList.collect(q.Limit, after, func(cursor string, limit int) ([]page[worker.ConnInfo], broker.Outcome, error) {
		args := q.ConnQuery
		args.Limit, args.Cursor = limit, cursor
		return fetchPages(ctx, s, "connections", args, who, func(from control.Identity, p worker.ConnPage) page[worker.ConnInfo] {
			for i := range p.Connections {
				p.Connections[i].Node = from.Node
			}
			return page[worker.ConnInfo]{p.Connections, p.Cursor}
		})
	})
	if err != nil {
		return nil, err
	}
	return &ConnPage{entries, sealCursor(next), all.Complete, missing{all.Missing}}, nil
}

// channels serves GET /v1/channels.
func (s *Server) channels(ctx context.Context, r *http.Request) (any, error) {
	q, err := parseList(r.URL.RawQuery, "node", "prefix")
	if err != nil {
		return nil, err
	}
	who := broker.Who{Node: q.filter["node"]}
	entries, next, all, err := channelList.collect(q.limit, q.cursor, func(cursor string, limit int) ([]page[worker.ChannelInfo], broker.Outcome, error) {
		args := worker.ChannelQuery{Prefix: q.filter["prefix"], Limit: limit, Cursor: cursor}
		return fetchPages(ctx, s, "channels", args, who, func(_ control.Identity, p worker.ChannelPage) page[worker.ChannelInfo] {
			return page[worker.ChannelInfo]{p.Channels, p.Cursor}
		})
	})
	if err != nil {
		return nil, err
	}
	return channelsResult{entries, sealCursor(next), all.Complete, missing{all.Missing}}, nil
}

// fetchPages asks a question and decodes the answers, of type P, into pages.
func fetchPages[P, T any](ctx context.Context, s *Server, what string, args any, who broker.Who, open func(control.Identity, P) page[T]) ([]page[T], broker.Outcome, error) {
	var pages []page[T]
	all, err := s.query(ctx, what, args, who, func(from string, raw json.RawMessage) error {
		var p P
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		id, _ := control.ParseIdentity(from)
		pages = append(pages, open(id, p))
		return nil
	})
	return pages, all, err
}

// listQuery is a parsed query string.
type listQuery struct {
	limit  int
	cursor string
	filter map[string]string
}

// parseList reads limit, cursor and the filters named.
func parseList(raw string, filters ...string) (listQuery, error) {
	q := listQuery{limit: defaultLimit, filter: map[string]string{}}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, invalid("", "query string: cannot be decoded")
	}
	for name, vs := range values {
		v := vs[len(vs)-1]
		switch {
		case name == "limit":
			if q.limit, err = strconv.Atoi(v); err != nil || q.limit < 1 || q.limit > maxLimit {
				return q, invalid("limit", fmt.Sprintf("limit: must be 1 to %d", maxLimit))
			}
		case name == "cursor":
			if q.cursor, err = openCursor(v); err != nil {
				return q, invalid("cursor", "cursor: must come from an earlier answer")
			}
		case !slices.Contains(filters, name):
			return q, invalid(name, fmt.Sprintf("unknown parameter %q; known are limit, cursor, %s", name, strings.Join(filters, ", ")))
		case len(v) > order.MaxName:
			return q, invalid(name, fmt.Sprintf("%s: at most %d bytes", name, order.MaxName))
		default:
			q.filter[name] = v
		}
	}
	return q, nil
}

func sealCursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func openCursor(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err
}
