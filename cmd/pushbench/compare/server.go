package compare

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// server is one that takes part.
type server struct {
	name  string
	title string // in tables
	can   ability
	// program prepares p and says how it is started; keys are more of pushd's config.
	program func(c *comparison, p *process, keys string) (Program, error)
	hello   func(p *process) []string // flags: a connection that has its handshake and no more
	room    func(p *process) []string // flags: connections that are in the room
	back    func(p *process) []string // flags: those, and a back end that publishes to them
	missing func(o Options) string    // the command that gets it, "" where it is here; nil: it is always
}

// ability is what a server can be measured at, besides connections and memory.
type ability uint8

const (
	echoes  ability = 1 << iota // returns what a client says
	chats                       // passes what a client says on to the others in its room
	pushes                      // lets a back end publish to a room, over HTTP
	pushers                     // speaks the Pusher protocol, triggers included
	ours                        // is pushd
)

// Names that the table knows.
const (
	pushd = "pushd"
	gnet  = "gnet"
)

// servers in the order of the table.
var servers = []server{
	{name: pushd, title: "pushd", can: echoes | chats | pushes | pushers | ours, program: startPushd, hello: byEcho, room: byChat, back: byAPI},
	library(gnet, "bare gnet"), library("nbio", "nbio"), library("gobwas", "gobwas/ws"),
	library("gws", "gws"), library("gorilla", "gorilla"), library("coder", "coder"), library("melody", "melody"),
	centrifugo, soketi, nchan,
}

// library is a server of a few lines around a library: one of peers.
func library(name, title string) server {
	return server{name: name, title: title, can: echoes | chats, hello: byEcho, room: byChat,
		program: func(c *comparison, p *process, _ string) (Program, error) {
			return Program{Args: []string{c.Peers, name, "--listen", p.address, "--loops", strconv.Itoa(c.Loops)}}, nil
		}}
}

// choose returns the servers that take part, and those that would if they were here.
// Who names one wants it.
func choose(o Options) (chosen []server, absent []Absent, err error) {
	for _, name := range o.Only {
		i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, nil, fmt.Errorf("no server %q; there are %v", name, servers)
		}
		if get := servers[i].gets(o); get != "" {
			return nil, nil, fmt.Errorf("%s is not there: %s", name, get)
		}
		chosen = append(chosen, servers[i])
	}
	if len(o.Only) > 0 {
		return chosen, nil, nil
	}
	for _, s := range servers {
		if get := s.gets(o); get != "" {
			absent = append(absent, Absent{s.title, get})
			continue
		}
		chosen = append(chosen, s)
	}
	return chosen, absent, nil
}

// gets is the command that gets a server that is not here.
func (s server) gets(o Options) string {
	if s.missing == nil {
		return ""
	}
	return s.missing(o)
}

func (s server) String() string { return s.name }

// process is a server that runs.
type process struct {
	*Process
	server
	address string // host:port of its WebSockets
	spare   string // a second port of 127.0.0.1
	config  string // file; pushd only
	pushd   string // program; pushd only
}

const key = "bench" // of the API; and id, key and secret of the app

// start runs the server and returns once it is ready.
func start(ctx context.Context, c *comparison, s server, keys string) (*process, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	p := &process{server: s, address: "127.0.0.1:" + ports[0], spare: ports[1]}
	program, err := s.program(c, p, keys)
	if err != nil {
		return nil, err
	}
	program.Cores = c.serverCores
	p.Process, err = Launch(ctx, program)
	return p, err
}

func (p *process) stop() {
	if p != nil {
		p.Stop()
	}
}

// startPushd has a config with pushd's defaults but for where it listens, how many
// workers it has, and keys.
func startPushd(c *comparison, p *process, keys string) (Program, error) {
	p.pushd, p.config = c.Pushd, filepath.Join(c.dir, "pushd.toml")
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
`, filepath.Join(c.dir, "run"), filepath.Join(c.dir, "data"), p.spare, key, key, key, key, p.address, c.Loops, c.Each, keys)
	return Program{Args: []string{c.Pushd, "start", "-c", p.config}}, os.WriteFile(p.config, []byte(text), 0o600)
}

func (p *process) chat() string { return "ws://" + p.address + "/chat?room=bench" }
func (p *process) echo() string { return "ws://" + p.address + "/echo" }

func byEcho(p *process) []string { return []string{"--url", p.echo()} }
func byChat(p *process) []string { return []string{"--url", p.chat()} }
func byAPI(p *process) []string {
	return []string{"--url", p.chat(), "--channel", channel, "--api", "http://127.0.0.1:" + p.spare, "--key", key}
}

// app is where connections of the Pusher protocol come in.
func (p *process) app() string { return "ws://" + p.address + "/app/" + key + "?protocol=7" }

// asApp makes connections speak the Pusher protocol.
func (p *process) asApp() []string {
	return []string{"--url", p.app(), "--protocol", "pusher", "--app-id", key, "--app-key", key, "--app-secret", key}
}

func (p *process) port() int {
	_, port, _ := net.SplitHostPort(p.address)
	n, _ := strconv.Atoi(port) // freePorts has found it
	return n
}

// reload is the command for a shell.
func (p *process) reload() string { return fmt.Sprintf("'%s' reload -c '%s'", p.pushd, p.config) }

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
