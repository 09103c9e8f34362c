package cluster

import (
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const forgetful = `
drain = "100ms"
[history]
store = "jetstream"
replicas = 1
[[channel]]
match = "room*"
history = 100
age = "15s"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
routes = { "/echo" = "echo" }
`

// TestAQuietChannelOfAKilledBrokerProcess: who is in a channel of which nothing is kept any
// more gets what another node publishes while the broker process of his is away.
func TestAQuietChannelOfAKilledBrokerProcess(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Config: forgetful, Nodes: 2})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	all := c.crowd(t, 1)
	published := func(channel string) {
		t.Helper()
		await(t, "n2 publishes", func() (reply, bool) {
			status, r := n2.post("/v1/publish", object{"channel": channel, "data": "x"})
			return r, status == 200
		})
	}
	published("rooms")
	pushdtest.Eventually(t, "it is too old", func() bool {
		var page struct{ Messages []struct{ Offset uint64 } }
		n1.get("/v1/history?channel=rooms", &page)
		return len(page.Messages) == 0
	})
	n1.Kill(n1.Status().Broker.PID)
	published("room")
	for _, k := range all {
		k.until("x")
	}
}
