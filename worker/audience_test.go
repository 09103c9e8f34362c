package worker

import (
	"strings"
	"testing"
)

// choosy lets each client have what begins as its query does.
type choosy struct {
	recalling
	named []string // queries of those whom the audience names; nil: all are asked
}

func (h *choosy) OnFilter(c *Conn, p *Published) bool {
	return strings.HasPrefix(p.Message.String(), c.RawQuery())
}

func (h *choosy) OnWorkerStart(w *Worker) error {
	w.SetAudience("room", func(*Published) (list []*Conn, all bool) {
		w.Connections(func(c *Conn) bool {
			for _, q := range h.named {
				if q == c.RawQuery() {
					list = append(list, c)
				}
			}
			return true
		})
		return list, h.named == nil
	})
	return nil
}

// Of a channel's messages each member gets what OnFilter lets through: of those that
// come, and of those that were missed, in an answer that several share.
func TestFilter(t *testing.T) {
	w, _ := newRecalling()
	h := &choosy{recalling: recalling{plain: true}}
	w.Routes[0].Handler = h
	s, a, p := launchAsked(t, w)
	one, two := connect(t, s.addrs[0], "/?a"), connect(t, s.addrs[0], "/?b")
	_, _ = one.id(), two.id()
	first := p.number("room", "first") // which both have had
	p.publish(first)
	one.text("room 1")
	two.text("room 1")
	wants := a.take(s)
	for len(wants) < 2 {
		wants = append(wants, a.take(s)...)
	}
	p.publish(p.number("room", "a1"), p.number("room", "b1"), p.number("room", "c1"), p.answer(wants...), p.number("room", "b2"), p.number("room", "a2"))
	for _, text := range []string{"before", "a1", "joined", "a2"} {
		one.want(text)
	}
	for _, text := range []string{"before", "b1", "joined", "b2"} {
		two.want(text)
	}
	// Of those whom an audience names the members get it, and nobody else.
	stranger := connect(t, s.addrs[0], "/?")
	_ = stranger.id()
	s.on(func() { h.named = []string{"b", ""} })
	p.publish(p.number("room", "a3"), p.number("room", "b3"))
	two.want("b3")
	s.on(func() { h.named = nil })
	p.publish(p.number("room", "a4"), p.number("room", "b4"))
	one.want("a4")
	two.want("b4")
	s.on(func() {
		w.Connections(func(c *Conn) bool {
			if _, out, _, _ := c.Counters(); c.RawQuery() == "" && out != 1 {
				t.Errorf("who is no member has %d messages", out)
			}
			return true
		})
	})
}
