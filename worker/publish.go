package worker

import "github.com/pushd/pushd/protocol/websocket"

// What a program publishes goes to the broker's queue, on the loop, and nowhere else: no
// member of this process gets it before it has come back, so that all processes see one
// publisher's messages in one order. Number and publisher are set by the broker's client
// when it is sent; until then a publication belongs to the queue, its Data with it.
//
// What is refused here has no effect at all: ErrTooLarge, ErrNoName, ErrUnavailable, or
// the broker's own ErrBrokerBusy and ErrBrokerAway. Counted is what was handed on to it.

// publish hands a publication to the broker; it comes back to this process's
// own members by the same way as to all others.
func (l *loop) publish(kind Kind, scope Scope, target string, m Message, opts []Option) error {
	if len(m.Data) > maxPublication {
		return ErrTooLarge
	}
	p := newPublication(kind, scope, target, m)
	for _, o := range opts {
		p.Except = append(p.Except, o.except...)
	}
	if err := l.takes(&p); err != nil {
		return err
	}
	l.counts.published++
	return l.broker.Publish(&p)
}

// newPublication copies the data: the caller may use it again, and a publication never
// changes.
func newPublication(kind Kind, scope Scope, target string, m Message) Publication {
	return Publication{
		Kind: kind, Scope: scope, Target: target, Shard: Shard(scope, target),
		Binary: m.Binary, Data: append([]byte(nil), m.Data...),
	}
}

// publishAll publishes all of list in its order or, with an error, nothing: a list that
// is taken in part could not be tried again.
func (l *loop) publishAll(list []ChannelMessage) error {
	if len(list) == 0 {
		return nil
	}
	ps, err := l.publications(list)
	if err != nil {
		return err
	}
	return l.broker.PublishAll(ps)
}

// publications makes them, and counts them only when each can be taken.
func (l *loop) publications(list []ChannelMessage) ([]Publication, error) {
	ps := make([]Publication, len(list))
	for i := range list {
		m := &list[i]
		if len(m.Data) > maxPublication {
			return nil, ErrTooLarge
		}
		ps[i] = newPublication(KindMessage, ScopeChannel, m.Channel, m.Message)
		ps[i].Except, ps[i].Order, ps[i].Unkept = m.Except, m.Order, m.Unkept
		if err := l.takes(&ps[i]); err != nil {
			return nil, err
		}
	}
	l.counts.published += uint64(len(ps))
	return ps, nil
}

// publishNumbered is publishAll that tells what the history service has said.
func (l *loop) publishNumbered(list []ChannelMessage, done func([]Numbered, bool)) error {
	ps, err := l.publications(list)
	if err != nil {
		return err
	}
	return l.broker.PublishNumbered(ps, historyWait, func(said []Numbered, all bool) {
		l.later(func() { done(said, all) })
	})
}

// assure has done run on the loop when the broker has what send has published.
func (l *loop) assure(send func() error, done func(error)) error {
	sure, err := l.broker.Assure(send, func(err error) {
		l.later(func() { done(err) })
	})
	if sure && err == nil {
		done(nil)
	}
	return err
}

// takes says why a message cannot be published: for whom there can be nobody, or of a
// channel with history, when it cannot be numbered now.
func (l *loop) takes(p *Publication) error {
	if !hasName(p.Scope, p.Target) {
		return ErrNoName
	}
	if l.recall.away && !p.Unkept && p.Kind == KindMessage && p.Scope == ScopeChannel && l.hasHistory(p.Target) {
		return ErrUnavailable
	}
	return nil
}

// hasName reports whether what needs a name has one.
func hasName(scope Scope, target string) bool {
	return target != "" || scope != ScopeChannel && scope != ScopeUID
}

// kick closes the target's connections, wherever they are, in the order of what is
// published to the same target: what was said before reaches them before they go.
func (l *loop) kick(scope Scope, target string, code int, reason string) error {
	if !websocket.MayClose(code) {
		return ErrCloseCode
	}
	if !hasName(scope, target) {
		return ErrNoName
	}
	return l.broker.Publish(&Publication{
		Kind: KindKick, Scope: scope, Target: target, Shard: Shard(scope, target),
		Code: uint16(code), Data: []byte(reason),
	})
}
