package pusher

import (
	"fmt"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPresenceThroughSwap: the keeper's process is replaced by one that knows
// nothing, while others come and go. Those who stay are told of them once, and
// nothing of each other, and the new keeper knows whom it has.
func TestPresenceThroughSwap(t *testing.T) {
	x := newStorm(t, 8)
	for _, m := range x.stay {
		m.heard("")
	}
	for i := range 2 {
		broker := x.s.Status().Broker.PID
		x.s.WriteConfig(fmt.Sprintf("drain = \"%ds\"\n", 6+i) + stormConfig) // the broker process has it
		x.churn(func() { x.s.MustRun("reload") })
		if x.s.Status().Broker.PID == broker {
			t.Fatal("the reload has left the broker process alone")
		}
		x.calm("everybody sees who is there, each told once")
		x.unmoved("the swap")
	}
	one := x.stay[0]
	one.Conn.Close()
	pushdtest.Eventually(t, "its own goroutine knows", one.gone) // or calm counts it among those who stay
	x.calm("the new keeper tells who leaves")
	for _, m := range x.stay[1:] {
		if news := m.heard("stay"); len(news) != 1 || news[0] != "-"+one.user {
			t.Errorf("%s was told %q, want only that %s has left", m.user, news, one.user)
		}
	}
}
