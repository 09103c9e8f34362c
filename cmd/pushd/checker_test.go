package main_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const buggy = `
drain = "100ms"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/none" = "faulty", "/drop" = { handler = "faulty", options = { fault = "drop" } }, "/duplicate" = { handler = "faulty", options = { fault = "duplicate" } }, "/swap" = { handler = "faulty", options = { fault = "swap" } }, "/corrupt" = { handler = "faulty", options = { fault = "corrupt" } }, "/close" = { handler = "faulty", options = { fault = "close" } } }
`

// TestCheckerFindsPlantedBugs: the checker that all of these tests trust finds a
// bug of each sort in a server of several processes, among echoes and among
// what members of a channel say, and names it rightly.
func TestCheckerFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Package: "cmd/pushd/testdata/faulty", Config: buggy})
	for fault, kind := range map[string]string{
		"none": "", "drop": "loss", "duplicate": "duplicate", "swap": "reorder", "corrupt": "corrupt", "close": "closed",
	} {
		for _, role := range []string{"echo", "member"} {
			t.Run(fault+" "+role, func(t *testing.T) {
				t.Parallel()
				room, flags := "none", []string{"--settle", "300ms", "--drain", "1s", "--idle", "0", "--connect-rate", "0", "--churn", "0", "--slow", "0", "--publish-rate", "0"}
				if role == "echo" {
					flags = append(flags, "--echo-path", "/"+fault, "--echoes", "4", "--echo-rate", "400", "--channels", "0")
				} else {
					room = "chat:"
					flags = append(flags, "--chat-path", "/"+fault+"?room={room}-"+fault, "--echoes", "0", "--echo-rate", "0", "--channels", "1", "--members", "4", "--talk-rate", "200")
				}
				load := stand(t, s, flags...)
				pushdtest.Eventually(t, "the fault is made", func() bool {
					return strings.Contains(s.Log(), fmt.Sprintf("msg=wrong fault=%s room=%s", fault, room))
				})
				found := load.end("loss", "duplicate", "reorder", "corrupt", "closed").faults()
				if fault == "none" && len(found) > 0 || fault != "none" && found[kind] == 0 {
					t.Errorf("found %v", found)
				}
			})
		}
	}
}
