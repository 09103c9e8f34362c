package worker

import (
	"errors"
	"testing"
)

// TestNoName: what is for a channel or user without a name is refused, and nobody joins
// one.
func TestNoName(t *testing.T) {
	w := New(anyWS)
	m := Text("x")
	w.OnMessage = func(c *Conn, _ Message) {
		c.Join("")
		c.Join("", Last(3))
		c.Bind("")
		for name, err := range map[string]error{
			"Publish": w.Publish("", m), "PublishAll": w.PublishAll([]ChannelMessage{{Channel: "a", Message: m}, {Message: m}}),
			"PublishNumbered": w.PublishNumbered([]ChannelMessage{{Message: m}}, func([]Numbered, bool) { t.Error("it was published") }),
			"SendToUID":       w.SendToUID("", m), "KickUID": w.KickUID("", 1000, ""),
		} {
			if !errors.Is(err, ErrNoName) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if c.CountChannels() != 0 || c.Joining("") || c.UID() != "" {
			t.Errorf("it is in %q", c.Channels())
		}
		if err := errors.Join(w.Broadcast(m), w.SendToConn("", m)); err != nil {
			t.Error(err)
		}
	}
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	c.text("go")
	c.want("x")
	s.on(func() {
		if n := w.loop.counts.published; n != 2 {
			t.Errorf("%d are counted as published", n)
		}
	})
}
