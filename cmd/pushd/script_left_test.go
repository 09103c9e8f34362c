package main_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestScriptLeftMeanwhile: of a connection that ends while one process takes the place of
// another the next one is told, with its session, and of its end, once.
func TestScriptLeftMeanwhile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{"reload": "", "full reload": `ping_interval = "50s"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := walk(t, "", `env = { WANTS = "open close names", BUSY = "{{dir}}/busy" }`)
			a, b := s.Dial("/"), s.Dial("/")
			says(t, a, "set Ann", "set")
			says(t, b, "keep the map", "kept")
			busy := filepath.Join(s.Dir, "busy")
			if err := os.WriteFile(busy, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if change != "" {
				s.change(change)
			}
			reloaded := make(chan renewed, 1)
			go func() { reloaded <- s.renew() }()
			pushdtest.Eventually(t, "the old process is told to leave", func() bool {
				_, err := os.Stat(busy + ".now")
				return err == nil
			})
			a.Conn.Close()
			pushdtest.Eventually(t, "he has left", func() bool { return s.Status().Connections() == 1 })
			if err := os.Remove(busy); err != nil {
				t.Fatal(err)
			}
			if r := <-reloaded; !r.OK {
				t.Errorf("%+v", r)
			}
			says(t, b, "seen", "carried:2 resume:Ann resume close:1006")
			says(t, b, "carried", "the map")
		})
	}
}

// TestScriptLeftOnTheWay: the same of one who ends when the program's state has gone to the
// new worker, and connections have not.
func TestScriptLeftOnTheWay(t *testing.T) {
	t.Parallel()
	for wants, carried := range map[string]string{"open close": "carried:2", "open close nobody": "carried:0"} {
		t.Run(carried, func(t *testing.T) {
			t.Parallel()
			leavesOnTheWay(t, wants, carried)
		})
	}
}

func leavesOnTheWay(t *testing.T, wants, carried string) {
	s := scripted{pushdtest.Start(t, pushdtest.Options{Config: walkerText(t, "", `env = { WANTS = "`+wants+`" }`), Flags: []string{"-tags", "faults"},
		Env: []string{"PUSHD_TEST_FAULT=fault", "PUSHD_WATCHDOG=0"}}), t} // which would end the broker that stands still
	a, b := s.Dial("/"), s.Dial("/")
	says(t, b, "keep the map", "kept")
	broker := s.Status().Broker.PID
	order(t, s.Server, "export prepare", 1, unix.SIGSTOP, broker) // no connection moves before it has answered
	s.change(`ping_interval = "50s"`)
	reloaded := make(chan renewed, 1)
	go func() { reloaded <- s.renew() }()
	pushdtest.Eventually(t, "the state is on its way", func() bool {
		_, err := os.Stat(filepath.Join(s.Dir, "fault"))
		return os.IsNotExist(err)
	})
	port := a.Conn.LocalAddr().(*net.TCPAddr).Port
	a.Conn.Close()
	// A status would ask the broker process, and take a second of those that the hand-over waits for it.
	pushdtest.Eventually(t, "he has left", func() bool { return !hasClient(t, s.Port, port) })
	signal(t, broker, unix.SIGCONT)
	if r := <-reloaded; !r.OK || r.Moved != 1 && r.Moved != 2 { // on a busy machine the next process may be the one that sees his end
		t.Errorf("%+v", r)
	}
	says(t, b, "seen", carried+" resume resume close:1006")
}

// TestScriptLastWords: whom a process takes along that has said what it leaves, its successor
// knows from that, and hears of the end.
func TestScriptLastWords(t *testing.T) {
	t.Parallel()
	s := walk(t, "", `env = { WANTS = "open close" }`)
	a, b := s.Dial("/"), s.Dial("/")
	says(t, b, "keep the map", "kept")
	a.SendText("last")
	a.WantClose(1011)
	says(t, b, "carried", "the map")
	says(t, b, "seen", "carried:2 resume resume close:1011")
	a.Send(pushdtest.OpClose, []byte{3, 243}) // his answer is no news
	pushdtest.Eventually(t, "one connection is left", func() bool { return s.Status().Connections() == 1 })
	says(t, b, "seen", "")
}
