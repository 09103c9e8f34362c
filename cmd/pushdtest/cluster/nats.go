// Package cluster runs several pushds on a NATS cluster of somebody else, as
// users have it: real nats-server processes of the version that go.mod names,
// with JetStream and routes, and between each pushd and its NATS a relay that can
// go silent. NATS servers and nodes can be stopped, and killed.
package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// NATS is one server of the cluster, a process.
type NATS struct {
	Addr string // of clients

	t      testing.TB
	name   string
	config string
	proc   *exec.Cmd
	space  *space // nil = that of the test
}

// StartNATS starts n servers that know each other and waits until clients can
// connect to each.
func StartNATS(t testing.TB, n int) []*NATS {
	t.Helper()
	return startNATS(t, n, nil)
}

// startNATS starts each on a machine of its own, if there are wires.
func startNATS(t testing.TB, n int, w *Wires) []*NATS {
	t.Helper()
	dir := t.TempDir()
	routes := make([]string, n)
	all := make([]*NATS, n)
	for i := range routes {
		all[i] = &NATS{t: t, name: fmt.Sprintf("nats%d", i+1)}
		if w != nil {
			all[i].space = w.machines[i]
			all[i].Addr, routes[i] = w.machines[i].addr+":4222", "nats://"+w.machines[i].addr+":6222"
		} else {
			all[i].Addr, routes[i] = pushdtest.FreeAddr(t), "nats://"+pushdtest.FreeAddr(t)
		}
	}
	for i, s := range all {
		s.config = filepath.Join(dir, s.name+".conf")
		text := fmt.Sprintf("listen: %q\nserver_name: %q\nmax_payload: 2MB\nwrite_deadline: \"60s\"\njetstream { store_dir: %q }\n", s.Addr, s.name, filepath.Join(dir, s.name))
		if n > 1 { // route pings: see docs/cluster.md
			text += fmt.Sprintf("cluster { name: c, listen: %q, no_advertise: true, ping_interval: \"1s\", ping_max: 3, routes: [%s] }\n",
				strings.TrimPrefix(routes[i], "nats://"), `"`+strings.Join(routes, `", "`)+`"`)
		}
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Start()
	}
	for _, s := range all {
		s.Await()
	}
	return all
}

// Start starts it, for the first time or after Kill.
func (s *NATS) Start() {
	s.t.Helper()
	binary := pushdtest.BuildModule(s.t, "github.com/nats-io/nats-server/v2", "nats-server")
	log, err := os.OpenFile(s.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	proc := exec.Command(binary, "-c", s.config)
	proc.Stdout, proc.Stderr = log, log
	if err := s.space.in(proc.Start); err != nil {
		s.t.Fatal(err)
	}
	s.proc = proc
	s.t.Cleanup(func() {
		if s.proc == proc {
			s.Kill()
		}
		if raw, err := os.ReadFile(s.config + ".log"); err == nil && s.t.Failed() {
			s.t.Logf("log of %s:\n%s", s.name, raw)
		}
	})
}

// Await waits until it takes clients.
func (s *NATS) Await() {
	s.t.Helper()
	pushdtest.Eventually(s.t, s.name+" takes clients", func() bool {
		c, err := s.space.dial(s.Addr)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		var info [5]byte
		n, _ := c.Read(info[:])
		return string(info[:n]) == "INFO "
	})
}

// Kill ends it at once.
func (s *NATS) Kill() {
	if s.proc == nil {
		return
	}
	_ = s.proc.Process.Kill()
	_ = s.proc.Wait()
	s.proc = nil
}

// Stop makes it stand still until Continue: its sockets stay.
func (s *NATS) Stop() {
	s.t.Helper()
	pushdtest.Freeze(s.t, s.proc.Process.Pid)
}

// Continue ends Stop.
func (s *NATS) Continue() {
	s.t.Helper()
	if err := s.proc.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}
