package cmd

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/master"
)

// TestStatesHaveColours where the screen has some, and columns stay in line.
func TestStatesHaveColours(t *testing.T) {
	st := &master.Status{Workers: []master.WorkerStatus{
		{Name: "push", State: master.Ready, Stats: []byte("{}")}, {Name: "push", Slot: 1, State: master.Degraded, Stats: []byte("{}")},
	}, Broker: master.BrokerStatus{PID: 7, State: master.Ready}, DatagramsDropped: map[string]uint64{"udp://127.0.0.1:1": 2},
		SocketsGone: []string{"/run/x.sock"}}
	tell := func(on screen) string {
		var b strings.Builder
		tellStatus(&b, "pushd", st, nil, on)
		return b.String()
	}
	plain, coloured := tell(screen{}), tell(screen{colours: true})
	if strings.Contains(plain, "\x1b") || !strings.Contains(plain, "2 datagrams were dropped by the kernel") || !strings.Contains(plain, "/run/x.sock: the file of this socket is gone") {
		t.Errorf("plain: %q", plain)
	}
	for _, want := range []string{"7 \x1b[32mready\x1b[0m", "\x1b[32mready\x1b[0m   ", "\x1b[31mdegraded\x1b[0m"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in %q", want, coloured)
		}
	}
	if strip := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", ""); strip.Replace(coloured) != plain {
		t.Errorf("not in line:\n%s\n%s", coloured, plain)
	}
}
