package worker

// Audience says who of the members of a channel gets a message of it, where a
// handler knows that better than by asking them one by one. It runs on the loop for
// each message that arrives, also when the channel has no members here. With all
// true every member is asked, by OnFilter; otherwise only those in list, which may
// hold others: they are left out.
type Audience func(p *Published) (list []*Conn, all bool)

// SetAudience gives a channel an Audience; nil takes it away. For OnWorkerStart.
func (w *Worker) SetAudience(channel string, a Audience) {
	l := w.loop
	if l.audiences == nil {
		l.audiences = map[string]Audience{}
	}
	if l.audiences[channel] = a; a == nil {
		delete(l.audiences, channel)
	}
}

// audience replaces the members of a delivery by those who are to get it.
func (l *loop) audience(d *delivery) {
	a := l.audiences[d.pub.Target]
	if a == nil || d.pub.Kind != KindMessage {
		return
	}
	defer l.contain("Audience", nil)
	p := published(&d.pub, d.pub.Data)
	list, all := a(&p)
	if all || d.group == nil {
		return
	}
	l.fan.members = append(l.fan.members[:0], list...)
	d.chosen = true
}

// passes reports whether c gets the message of a channel.
func (c *Conn) passes(p *Published) bool {
	rt := c.route
	if rt.onFilter == nil || p.Channel == "" {
		return true
	}
	defer c.loop.contain("OnFilter", c)
	return rt.onFilter(c, p)
}
