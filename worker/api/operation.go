package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/pushd/pushd/worker"
)

// operation is one verb of the API: what it takes, what it publishes, and what
// it makes of the workers' answers.
type operation struct {
	fields []string
	build  func(*request) ([]worker.Publication, error)
	result func(tally) (any, error)
}

// The answers of the operations.
type (
	reachedResult struct {
		Reached  int  `json:"reached"`
		Complete bool `json:"complete"`
	}
	sentResult struct {
		Reached  int  `json:"reached"`
		Online   bool `json:"online"`
		Complete bool `json:"complete"`
	}
	closedResult struct {
		Closed   int  `json:"closed"`
		Complete bool `json:"complete"`
	}
)

var operations = map[string]operation{
	"publish":   {[]string{"channel", "channels", "data", "data_base64", "except", "app", "event"}, buildPublish, reached},
	"send":      {[]string{"uid", "uids", "connection", "connections", "data", "data_base64", "app", "event"}, buildSend, sent},
	"broadcast": {[]string{"worker", "data", "data_base64", "except"}, buildBroadcast, reached},
	"kick":      {[]string{"uid", "uids", "connection", "connections", "code", "reason", "app"}, buildKick, closed},
	"bind":      {[]string{"connection", "uid"}, buildBind, done},
	"unbind":    {[]string{"connection", "uid"}, buildUnbind, done},
	"join":      {[]string{"connection", "channel", "channels"}, membership(worker.KindJoin), done},
	"leave":     {[]string{"connection", "channel", "channels"}, membership(worker.KindLeave), done},
}

// parse turns the fields of an operation into what it publishes. An app must be
// a known one.
func (op operation) parse(fields map[string]json.RawMessage, known apps) ([]worker.Publication, error) {
	r, err := parseRequest(fields, op.fields)
	if err != nil {
		return nil, err
	}
	ps, err := op.build(r)
	if err == nil {
		err = r.inApp(known, ps)
	}
	switch {
	case err != nil:
		return nil, err
	case len(ps) > maxTargets:
		return nil, invalid("", "%d targets, at most %d in one request", len(ps), maxTargets)
	case len(ps)*len(r.data) > maxFanout:
		return nil, &problem{Status: http.StatusRequestEntityTooLarge, Field: "data",
			Message: "data is over 16 MiB for all targets together: use a channel, or several requests"}
	}
	return ps, nil
}

func needData(r *request) error {
	if !r.hasData {
		return invalid("data", "data or data_base64 is needed")
	}
	return nil
}

func buildPublish(r *request) ([]worker.Publication, error) {
	if len(r.channels) == 0 {
		return nil, invalid("channel", "channel or channels is needed")
	}
	return r.to(worker.KindMessage, worker.ScopeChannel, r.channels), needData(r)
}

func buildSend(r *request) ([]worker.Publication, error) {
	ps, err := r.toPeople(worker.KindMessage)
	if err != nil {
		return nil, err
	}
	return ps, needData(r)
}

func buildBroadcast(r *request) ([]worker.Publication, error) {
	return r.to(worker.KindMessage, worker.ScopeAll, []string{r.worker}), needData(r)
}

func buildKick(r *request) ([]worker.Publication, error) {
	if r.code == 0 {
		r.code = 1000
	}
	r.data = []byte(r.reason)
	return r.toPeople(worker.KindKick)
}

func (r *request) toPeople(kind worker.Kind) ([]worker.Publication, error) {
	if len(r.uids)+len(r.connections) == 0 {
		return nil, invalid("uid", "uid, uids, connection or connections is needed")
	}
	return slices.Concat(r.to(kind, worker.ScopeUID, r.uids), r.to(kind, worker.ScopeConn, r.connections)), nil
}

func buildBind(r *request) ([]worker.Publication, error) {
	if len(r.uids) == 0 {
		return nil, invalid("uid", "uid is needed")
	}
	r.data = []byte(r.uids[0])
	return r.toConnection(worker.KindBind)
}

// buildUnbind: a connection that is by now bound to another uid than the one
// given, if any, stays so.
func buildUnbind(r *request) ([]worker.Publication, error) {
	if len(r.uids) > 0 {
		r.data = []byte(r.uids[0])
	}
	return r.toConnection(worker.KindUnbind)
}

func membership(kind worker.Kind) func(*request) ([]worker.Publication, error) {
	return func(r *request) ([]worker.Publication, error) {
		if len(r.channels) == 0 {
			return nil, invalid("channel", "channel or channels is needed")
		}
		list, err := json.Marshal(r.channels)
		if err != nil {
			return nil, invalid("channels", "channels: %v", err)
		}
		r.data = list
		return r.toConnection(kind)
	}
}

func (r *request) toConnection(kind worker.Kind) ([]worker.Publication, error) {
	if len(r.connections) == 0 {
		return nil, invalid("connection", "connection is needed")
	}
	return r.to(kind, worker.ScopeConn, r.connections), nil
}

func reached(t tally) (any, error) { return reachedResult{t.reached, t.complete}, nil }
func sent(t tally) (any, error)    { return sentResult{t.reached, t.reached > 0, t.complete}, nil }
func closed(t tally) (any, error)  { return closedResult{t.reached, t.complete}, nil }

// done is for operations on one connection: it must have been there.
func done(t tally) (any, error) {
	switch {
	case t.refusal != "":
		return nil, &problem{Status: http.StatusBadRequest, Message: t.refusal}
	case t.reached > 0:
		return struct{}{}, nil
	case t.complete:
		return nil, &problem{Status: http.StatusNotFound, Message: "no such connection", Field: "connection"}
	}
	return nil, &problem{Status: http.StatusServiceUnavailable, Message: "not every worker answered in time, and no one that did has the connection: try again"}
}

// sum adds up the tallies of an operation's publications.
func sum(ts []tally) tally {
	total := tally{complete: true}
	for _, t := range ts {
		total.reached += t.reached
		total.complete = total.complete && t.complete
		if t.refusal != "" {
			total.refusal = t.refusal
		}
	}
	return total
}
