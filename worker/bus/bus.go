// Package bus is what the processes of a server say to each other, and what a
// worker needs of whatever carries it: publications, questions and answers, words to
// services, the order that nodes share. It has no connection and no goroutine.
//
// worker/broker carries them over NATS, worker/workertest in memory. A worker calls a
// Broker on its loop; what the Broker has for the worker comes to its Inbox on a
// goroutine of the Broker's.
package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Errors of the methods of a Broker, and of what it carries.
var (
	// ErrBusy: the queue towards the broker is full (64 Ki
	// publications or 64 MiB); the publication was not taken.
	ErrBusy = errors.New("broker queue is full: publishing faster than the broker takes")
	// ErrAway: the broker has not been reachable for more than a second;
	// the publication was not taken.
	ErrAway = errors.New("broker is away")
	// ErrUnsure: what was published was taken and may be lost, or arrive late, since
	// the broker was away, or silent, before it was known to have it.
	ErrUnsure = fmt.Errorf("%w: it is not known whether what was sent has arrived", ErrAway)
	// ErrTooLarge: a publication carries at most MaxData bytes.
	ErrTooLarge = errors.New("message is larger than one publication may be (1 MiB)")
	// ErrNoServices: the Broker has no part that carries it.
	ErrNoServices = errors.New("broker carries nothing to services")
	// ErrNoAnswer is what AskService tells when the time is over.
	ErrNoAnswer = errors.New("the service did not answer in time")
	// ErrUnavailable: the history that several nodes share takes no message now;
	// it may have taken this one.
	ErrUnavailable = errors.New("the shared history is not available")
	// ErrOutdated: the channel has had a message of this version or a higher one.
	ErrOutdated = errors.New("the version is not new")
)

// Answer is what one worker process says to a publication or query with a
// Reply.
type Answer struct {
	Worker  string          `json:"w"`           // text of the control.Identity
	Reached int             `json:"n,omitempty"` // connections it was queued for, closed, bound …
	Data    json.RawMessage `json:"d,omitempty"` // of a query
	Heir    string          `json:"h,omitempty"` // likewise, of the process that has to answer too: connections have moved there
	Error   string          `json:"e,omitempty"`
	Away    bool            `json:"u,omitempty"` // Error is an ErrUnavailable
}

// AnswerOf makes an answer of what was asked for, or of why it cannot be had.
func AnswerOf(data []byte, err error) Answer {
	if err != nil {
		return Answer{Error: err.Error(), Away: errors.Is(err, ErrUnavailable)}
	}
	return Answer{Data: data}
}

// Err returns the error that is the answer, nil if it is none.
func (a *Answer) Err() error {
	switch {
	case a.Error == "":
		return nil
	case a.Away:
		return fmt.Errorf("%w%s", ErrUnavailable, strings.TrimPrefix(a.Error, ErrUnavailable.Error()))
	}
	return errors.New(a.Error)
}

// Query is a question to every worker process, outside the stream.
type Query struct {
	What   string          `json:"q"` // as control.Query.What
	Args   json.RawMessage `json:"a,omitempty"`
	Roster bool            `json:"r,omitempty"` // the asker also wants to know who has to answer
	Reply  string          `json:"-"`
}

// Broker carries publications between the processes. worker/broker implements
// it; it is made outside and handed to Serve. All methods but Start and Close
// are called on the loop, unless they say otherwise, and never block.
//
// That is what a worker cannot do without. A Broker may have further parts,
// which are in parts.go: Services, Pauser, Numberer, Assurer.
type Broker interface {
	// Start connects, subscribes and returns once every publication published
	// from then on will be delivered to in.
	Start(in Inbox) error
	// Publish queues p, with Publisher and Seq still unset. It keeps p.Data
	// until it is sent. Errors: ErrBusy, ErrAway.
	Publish(p *Publication) error
	// PublishAll queues all of ps in their order or, with an error, none.
	PublishAll(ps []Publication) error
	// Barrier calls reached when all that was published here before has reached
	// the broker; with arrived, when besides all that had reached the broker by
	// then has been given to the Inbox. No other process is asked or woken. A
	// broker that dies meanwhile may never answer: ask again. Errors as of
	// Publish. Any goroutine may call it; reached runs on one of the broker
	// client's, as the methods of the Inbox do.
	Barrier(arrived bool, reached func()) error
	// Answer queues an answer. One that finds the queue full is dropped: the
	// asker then reports complete = false.
	Answer(reply string, a Answer)
	// Stats may be called by any goroutine.
	Stats() Stats
	// Close sends what is queued, for at most a second.
	Close() error
}

// Inbox is where a Broker delivers to: the worker. All methods may be called by
// one goroutine at a time and may block while the loop is busy; the broker's
// client then buffers up to its own limit and counts what it drops as gaps.
type Inbox interface {
	// Deliver hands over publications in the order of the stream. The worker
	// owns the slice and its contents until it returns, the Data for good.
	Deliver(batch []Publication)
	// Query hands over a question to be answered by Broker.Answer.
	Query(q Query)
	// Gap reports publications that were lost on the way.
	Gap(publisher uint64, shard uint8, missing uint64)
}

// Stats counts since the process started.
type Stats struct {
	Published uint64 // sent to the broker
	Refused   uint64 // ErrBusy and ErrAway
	Expired   uint64 // taken, then given up after a second without the broker
	Received  uint64
	Gaps      uint64 // publications known to be lost
	Connected bool
}
