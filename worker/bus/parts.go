package bus

import (
	"context"
	"time"
)

// Parts is a Broker with all that one may have. Serve looks once at what it
// offers; what is missing is there all the same and says so, so that nobody has
// to ask.
type Parts struct {
	Broker
	Services
	Pauser
	Numberer
	Assurer
	Stander
}

// PartsOf completes what a Broker offers.
func PartsOf(b Broker) Parts {
	p := Parts{b, NoServices{}, noPause{}, noNumbers{b}, noAssurance{}, noStands{}}
	if s, ok := b.(Services); ok {
		p.Services = s
	}
	if s, ok := b.(Pauser); ok {
		p.Pauser = s
	}
	if s, ok := b.(Numberer); ok {
		p.Numberer = s
	}
	if s, ok := b.(Assurer); ok {
		p.Assurer = s
	}
	if s, ok := b.(Stander); ok {
		p.Stander = s
	}
	return p
}

// Services is a Broker that also carries words and questions to services,
// and questions to the handlers of all worker processes. Its methods do not
// block; done is called once, on a goroutine of its own, unless there is an
// error: ErrBusy, ErrAway, ErrTooLarge.
type Services interface {
	// Tell queues data for the service, behind everything that was published
	// before. It copies data.
	Tell(service, from string, data []byte) error
	// TellAll is Tell to the service of every node.
	TellAll(service, from string, data []byte) error
	// AskService is Tell with an answer, or ErrNoAnswer when none came in time.
	AskService(service, from string, data []byte, wait time.Duration, done func(Answer, error)) error
	// Gather asks every worker process, this one included, and tells whether
	// all that live have answered within wait.
	Gather(q Query, wait time.Duration, done func(answers []Answer, complete bool)) error
}

// Pauser is what a Broker offers beside, so that the broker process can be
// replaced without a loss. The master takes all clients of the bus through
// these steps at the same time, each step only when all have done the one
// before; a pause that it does not end, ends after 3 s. Any goroutine may call
// them, one at a time.
type Pauser interface {
	// Pause stops sending. What is published from now on waits in the queue,
	// what was sent before has reached the broker when it returns.
	Pause(ctx context.Context) error
	// Drain returns when all that the broker had for this client has arrived.
	Drain(ctx context.Context) error
	// Rejoin returns when the client has subscribed at another broker than
	// the one of Pause.
	Rejoin(ctx context.Context) error
	// Proceed sends again.
	Proceed()
}

// A Numberer is a Broker that tells what the history service has made of messages.
type Numberer interface {
	// PublishNumbered is PublishAll; done is called once, on a goroutine of its
	// own, with what the service has said to each message, nothing of those that
	// it has no part in. all is false when it has not answered within wait. The
	// workers are not asked. After an error done is not called.
	PublishNumbered(ps []Publication, wait time.Duration, done func(said []Numbered, all bool)) error
}

// An Assurer is a Broker that may be away, or silent, for a while before that is known.
type Assurer interface {
	// Assure calls send, which publishes and tells. sure: there is no more to be known of
	// what was queued. Else, without an error, done is called once, on a goroutine of its
	// own: with nil when the broker has all of it, with ErrUnsure when it may not have it.
	// No other process is asked or woken, so it is not said who gets it. Errors: those of
	// send, and as of Publish.
	Assure(send func() error, done func(error)) (sure bool, err error)
}

// A Stander is a Broker of which two, of processes that follow each other, may hang
// on different servers, so that one hears what the other does not, and third processes
// hear of the two in any order. Heard and Expect may not
// be called on the loop, as what is under way to it is waited for; Server and
// Everywhere may be called by any goroutine.
type Stander interface {
	// Heard gives to the Inbox what it has for it, and tells up to which number each
	// source has been heard here: what is not higher has been given to the Inbox, or
	// was reported as a gap, or was for others.
	Heard(each func(publisher uint64, shard uint8, seq uint64))
	// Expect says that another process had heard this much of a source, and that its
	// members are taken over here: what lies between that and what is heard here, now
	// or later, is a gap.
	Expect(publisher uint64, shard uint8, seq uint64)
	// Server names the server that this end hangs on: two ends of the same name are on
	// the same one. "" = there is only one.
	Server() string
	// Everywhere asks all processes of all nodes to answer behind what was published
	// here, and told and answered, before: when all have, nothing that anybody sends
	// from now on comes before that, whichever servers it goes by. all is false if some
	// did not answer within wait. done is called once, on a goroutine of its own, unless
	// there is an error: as of Publish.
	Everywhere(wait time.Duration, done func(all bool)) error
}

// EverywhereQuestion is the Query.What of Everywhere. It is answered without the loop;
// workers of the version before do not know it, and say so, which is an answer too.
const EverywhereQuestion = "everywhere"

// noStands stands where a Broker is no Stander.
type noStands struct{}

func (noStands) Heard(func(uint64, uint8, uint64)) {}
func (noStands) Expect(uint64, uint8, uint64)      {}
func (noStands) Server() string                    { return "" }
func (noStands) Everywhere(_ time.Duration, done func(bool)) error {
	go done(true)
	return nil
}

// noNumbers stands where a Broker is no Numberer.
type noNumbers struct{ Broker }

func (b noNumbers) PublishNumbered(ps []Publication, _ time.Duration, done func([]Numbered, bool)) error {
	err := b.PublishAll(ps)
	if err == nil {
		go done(make([]Numbered, len(ps)), true)
	}
	return err
}

// noAssurance stands where a Broker is no Assurer.
type noAssurance struct{}

func (noAssurance) Assure(send func() error, _ func(error)) (bool, error) { return true, send() }

// NoServices stands where a Broker has no Services.
type NoServices struct{}

func (NoServices) Tell(string, string, []byte) error    { return ErrNoServices }
func (NoServices) TellAll(string, string, []byte) error { return ErrNoServices }
func (NoServices) AskService(string, string, []byte, time.Duration, func(Answer, error)) error {
	return ErrNoServices
}
func (NoServices) Gather(Query, time.Duration, func([]Answer, bool)) error { return ErrNoServices }

// noPause stands where a Broker has no Pauser: what it has sent is not waited for.
type noPause struct{}

func (noPause) Pause(context.Context) error  { return nil }
func (noPause) Drain(context.Context) error  { return nil }
func (noPause) Rejoin(context.Context) error { return nil }
func (noPause) Proceed()                     {}
