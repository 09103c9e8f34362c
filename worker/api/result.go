package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

// problem is a request that is refused: the body of the error answer.
type problem struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
	Field   string `json:"field,omitempty"`
	Reason  string `json:"reason,omitempty"` // see history.Reason
}

func (p *problem) Error() string { return p.Message }

// invalid refuses a request because of one of its fields.
func invalid(field, message string) *problem {
	return &problem{Status: http.StatusBadRequest, Message: message, Field: field}
}

// statuses of refused orders.
var statuses = map[order.Cause]int{
	order.Malformed:    http.StatusBadRequest,
	order.Invalid:      http.StatusBadRequest,
	order.TooMany:      http.StatusBadRequest,
	order.UnknownApp:   http.StatusNotFound,
	order.UnknownGroup: http.StatusNotFound,
	order.TooLarge:     http.StatusRequestEntityTooLarge,
	order.TooLong:      http.StatusRequestEntityTooLarge,
}

// asProblem gives refused orders and errors of the bus their status.
func asProblem(err error) *problem {
	var p *problem
	var refused *order.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return &problem{Status: statuses[refused.Cause], Message: refused.Message, Field: refused.Field}
	case errors.Is(err, worker.ErrTooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, Message: err.Error()}
	case errors.Is(err, worker.ErrBrokerAway), errors.Is(err, worker.ErrBrokerBusy), errors.Is(err, worker.ErrUnavailable):
		return &problem{Status: http.StatusServiceUnavailable, Message: err.Error()}
	}
	return &problem{Status: http.StatusInternalServerError, Message: err.Error()}
}

// The answers to orders.
type (
	reachedResult struct {
		Reached  int  `json:"reached"`
		Complete bool `json:"complete"`
		missing
		// Of channels with history, and of those who have given a key or version.
		Position  string            `json:"position,omitempty"`
		Positions map[string]string `json:"positions,omitempty"` // by channel, where there are several
		Repeated  bool              `json:"repeated,omitempty"`  // the key was known: nothing was sent again
		Outdated  bool              `json:"outdated,omitempty"`  // the version was not new: nothing was sent
	}
	sentResult struct {
		Reached  int  `json:"reached"`
		Online   bool `json:"online"`
		Complete bool `json:"complete"`
		missing
	}
	closedResult struct {
		Closed   int  `json:"closed"`
		Complete bool `json:"complete"`
		missing
	}
	// missing names the nodes of which some worker has not answered in time.
	missing struct {
		Nodes []string `json:"missing,omitempty"`
	}
)

// results say, for each verb, what is made of the workers' answers.
var results = map[string]func(tally) (any, error){
	"publish": reached, "send": sent, "broadcast": reached, "kick": closed,
	"bind": done, "unbind": done, "join": done, "leave": done,
}

func reached(t tally) (any, error) {
	return reachedResult{Reached: t.reached, Complete: t.complete, missing: missing{t.missing}}, nil
}
func sent(t tally) (any, error) {
	return sentResult{t.reached, t.reached > 0, t.complete, missing{t.missing}}, nil
}
func closed(t tally) (any, error) {
	return closedResult{t.reached, t.complete, missing{t.missing}}, nil
}

// positioned adds what the history service has said to the result of a publish.
func positioned(result any, err error) func([]worker.Publication, []tally) (any, error) {
	return func(ps []worker.Publication, ts []tally) (any, error) {
		r, ok := result.(reachedResult)
		if err != nil || !ok {
			return result, err
		}
		for i := range ts {
			n := &ts[i].numbered
			if n.Failed != "" {
				return nil, &problem{Status: http.StatusServiceUnavailable, Message: n.Failed}
			}
			r.Repeated = r.Repeated || n.Repeated
			r.Outdated = r.Outdated || n.Outdated
			switch at := n.Position.String(); {
			case at == "":
			case len(ts) == 1:
				r.Position = at
			default:
				if r.Positions == nil {
					r.Positions = map[string]string{}
				}
				r.Positions[ps[i].Target] = at
			}
		}
		return r, nil
	}
}

// done is for orders about one connection: it must have been there.
func done(t tally) (any, error) {
	switch {
	case t.refusal != "":
		return nil, &problem{Status: http.StatusBadRequest, Message: t.refusal}
	case t.reached > 0:
		return struct{}{}, nil
	case t.complete:
		return nil, &problem{Status: http.StatusNotFound, Message: "no such connection", Field: "connection"}
	}
	return nil, &problem{Status: http.StatusServiceUnavailable, Message: "not every worker answered in time" + onNodes(t.missing) + ", and no one that did has the connection: try again"}
}

// onNodes names nodes in a sentence.
func onNodes(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// sum adds up the tallies of an order's publications.
func sum(ts []tally) tally {
	total := tally{complete: true}
	for _, t := range ts {
		total.reached += t.reached
		total.complete = total.complete && t.complete
		for _, node := range t.missing {
			if !slices.Contains(total.missing, node) {
				total.missing = append(total.missing, node)
			}
		}
		if t.refusal != "" {
			total.refusal = t.refusal
		}
	}
	return total
}
