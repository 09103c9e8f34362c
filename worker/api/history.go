package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/order"
)

// historyWait is how long the history service may take to answer.
const historyWait = 2 * time.Second

// historyResult is a page of a channel's history.
type historyResult struct {
	Position string          `json:"position"` // behind all that was numbered in the app
	First    uint64          `json:"first"`
	Last     uint64          `json:"last"`
	Messages []historyRecord `json:"messages"`
	Cursor   string          `json:"cursor"`
}

type historyRecord struct {
	Position string          `json:"position"`
	Time     int64           `json:"time"` // Unix milliseconds
	Event    string          `json:"event,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Base64   []byte          `json:"data_base64,omitempty"`
}

// readHistory serves GET /v1/history.
func (s *Server) readHistory(ctx context.Context, r *http.Request) (any, error) {
	q := question{values: r.URL.Query(), known: []string{"channel", "app", "after", "limit", "order", "cursor"}}
	name, app, err := q.channel(s.o.Apps)
	if err != nil {
		return nil, err
	}
	ask := worker.HistoryQuery{Channel: name}
	if ask.Limit, err = q.limit(); err != nil {
		return nil, err
	}
	switch q.values.Get("order") {
	case "", "asc":
	case "desc":
		ask.Newest = true
	default:
		return nil, invalid("order", `order: "asc", the oldest first, or "desc"`)
	}
	if ask.After, err = q.position("after"); err != nil {
		return nil, err
	}
	cursor, err := q.position("cursor")
	switch {
	case err != nil:
		return nil, err
	case cursor == (history.Position{}):
	case ask.Newest:
		ask.Before = cursor.Offset
	default:
		ask.After, ask.Kept = cursor, ask.After == (history.Position{})
	}
	var page worker.HistoryPage
	if err := s.askHistory(ctx, worker.HistoryQuestion{Read: &ask}, &page); err != nil {
		return nil, err
	}
	field := "after"
	if cursor != (history.Position{}) {
		field = "cursor"
		switch {
		case page.Reason != "":
		case page.Now.Epoch != cursor.Epoch:
			page.Reason = history.OtherEpoch.String()
		case page.Now.Offset < cursor.Offset:
			page.Reason = history.Future.String()
		}
	}
	if page.Reason != "" {
		return nil, gone(page.Reason, field)
	}
	return resultOfPage(&page, app != ""), nil
}

// gone says why messages cannot be had.
func gone(reason, field string) *problem {
	p := &problem{Status: http.StatusGone, Message: "what follows this position cannot be had as a whole", Field: field, Reason: reason}
	if reason == history.Off.String() {
		p.Status, p.Message, p.Field = http.StatusNotFound, "the channel has no history: see [[channel]] in the config", "channel"
	}
	return p
}

func resultOfPage(page *worker.HistoryPage, events bool) historyResult {
	result := historyResult{Position: page.Now.String(), First: page.First, Last: page.Last, Messages: []historyRecord{}}
	for i := range page.Messages {
		m := &page.Messages[i]
		at := history.Position{Epoch: page.Now.Epoch, Offset: m.Offset}
		result.Messages = append(result.Messages, recordOf(m, at.String(), events))
	}
	if n := len(result.Messages); page.More && n > 0 {
		result.Cursor = result.Messages[n-1].Position
	}
	return result
}

// recordOf takes an event of the Pusher protocol apart, which is what messages
// in an app are.
func recordOf(m *worker.HistoryMessage, at string, events bool) historyRecord {
	record := historyRecord{Position: at, Time: m.Time}
	if m.Binary || !utf8.Valid(m.Data) {
		record.Base64 = m.Data
		return record
	}
	var event struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}
	if events && json.Unmarshal(m.Data, &event) == nil && event.Event != "" {
		record.Event, record.Data = event.Event, event.Data
		return record
	}
	record.Data, _ = json.Marshal(string(m.Data)) // text always can
	return record
}

// purgeHistory serves DELETE /v1/history.
func (s *Server) purgeHistory(ctx context.Context, r *http.Request) (any, error) {
	q := question{values: r.URL.Query(), known: []string{"channel", "app", "offset"}}
	name, _, err := q.channel(s.o.Apps)
	if err != nil {
		return nil, err
	}
	purge := worker.HistoryPurge{Channel: name}
	if text := q.values.Get("offset"); text != "" {
		if purge.Offset, err = strconv.ParseUint(text, 10, 64); err != nil || purge.Offset == 0 {
			return nil, invalid("offset", "offset: the number of one message, from 1 on")
		}
	}
	var done worker.HistoryPurged
	err = s.askHistory(ctx, worker.HistoryQuestion{Purge: &purge}, &done)
	return done, err
}

// askHistory asks the service that keeps it.
func (s *Server) askHistory(ctx context.Context, q worker.HistoryQuestion, answer any) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode question: %w", err)
	}
	got := make(chan error, 1)
	var a worker.Answer
	err = s.o.Client.AskService(worker.HistoryService, "api", raw, historyWait, func(answer worker.Answer, err error) {
		a = answer
		got <- err
	})
	if err != nil {
		return err
	}
	select {
	case err = <-got:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case errors.Is(err, worker.ErrNoAnswer):
		return &problem{Status: http.StatusServiceUnavailable, Message: "the history has not answered: try again"}
	case err != nil:
		return err
	case a.Error != "":
		return a.Err()
	}
	return json.Unmarshal(a.Data, answer)
}

// question is the query of a request, whose parts are all known.
type question struct {
	values url.Values
	known  []string
}

// channel reads channel and app; the name is that on the bus.
func (q *question) channel(apps order.Apps) (name, app string, err error) {
	for key := range q.values {
		if !slices.Contains(q.known, key) {
			return "", "", invalid(key[:min(len(key), 50)], fmt.Sprintf("unknown parameter %.50q; known are %s", key, strings.Join(q.known, ", ")))
		}
	}
	name, app = q.values.Get("channel"), q.values.Get("app")
	_, configured := apps[app]
	switch {
	case name == "" || len(name) > order.MaxName || !utf8.ValidString(name):
		return "", "", invalid("channel", fmt.Sprintf("channel: 1 to %d bytes of text", order.MaxName))
	case app != "" && !configured:
		return "", "", &problem{Status: http.StatusNotFound, Message: "no such app: the config has no [[app]] with this id", Field: "app"}
	case app != "":
		name = app + ":" + name
	}
	return name, app, nil
}

func (q *question) limit() (int, error) {
	text := q.values.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, invalid("limit", fmt.Sprintf("limit: 1 to %d", maxLimit))
	}
	return n, nil
}

func (q *question) position(key string) (p history.Position, err error) {
	text := q.values.Get(key)
	if text == "" {
		return p, nil
	}
	if p, err = history.Parse(text); err != nil {
		return p, invalid(key, key+": "+err.Error())
	}
	return p, nil
}
