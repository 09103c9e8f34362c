//go:build linux

package master

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
)

func TestListenerOptions(t *testing.T) {
	l, err := bind(t.Context(), Listener{Address: "websocket://127.0.0.1:0", UserTimeoutMS: 9000}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	_, port, _ := net.SplitHostPort(l.bound)
	if want := "websocket://127.0.0.1:" + port; l.shown("websocket://127.0.0.1:0") != want || port == "0" {
		t.Errorf("shown as %s", l.shown("websocket://127.0.0.1:0"))
	}
	if flags, err := unix.FcntlInt(uintptr(l.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Error("the listener blocks")
	}
	if proto, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || proto != unix.IPPROTO_TCP {
		t.Errorf("protocol %d, %v", proto, err)
	}
	c, err := net.Dial("tcp", l.bound)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fd, _, err := unix.Accept(l.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, opt := range map[string][2]int{"TCP_NODELAY": {unix.TCP_NODELAY, 1}, "TCP_USER_TIMEOUT": {unix.TCP_USER_TIMEOUT, 9000}, "TCP_KEEPIDLE": {unix.TCP_KEEPIDLE, 9}, "TCP_KEEPINTVL": {unix.TCP_KEEPINTVL, 1}} {
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, opt[0]); err != nil || got != opt[1] {
			t.Errorf("accepted socket has %s %d, %v", name, got, err)
		}
	}
}

func TestUnixListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l := Listener{Address: "text://" + path}
	first, err := bind(t.Context(), l, 0)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := bind(t.Context(), l, 0); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket in use is taken: %v", err)
	}
	syscall.Close(first.fd) // as if killed
	second, err := bind(t.Context(), l, 0)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	second.close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the name is left")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bind(t.Context(), l, 0); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file is taken for a socket: %v", err)
	}
	if _, err := bind(t.Context(), Listener{Address: "unix://" + path + strings.Repeat("x", 120)}, 0); err == nil || !strings.Contains(err.Error(), "107 bytes") {
		t.Errorf("long path: %v", err)
	}
}

func TestDatagramListener(t *testing.T) {
	l, err := bind(t.Context(), Listener{Address: "udp://127.0.0.1:0"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if typ, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typ != unix.SOCK_DGRAM {
		t.Errorf("type %d, %v", typ, err)
	}
	_, port, _ := net.SplitHostPort(l.bound)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if pid, _ := socketOwner("udp", n); pid != os.Getpid() {
		t.Errorf("owner of udp port %d is %d", n, pid)
	}
	_, err = bind(t.Context(), Listener{Address: "udp://127.0.0.1:" + port}, 0)
	if err == nil || !strings.Contains(err.Error(), "use restart") { // it is our own
		t.Errorf("second bind: %v", err)
	}
}

func TestExplainBind(t *testing.T) {
	for want, err := range map[string]error{
		"open listener tcp://0.0.0.0:80: permission denied (run as root, or listen above 1024)": explainBind("tcp://0.0.0.0:80", endpoint{"tcp", "0.0.0.0:80"}, syscall.EACCES),
		"open listener unix:///x: permission denied (the directory must be writable for pushd)": explainBind("unix:///x", endpoint{"unix", "/x"}, syscall.EACCES),
		"open listener tcp://x:1: no such host":                                                 explainBind("tcp://x:1", endpoint{"tcp", "x:1"}, errors.New("no such host")),
	} {
		if err.Error() != want {
			t.Errorf("%s\nwant %s", err, want)
		}
	}
}

func TestPlanCheck(t *testing.T) {
	good := func() *Plan {
		return &Plan{Version: 1, Listeners: []Listener{{Address: "ws://a:1"}}, Broker: &BrokerPlan{Listen: []string{"ws://a:1"}},
			Workers: []Group{{Name: "push", Count: 1, Listen: []string{"ws://a:1"}}}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Plan){
		"use restart":                   func(p *Plan) { p.Version = 2 },
		"twice":                         func(p *Plan) { p.Listeners = append(p.Listeners, p.Listeners[0]) },
		"are one socket":                func(p *Plan) { p.Listeners = append(p.Listeners, Listener{Address: "http://a:1"}) },
		"scheme://host:port":            func(p *Plan) { p.Listeners[0].Address = "nonsense" },
		`group "push" twice`:            func(p *Plan) { p.Workers = append(p.Workers, p.Workers[0]) },
		"count 0":                       func(p *Plan) { p.Workers[0].Count = 0 },
		"which the plan does":           func(p *Plan) { p.Workers[0].Listen = []string{"ws://b:1"} },
		"broker process listens on":     func(p *Plan) { p.Broker.Listen = []string{"ws://b:1"} },
		`name of a worker group "a/`:    func(p *Plan) { p.Workers[0].Name = "a/b" },
		"drain_ms -1":                   func(p *Plan) { p.DrainMS = -1 },
		`of worker group "push" exceed`: func(p *Plan) { p.Workers[0].Spec = make([]byte, specMax+1) },
		"broker process exceed":         func(p *Plan) { p.Broker.Spec = make([]byte, specMax+1) },
		"watchdog_ms -1":                func(p *Plan) { p.WatchdogMS = -1 },
	} {
		p := good()
		spoil(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestCredentialOf(t *testing.T) {
	if c, err := credentialOf("", ""); c != nil || err != nil {
		t.Errorf("nobody named: %v, %v", c, err)
	}
	if _, err := credentialOf("no-such-user", ""); err == nil {
		t.Error("unknown user accepted")
	}
	if _, err := credentialOf("", "no-such-group"); err == nil {
		t.Error("unknown group accepted")
	}
	if c, err := credentialOf(strconv.Itoa(os.Geteuid()), strconv.Itoa(os.Getegid())); c != nil || err != nil {
		t.Errorf("the master's own: %v, %v", c, err)
	}
	c, err := credentialOf("12345", "23456")
	if os.Geteuid() != 0 {
		if err == nil {
			t.Error("another user without root accepted")
		}
		return
	}
	if err != nil || c.Uid != 12345 || c.Gid != 23456 || len(c.Groups) != 0 {
		t.Errorf("by number: %+v, %v", c, err)
	}
}

// The reaper waits for strangers only. A test cannot be PID 1, but a process
// can be made the parent of its orphans.
func TestReapStrangers(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	own := exec.Command("/bin/true")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	kin := &family{own: map[int]bool{own.Process.Pid: true}}
	if err := exec.Command("/bin/sh", "-c", "/bin/sh -c 'exit 3' & exit 0").Run(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the orphan is reaped", func() bool { return reapStrangers(kin) > 0 })
	if err := own.Wait(); err != nil {
		t.Errorf("the reaper took the master's own child: %v", err)
	}
}

func TestNotifyManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notifyManager("READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("told %q, %v", buf[:n], err)
	}
	for _, kv := range childEnv() {
		if strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			t.Error("children could speak for the master")
		}
	}
	t.Setenv("NOTIFY_SOCKET", path+"-gone")
	if err := notifyManager("READY=1"); err == nil {
		t.Error("a lost manager is no error")
	}
}

func TestProgramSame(t *testing.T) {
	dir := t.TempDir()
	open := func(name, text string) *program {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		p, err := openProgram(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.close)
		return p
	}
	a, b, c, d := open("a", "text"), open("b", "text"), open("c", "tExt"), open("d", "text!")
	if !a.same(a) || !a.same(b) || a.same(c) || a.same(d) {
		t.Error(a.same(a), a.same(b), a.same(c), a.same(d))
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec pushd \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openProgram(script); err == nil || !strings.Contains(err.Error(), "is a script: put the program itself there") {
		t.Errorf("a script: %v", err)
	}
	if _, err := openProgram("/tmp/go-build1/x/exe/main"); err == nil || !strings.Contains(err.Error(), "go run") {
		t.Errorf("a vanished binary of go run: %v", err)
	}
}

// TestFirstMessageFits: what a broker process is told beside a long Spec gives way.
func TestFirstMessageFits(t *testing.T) {
	for _, r := range []struct {
		spec          int
		kept, workers bool
	}{{10 << 10, true, true}, {specMax - 5<<10, false, true}, {specMax, false, false}} {
		hello := control.Init{Spec: []byte(`"` + strings.Repeat("s", r.spec-2) + `"`), Tenure: &control.Tenure{
			Kept: []byte(`"` + strings.Repeat("k", control.MaxKept-2) + `"`), Workers: slices.Repeat([]string{"a-worker/17/4"}, 1700),
		}}
		fit(&hello)
		if kept, workers := hello.Tenure.Kept != nil, hello.Tenure.Workers != nil; kept != r.kept || workers != r.workers {
			t.Errorf("beside %d bytes: nodes %v, workers %v", r.spec, kept, workers)
		}
		raw, err := control.Marshal(hello)
		if err == nil {
			raw, err = control.Marshal(control.Message{Type: control.TypeInit, Body: raw})
		}
		if err != nil || len(raw) > control.MaxMessage {
			t.Errorf("beside %d bytes: %d, %v", r.spec, len(raw), err)
		}
	}
}
