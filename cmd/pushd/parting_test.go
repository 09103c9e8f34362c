package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestMembersDoNotVanishBeforeAStop one by one: who is closed last has seen
// nobody leave.
func TestMembersDoNotVanishBeforeAStop(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(sdkConfig, "drain = \"100ms\"", "drain = \"1s\"", 1)})
	c := &calls{backEnd: &backEnd{program: &program{t: t}}, s: s}
	const members = 20
	bad := make(chan string, members)
	for i := range members {
		l := c.listen()
		l.join("presence-room", fmt.Sprint("user", i))
		go func() {
			for {
				op, data, err := l.Next(pushdtest.Timeout)
				switch {
				case err != nil:
					bad <- err.Error()
				case op == pushdtest.OpClose:
					bad <- ""
					_ = l.Try(pushdtest.OpClose, data[:2])
				case strings.Contains(string(data), "member_removed"):
					bad <- string(data)
				default:
					continue
				}
				return
			}
		}()
	}
	s.Stop()
	for range members {
		if text := <-bad; text != "" {
			t.Errorf("before its goodbye a member got %s", text)
		}
	}
}
