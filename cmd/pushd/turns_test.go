package main_test

import (
	"bytes"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const turns = `
watchdog = "500ms"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
compression = true
routes = { "/echo" = "echo", "/notify" = { handler = "notify", options = { anonymous = true } } }
`

// TestBusyIsNotDead: strangers send all at once what takes the loop many times
// the watchdog to work off. It is nobody's death, and an honest client is heard
// in between.
func TestBusyIsNotDead(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: turns})
	before := s.Status()
	honest := s.Dial("/echo")
	const strangers, each = 16, 400
	load := bytes.Repeat(raw(0xc1, bomb(60<<10)), each) // 24 MB of messages in 24 KB
	var crowd []*pushdtest.Client
	for range strangers {
		crowd = append(crowd, s.Dial("/notify", "Sec-WebSocket-Extensions: permessage-deflate"))
	}
	for _, c := range crowd {
		if _, err := c.Conn.Write(load); err != nil {
			t.Fatal(err)
		}
	}
	echoes := 0
	for s.Status().Workers[0].MessagesIn < uint64(strangers*each+echoes) {
		honest.SendText("x")
		honest.WantText("x")
		echoes++
	}
	if after := s.Status(); after.Workers[0].PID != before.Workers[0].PID {
		t.Errorf("the worker was replaced:\n%s", s.Log())
	}
	for _, c := range crowd {
		c.Close()
	}
	if echoes < 1 {
		t.Error("the honest client was not heard before all was worked off")
	}
}
