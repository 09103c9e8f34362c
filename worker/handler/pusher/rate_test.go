package pusher

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestSubscriptionRate: a client may have all its channels at once, and changes
// them as fast as the app allows. Leaving is never refused.
func TestSubscriptionRate(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(config, "client_events", "subscription_rate = 1\nclient_events", 1)})
	b := newBackend(t, s)
	p := join(t, s, mainPath)
	channels := []string{"a0", "a1", "a2", "a3", "a4"} // max_channels
	for _, name := range channels {
		p.subscribe(name)
	}
	refused := func() bool {
		p.ask("a0", "")
		g := p.next()
		if g.Event == "pusher:error" && !strings.Contains(string(g.Data), `"code":4301`) {
			t.Fatalf("over the rate: %+v", g)
		}
		return g.Event == "pusher:error"
	}
	fast := 0
	for fast < 100 && !refused() {
		fast++
	}
	if fast == 100 {
		t.Fatal("a client changes its subscriptions as fast as it likes")
	}
	p.leave("a0")
	b.trigger("x", "1", channels...)
	for _, name := range channels[1:] {
		p.want("x", name, "1")
	}
	pushdtest.Eventually(t, "subscriptions again", func() bool { return !refused() })
	b.trigger("x", "2", "a0")
	p.want("x", "a0", "2")
}
