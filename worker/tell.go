package worker

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/pushd/pushd/worker/survey"
)

// Identity names this process, see control.Identity. Any goroutine.
func (w *Worker) Identity() string { return w.loop.identity }

// Tell tells the service something, in the order of the calls and behind what
// was published before. It does not wait, and data may be reused at once. Like
// a publication it can be lost when the broker is killed; a service numbers
// what must not be. Errors: ErrBrokerBusy, ErrBrokerAway, ErrTooLarge,
// ErrNoServices.
func (w *Worker) Tell(service string, data []byte) error {
	return w.loop.broker.Tell(service, w.loop.identity, data)
}

// TellAll is Tell to the service of every node, not only of this one's.
func (w *Worker) TellAll(service string, data []byte) error {
	return w.loop.broker.TellAll(service, w.loop.identity, data)
}

// Ask puts a question to the service and calls done once on the loop, with its
// answer in JSON, its error, or ErrNoAnswer after wait. done is not called
// before Ask returns.
func (w *Worker) Ask(service string, data []byte, wait time.Duration, done func(json []byte, err error)) {
	l := w.loop
	err := l.broker.AskService(service, l.identity, data, wait, func(a Answer, err error) {
		if err == nil {
			err = a.Err()
		}
		l.later(func() { done(a.Data, err) })
	})
	if err != nil {
		l.later(func() { done(nil, err) })
	}
}

// Gather puts a question to the handlers of every worker process, this one
// included, and calls done once on the loop with the answers in JSON. complete
// says that every process that lives has answered within wait. A process whose
// handlers do not know what answers with no data. done is not called before
// Gather returns.
//
// In each process the first handler answers whose OnQuery returns data or an
// error; name a question after the handler that it is for: "pusher.channels".
func (w *Worker) Gather(what string, args []byte, wait time.Duration, done func(answers []Answer, complete bool)) {
	l := w.loop
	raw, err := json.Marshal(survey.HandlerQuery{What: what, Args: args})
	if err == nil {
		err = l.broker.Gather(BusQuery{What: GatherQuery, Args: raw}, wait, func(answers []Answer, complete bool) {
			l.later(func() { done(answers, complete) })
		})
	}
	if err != nil {
		l.later(func() { done(nil, false) })
	}
}

// later runs a callback of the program in a later turn.
func (l *loop) later(fn func()) { l.post(l.users(fn)) }

// askHandlers answers Gather in this process. What has not begun has nothing to say:
// questions come as soon as the broker knows of the process.
func (l *loop) askHandlers(args json.RawMessage) (answer json.RawMessage, err error) {
	if !l.begun {
		return nil, nil
	}
	var q survey.HandlerQuery
	if err := decode(args, &q); err != nil {
		return nil, err
	}
	_ = l.each(func(r *route) error {
		if answer == nil && err == nil && r.onQuery != nil {
			answer, err = r.query(l, q)
		}
		return nil
	})
	return answer, err
}

// query calls OnQuery. A panic in it is an answer like any other error.
func (r *route) query(l *loop, q survey.HandlerQuery) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked("OnQuery", nil, p, debug.Stack())
			err = fmt.Errorf("OnQuery panicked: %v", p)
		}
	}()
	return r.onQuery(q.What, q.Args)
}
