package worker

import "slices"

// listeners are the functions of On by channel: the process itself as a member.
// They belong to the loop. A list is never changed, only replaced, so that one may
// stop while it is gone through.
type listeners map[string][]*listener

type listener struct{ fn func(m Message) } // fn is nil when stopped

// On makes this process itself a member of channel: fn gets what is published
// there by any process or the API, in order per publisher, and runs on the loop.
// m.Data may be kept, and must not be changed. It is for what processes tell each
// other: that something cached has changed, that a setting is another one. Except
// leaves connections out, not processes, and no count of reached ones has them.
//
// It begins with the call (what arrives during OnWorkerStart is kept for it), and
// ends with stop or the process. While a reload moves connections, the old process
// and the new one are both members, each for its own state: neither misses anything
// or gets it twice. The old one hears nothing any more when all have moved. What
// the broker loses, Stats count as gaps. A service's own messages, as those of
// presence, are not for it.
func (w *Worker) On(channel string, fn func(m Message)) (stop func()) {
	l, at := w.loop, &listener{fn}
	if l.listeners == nil {
		l.listeners = listeners{}
	}
	l.listeners[channel] = append(slices.Clip(l.listeners[channel]), at)
	return func() { l.listeners.stop(channel, at) }
}

func (ls listeners) stop(channel string, at *listener) {
	at.fn = nil
	rest := slices.DeleteFunc(slices.Clone(ls[channel]), func(o *listener) bool { return o == at })
	if ls[channel] = rest; len(rest) == 0 {
		delete(ls, channel)
	}
}

// hear gives a publication to the listeners of its channel, before the members
// get it. It returns how many there were.
func (l *loop) hear(p *Publication) int {
	if l.listeners == nil || p.Scope != ScopeChannel || p.Kind != KindMessage || l.phase == phaseRetired {
		return 0
	}
	list := l.listeners[p.Target]
	for _, at := range list {
		l.progress.Add(1)
		at.hear(l, Message{Data: p.Data, Binary: p.Binary})
	}
	return len(list)
}

func (at *listener) hear(l *loop, m Message) {
	if at.fn != nil {
		defer l.contain("On", nil)
		at.fn(m)
	}
}
