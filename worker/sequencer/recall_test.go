package sequencer_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

func TestMain(m *testing.M) { os.Exit(pushdtest.Main(m)) }

const config = `
[[channel]]
match = "room*"
history = 100
age = "1h"
[[channel]]
match = "state*"
mode = "latest"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/r" = "recall" }
`

func start(t *testing.T, config string, env ...string) *pushdtest.Server {
	return pushdtest.Start(t, pushdtest.Options{Package: "worker/sequencer/testdata/recall", Config: config, Env: env})
}

// client is one of the handler recall.
type client struct {
	*pushdtest.Client
	t  testing.TB
	id string
}

func dial(t testing.TB, s *pushdtest.Server) *client { return greeted(t, s.Dial("/r")) }

func greeted(t testing.TB, c *pushdtest.Client) *client {
	t.Helper()
	_, id := c.Read()
	return &client{c, t, string(id)}
}

// joined reads the answer to a join and returns the position.
func (c *client) joined(channel, rest string) (position string) {
	c.t.Helper()
	_, raw := c.Read()
	f := strings.SplitN(string(raw), " ", 4)
	if len(f) != 4 || f[0] != "joined" || f[1] != channel || f[3] != rest {
		c.t.Fatalf("got %q, want joined %s … %s", raw, channel, rest)
	}
	return f[2]
}

// message reads a message and returns its position.
func (c *client) message(channel, text string) (position string) {
	c.t.Helper()
	_, raw := c.Read()
	f := strings.SplitN(string(raw), " ", 5)
	if len(f) != 5 || f[0] != "m" || f[1] != channel || f[4] != text {
		c.t.Fatalf("got %q, want %q in %s", raw, text, channel)
	}
	return f[2]
}

// publish publishes by the API and waits until it has reached who is there.
func publish(t testing.TB, s *pushdtest.Server, channel, text string) {
	t.Helper()
	if status, answer := s.Post("/v1/publish", map[string]any{"channel": channel, "data": text}); status != 200 {
		t.Fatalf("publish: %d %v", status, answer)
	}
}

// TestRecovery: who comes back with a position gets what was missed, then what
// follows, whatever the way in which it was published.
func TestRecovery(t *testing.T) {
	s := start(t, config)
	by := s.DialEach("/r", 1)
	a, b := greeted(t, by[0][0]), greeted(t, by[1][0])
	a.SendText("join room1")
	at := a.joined("room1", `0 ""`)
	b.SendText("join other")
	b.joined("other", `0 "off"`)
	publish(t, s, "room1", "one")
	first := a.message("room1", "one")
	b.SendText("publish room1 two")
	a.message("room1", "two")
	b.SendText("join room1 " + at)
	b.joined("room1", `2 ""`)
	if p := b.message("room1", "one"); p != first {
		t.Errorf("recovered at %s, was at %s", p, first)
	}
	b.message("room1", "two")
	b.SendText("leave room1")
	b.SendText("publish room1 three")
	a.message("room1", "three")
	b.SendText("join room1 " + first)
	b.joined("room1", `2 ""`)
	b.message("room1", "two")
	b.message("room1", "three")
	epoch, _, _ := strings.Cut(at, ":")
	for position, reason := range map[string]string{
		"aaaaaa:1": "epoch", ":1": "epoch", epoch + ":99": "future", epoch + ":9223372036854775808": "future",
		strings.Repeat("x", 1<<10) + ":1": "epoch",
	} {
		b.SendText("join room1 " + position)
		b.joined("room1", `0 "`+reason+`"`)
	}
	b.SendText("join room1 last 2")
	b.joined("room1", `2 ""`)
	b.message("room1", "two")
	b.message("room1", "three")
	b.SendText("history room1")
	b.WantText("history 1 3 <nil> 1=one 2=two 3=three")

	publish(t, s, "state1", "old")
	publish(t, s, "state1", "new")
	b.SendText("join state1 " + epoch + ":0")
	b.joined("state1", `1 ""`)
	b.message("state1", "new")
}

// TestRecoveryThroughFaults: positions hold through a reload of everything, and
// the epoch is a new one when the broker process was killed.
func TestRecoveryThroughFaults(t *testing.T) {
	s := start(t, config)
	c, idle := dial(t, s), dial(t, s)
	for _, c := range []*client{c, idle} {
		c.SendText("join room1")
		c.joined("room1", `0 ""`)
	}
	publish(t, s, "room1", "one")
	at := c.message("room1", "one")
	idle.message("room1", "one")
	c.Close()
	publish(t, s, "room1", "two")
	s.WriteConfig("drain = \"7s\"\n" + config)
	broker := s.Status().Broker.PID
	s.MustRun("reload")
	if s.Status().Broker.PID == broker {
		t.Fatal("the reload has left the broker process alone")
	}
	publish(t, s, "room1", "three")
	idle.message("room1", "two")
	idle.message("room1", "three")
	c = dial(t, s)
	c.SendText("join room1 " + at)
	c.joined("room1", `2 ""`)
	c.message("room1", "two")
	at = c.message("room1", "three")

	s.Kill(s.Status().Broker.PID)
	for _, c := range []*client{c, idle} {
		_, raw := c.Read()
		if f := strings.SplitN(string(raw), " ", 4); len(f) != 4 || f[0] != "again" || f[3] != `0 "epoch"` {
			t.Fatalf("after the broker process was killed: %q", raw)
		}
	}
	d := dial(t, s)
	d.SendText("join room1 " + at)
	d.joined("room1", `0 "epoch"`)
	publish(t, s, "room1", "four")
	for _, c := range []*client{c, idle, d} {
		c.message("room1", "four")
	}
}

// TestMany: at default limits a client of 200 channels that has missed 100
// messages in each gets all of them, and is not closed.
func TestMany(t *testing.T) {
	s := start(t, config)
	c := dial(t, s)
	c.SendText("join room")
	at := c.joined("room", `0 ""`)
	text := strings.Repeat("x", 128)
	const channels, messages = 200, 100
	for range messages {
		for i := range channels {
			c.SendText(fmt.Sprintf("publish room%d %s", i, text))
		}
	}
	c.SendText("publish room last")
	c.message("room", "last")
	d := dial(t, s)
	for i := range channels {
		d.SendText(fmt.Sprintf("join room%d %s", i, at))
	}
	joined, got := 0, 0
	for joined < channels || got < channels*messages {
		_, raw := d.Read()
		switch f := strings.Fields(string(raw)); f[0] {
		case "joined":
			if joined++; f[3] != "100" || f[4] != `""` {
				t.Fatalf("%s", raw)
			}
		case "m":
			got++
		default:
			t.Fatalf("%.100s", raw)
		}
	}
	d.SendText("ping")
	d.WantText("pong")
}
