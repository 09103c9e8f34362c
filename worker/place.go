package worker

import "github.com/pushd/pushd/worker/hub"

// A connection that has come from another process gets its place here: by what
// its record says, in the config of this process, which may be another one.

// place gives the connection its place in this process: listener, route, names.
// It returns false when the config has none for it.
func (a *arrival) place(l *loop) bool {
	c := a.c
	if c.sit(l.plain.at(l.portFor(a.port), a.speaks)); c.port == nil {
		c.sit(l.plain.at(nowhere, a.speaks)) // for its few last moments
		return false
	}
	fits := true
	if c.port.addr.packet == nil && a.path != "" {
		rt := l.match(a.path)
		switch {
		case rt != nil:
			c.enter(rt, a.path)
		case a.speaks.talks:
			fits = false
		}
	}
	if p := c.poll(); p != nil {
		p.terms = l.agreed(*p.terms)
	}
	for _, name := range a.channels {
		l.hub.Join(hub.Channel, name, c)
	}
	for _, j := range a.joining {
		l.await(c, j)
	}
	if a.uid != "" {
		l.hub.Join(hub.UID, a.uid, c)
	}
	return fits
}

// nowhere is the listener of connections that the config has none for.
var nowhere = &port{}

// watch sets the moment at which the heartbeat looks at the connection. The old
// process may have had a limit less than this one.
func (a *arrival) watch(l *loop) {
	c := a.c
	*l.conns.when(c) = a.deadline
	if a.deadline == 0 && a.speaks.await != nil {
		a.speaks.await(c)
	}
}

// portFor returns the listener of that address, else one of the same protocol.
func (l *loop) portFor(addr string) *port {
	want, err := parseListen(addr)
	if err != nil {
		return nil
	}
	var same *port
	for _, p := range l.ports {
		if p.addr.text == addr {
			return p
		}
		if p.addr.secure == want.secure && p.addr.speaks == want.speaks && (want.packet == nil || p.addr.scheme == want.scheme) {
			same = p
		}
	}
	return same
}
