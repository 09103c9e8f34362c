package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/master"
	"github.com/pushd/pushd/protocol/control"
	"github.com/urfave/cli/v2"
)

// healthy is a machine without any fault.
func healthy() machine {
	return machine{
		sysctl: func(string) (int, bool) { return 1 << 30, true },
		nofile: func() (uint64, uint64) { return 1 << 20, 1 << 20 },
		bind:   func(_, _ string) error { return nil },
	}
}

func examineHere(m machine) []finding {
	c := &call{program: &Program{Name: "pushd"}, out: &bytes.Buffer{}, flags: cli.NewContext(nil, flag.NewFlagSet("", 0), nil)}
	return c.examine(m)
}

func TestDoctor(t *testing.T) {
	const ok = "runtime_dir = \"run\"\ndata_dir = \"data\"\n[[worker]]\nlisten = \"websocket://127.0.0.1:4001\"\nroutes = { \"/a\" = \"test-ok\" }\n"
	for _, tc := range []struct {
		name, config string
		prepare      func(dir string)
		machine      func(m *machine)
		what, state  string
		says, mend   string
	}{
		{name: "nothing", config: ok, what: "config", state: stateOK, says: "is valid"},
		{name: "broken config", config: "drian = 1\n" + ok, what: "config", state: stateFail, says: "pushd.toml:1: drian", mend: "pushd check"},
		{name: "files", config: ok, machine: func(m *machine) { m.nofile = func() (uint64, uint64) { return 256, 1024 } },
			what: "nofile", state: stateWarn, says: "1024", mend: "LimitNOFILE="},
		{name: "sysctl", config: ok, machine: func(m *machine) { m.sysctl = func(string) (int, bool) { return 128, true } },
			what: "sysctl", state: stateWarn, says: "net.core.somaxconn = 128", mend: "sysctl -w net.core.somaxconn=4096"},
		{name: "port", config: ok, machine: func(m *machine) { m.bind = func(_, a string) error { return errors.New("in use") } },
			what: "port", state: stateFail, says: "127.0.0.1:4001: in use", mend: "sport = :4001"},
		{name: "low port", config: ok, machine: func(m *machine) {
			m.bind = func(_, a string) error {
				return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
			}
		},
			what: "port", state: stateFail, says: "permission", mend: "CAP_NET_BIND_SERVICE"},
		{name: "an address of another machine", config: ok, machine: func(m *machine) {
			m.bind = func(_, a string) error {
				return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
			}
		}, what: "port", state: stateFail, says: "cannot assign", mend: "ip addr"},
		{name: "origins", config: strings.Replace(ok, `"test-ok"`, `{ handler = "test-ok", origins = ["*"] }`, 1),
			what: "origins", state: stateWarn, says: "route /a of push", mend: `origins = ["https://example.com"]`},
		{name: "open folder", config: ok, prepare: func(dir string) { os.Mkdir(dir+"/data", 0o700); os.Chmod(dir+"/data", 0o777) },
			what: "data_dir", state: stateFail, says: "written by everybody", mend: "chmod o-w"},
		{name: "file for a folder", config: ok, prepare: func(dir string) { os.WriteFile(dir+"/run", nil, 0o600) },
			what: "runtime_dir", state: stateFail, says: "is no folder", mend: "choose another"},
		{name: "open key", config: ok, prepare: func(dir string) { os.Mkdir(dir+"/data", 0o700); os.WriteFile(dir+"/data/api.key", nil, 0o644) },
			what: "api.key", state: stateFail, says: "read by others", mend: "chmod 600"},
		{name: "short secret", config: ok + "[api]\nkey = \"short\"\n", what: "config", state: stateWarn, says: "api.key has fewer than 16 bytes", mend: "reference"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := sandbox(t)
			write(t, dir+"/pushd.toml", tc.config)
			if tc.prepare != nil {
				tc.prepare(dir)
			}
			m := healthy()
			if tc.machine != nil {
				tc.machine(&m)
			}
			findings := examineHere(m)
			for _, f := range findings {
				if f.What == tc.what && f.State == tc.state && strings.Contains(f.Says, tc.says) && strings.Contains(f.Mend, tc.mend) {
					return
				}
			}
			t.Fatalf("nothing says %s %s %q → %q in %+v", tc.what, tc.state, tc.says, tc.mend, findings)
		})
	}
}

// TestDoctorCommand: on a machine as it is, the command answers in both forms.
func TestDoctorCommand(t *testing.T) {
	dir := sandbox(t)
	write(t, dir+"/pushd.toml", "drian = 1\n")
	if code, out, _ := run(t, "doctor"); code != 1 || !strings.Contains(out, "fail  config") || !strings.Contains(out, "1 thing has to be mended") {
		t.Fatalf("%d %q", code, out)
	}
	code, out, _ := run(t, "doctor", "--json")
	var answer struct {
		OK       bool
		Findings []finding
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 1 || answer.OK || len(answer.Findings) < 2 {
		t.Fatalf("%d %q %v", code, out, err)
	}
}

// TestDoctorOfWhatRuns passes on what status says somebody has to look at, and no more.
func TestDoctorOfWhatRuns(t *testing.T) {
	c := &call{program: &Program{Name: "pushd"}}
	ready := master.BrokerStatus{State: master.Ready}
	for _, tc := range []struct {
		status      master.Status
		what, state string // "" = nothing is told
		says        string
	}{
		{status: master.Status{Broker: ready, Nodes: []control.Node{{Node: "a", State: "ready"}, {Node: "b", State: "leaving"}}, Workers: []master.WorkerStatus{{Name: "push", State: master.Full}}}},
		{status: master.Status{Broker: master.BrokerStatus{State: master.Stopped}}}, // there may be none
		{master.Status{Services: []control.ServiceState{{Service: "history", Says: "away, so %d"}}}, "history", stateFail, "away, so %d"},
		{master.Status{NodesUnknown: "the broker process is starting"}, "nodes", stateWarn, "not known now: the broker"},
		{master.Status{Nodes: []control.Node{{Node: "b", State: "lost", SilentS: 16}}}, "nodes", stateWarn, "b is lost: not heard for 16 s"},
		{master.Status{Nodes: []control.Node{{Node: "b", State: "quiet"}}}, "nodes", stateWarn, "b is quiet"},
		{master.Status{Nodes: []control.Node{{Node: "b", State: "ready", OtherApps: true}}}, "nodes", stateWarn, "b has other [[app]]"},
		{master.Status{Workers: []master.WorkerStatus{{Name: "push", Slot: 3, State: master.Degraded}}}, "worker", stateFail, "push/3 dies"},
		{master.Status{Broker: master.BrokerStatus{State: master.Degraded}}, "broker", stateFail, "dies again"},
	} {
		got := c.ailing(&tc.status)
		if tc.what == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].What != tc.what || got[0].State != tc.state || !strings.Contains(got[0].Says, tc.says) || got[0].Mend == "" {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
}
