package compare

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is one that takes part.
type server struct {
	name  string
	title string // in tables
}

// Names that the table knows.
const (
	pushd = "pushd"
	gnet  = "gnet"
)

// servers in the order of the table.
var servers = []server{
	{pushd, "pushd"}, {gnet, "bare gnet"}, {"nbio", "nbio"}, {"gobwas", "gobwas/ws"},
	{"gws", "gws"}, {"gorilla", "gorilla"}, {"coder", "coder"}, {"melody", "melody"},
}

func choose(only []string) (chosen []server, err error) {
	for _, name := range only {
		i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no server %q; there are %v", name, servers)
		}
		chosen = append(chosen, servers[i])
	}
	if len(only) == 0 {
		chosen = servers
	}
	return chosen, nil
}

func (s server) String() string { return s.name }

// process is a server that runs.
type process struct {
	cmd     *exec.Cmd
	address string // host:port of its WebSockets
	api     string // base URL; pushd only
	config  string // file; pushd only
	pushd   string // program; pushd only
}

const (
	key       = "bench" // of the API; and id, key and secret of the app
	startTime = 20 * time.Second
	stopTime  = 15 * time.Second
)

// start runs the server and returns once it says that it is ready.
func start(ctx context.Context, c *comparison, s server, keys string) (*process, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	p := &process{address: "127.0.0.1:" + ports[0]}
	if s.name == pushd {
		p.api, p.pushd = "http://127.0.0.1:"+ports[1], c.Pushd
		if p.config, err = p.configure(c, ports[1], keys); err != nil {
			return nil, err
		}
		p.cmd = exec.CommandContext(ctx, c.Pushd, "start", "-c", p.config)
	} else {
		p.cmd = exec.CommandContext(ctx, c.Peers, s.name, "--listen", p.address, "--loops", strconv.Itoa(c.Loops))
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a scheduler group of its own, apart from the client's
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTime
	return p, p.launch()
}

// launch starts the program and reads what it says up to a line that begins
// with "ready"; the rest is thrown away.
func (p *process) launch() error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	p.cmd.Stderr = &complaint
	if err := p.cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(startTime, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
	}
	_ = p.cmd.Wait()
	return fmt.Errorf("%v does not start: %s", p.cmd.Args, complaint.String())
}

// configure writes the config of a pushd that has its defaults but for where
// it listens, how many workers it has, and keys.
func (p *process) configure(c *comparison, apiPort, keys string) (string, error) {
	dir := c.dir
	file := filepath.Join(dir, "pushd.toml")
	text := fmt.Sprintf(`runtime_dir = %q
data_dir    = %q
log_level   = "error"

[api]
listen = "127.0.0.1:%s"
key    = %q

[[app]]
id     = %q
key    = %q
secret = %q
max_presence_members = 1000

[[worker]]
name   = "push"
listen = "websocket://%s"
count  = %d
routes = { "/echo" = "echo", "/chat" = "chat", "/app/{key}" = "pusher", "/apps/*" = "pusher" }
limits = { max_connections = %d }
%s
`, filepath.Join(dir, "run"), filepath.Join(dir, "data"), apiPort, key, key, key, key, p.address, c.Loops, c.Each, keys)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// stop ends the server and waits for it.
func (p *process) stop() {
	if p == nil || p.cmd.Process == nil || p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait()
}

// freePorts finds ports of 127.0.0.1 that nobody listens on.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

// kernel is its version, without what a distribution adds.
func kernel() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	version, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return version
}
