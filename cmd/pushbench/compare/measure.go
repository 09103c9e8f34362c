package compare

import (
	"fmt"
	"time"
)

// measure is one way to load a server: the arguments of a pushbench command.
type measure struct {
	name  string
	needs ability
	fresh bool   // wants a server that has not had connections
	keys  string // more of the worker's config, for a server of its own
	once  bool   // in the first round only: it takes long, or does not vary
	args  func(o Options, p *process) []string
}

var measures = []measure{
	{name: "idle", fresh: true, args: func(o Options, p *process) []string {
		return with(p.room(p), "idle", "-n", fmt.Sprint(o.Idle), "--settle", o.settle(), "--hold", "1s")
	}},
	{name: "echo 100", needs: echoes, args: echo(100)},
	{name: "echo 1000", needs: echoes, args: echo(1000)},
	{name: "fan-out", needs: chats, args: func(o Options, p *process) []string {
		return with(p.room(p), "fanout", "--channel", channel, "-n", fmt.Sprint(o.Fan), "-m", messages)
	}},
	{name: "fan-out api", needs: pushes, args: func(o Options, p *process) []string {
		return with(p.back(p), "fanout", "-n", fmt.Sprint(o.Fan), "-m", messages)
	}},
	// Fresh, since one server takes minutes to be done with those who have left it.
	{name: "connect", fresh: true, args: func(o Options, p *process) []string {
		return with(p.hello(p), "connect", "-c", "100", "-d", o.Duration.String())
	}},
	{name: "after", needs: ours, fresh: true, args: func(o Options, p *process) []string {
		return with(p.back(p), "idle", "-n", fmt.Sprint(o.Idle), "--settle", o.settle(), "--hold", "0s", "-m", "1", "--exec", p.reload())
	}},
	{name: "idle cpu", needs: ours, once: true, fresh: true, args: func(o Options, p *process) []string {
		return with(p.room(p), "idle", "-n", fmt.Sprint(o.Idle), "--settle", o.settle(), "--hold", o.Hold.String())
	}},
	{name: "heartbeat", needs: ours, once: true, fresh: true, keys: `ping_interval = "1s"`, args: func(o Options, p *process) []string {
		return with(p.room(p), "idle", "-n", fmt.Sprint(o.Idle), "--settle", o.settle(), "--hold", max(5*o.Duration, 6*time.Second).String())
	}},
	{name: "pusher idle", needs: pushers, once: true, fresh: true, args: func(o Options, p *process) []string {
		return with(p.asApp(), "idle", "-n", fmt.Sprint(o.Idle), "--settle", o.settle(), "--hold", "1s")
	}},
	{name: "pusher fan", needs: pushers, once: true, args: func(o Options, p *process) []string {
		return with(p.asApp(), "fanout", "--api", "http://"+p.address, "-n", fmt.Sprint(o.Fan), "-m", messages, "--channel", "bench")
	}},
	{name: "pusher last", needs: pushers, once: true, args: func(o Options, p *process) []string {
		// As many readers as the server has writers: one alone would still be busy when they have long been done.
		return with(p.asApp(), "fanout", "--api", "http://"+p.address, "-n", fmt.Sprint(min(o.Fan, 1000)), "-m", fmt.Sprint(o.Timed), "--rate", "10", "--channel", "bench", "--procs", fmt.Sprint(o.Loops))
	}},
	{name: "pusher join", needs: pushers, once: true, args: func(o Options, p *process) []string {
		return with(p.asApp(), "presence", "-n", fmt.Sprint(min(o.Fan, 1000)))
	}},
	{name: "pusher own", needs: pushers | ours, once: true, fresh: true, args: func(o Options, p *process) []string {
		return with(p.asApp(), "idle", "-n", fmt.Sprint(o.Idle), "--own", "67", "--settle", o.settle(), "--hold", "1s")
	}},
}

const (
	channel  = "chat:bench"
	messages = "30" // of a fan-out
)

// with is a command with its own flags before those that reach the server.
func with(reach []string, command ...string) []string { return append(command, reach...) }

// of says whether a server can be measured so, in a round that begins with 0.
func (m measure) of(s server, round int) bool {
	return s.can&m.needs == m.needs && (!m.once || round == 0)
}

// settle is how long a server's memory gets to stand still.
func (o Options) settle() string { return (2 * o.Calm).String() }

func echo(connections int) func(Options, *process) []string {
	return func(o Options, p *process) []string {
		return []string{"echo", "--url", p.echo(), "-c", fmt.Sprint(connections), "-d", o.Duration.String()}
	}
}

// line is one number of a measure that the table shows, and what it is held to.
type line struct {
	title   string
	measure string
	metric  string
	unit    string
	more    bool    // more is better
	of      string  // what reach is a multiple of: gnet, bestPeer, or "" for nothing
	to      string  // measure of the others that have not the same
	reach   float64 // pushd must be at most so much, or at least when more is better; 0: no reach
}

const bestPeer = "best peer"

var lines = []line{
	{"idle connection, memory", "idle", "server_bytes_per_connection", "B", false, "", "", 640},
	{"… after a broadcast and a reload", "after", "server_bytes_per_connection_after", "B", false, "", "", 800},
	{"idle CPU, default heartbeat", "idle cpu", "idle_cpu_percent", "% of a core", false, "", "", 1},
	{"a ping and its pong: CPU ÷ a bare write and read", "heartbeat", "ping_to_bare", "×", false, "", "", 2.6},
	{"echo, 100 connections: CPU", "echo 100", "server_cpu_us_per_message", "µs", false, gnet, "", 1.08},
	{"echo, 100 connections: rate", "echo 100", "messages_per_s", "/s", true, bestPeer, "", 1},
	{"echo, 1,000 connections: CPU", "echo 1000", "server_cpu_us_per_message", "µs", false, gnet, "", 1.08},
	{"echo, 1,000 connections: context switches", "echo 1000", "server_context_switches_per_message", "each", false, "", "", 0.2},
	{"echo, 1,000 connections: rate", "echo 1000", "messages_per_s", "/s", true, bestPeer, "", 1},
	{"fan-out by chat: CPU per delivery", "fan-out", "server_cpu_us_per_delivery", "µs", false, gnet, "", 1.1},
	{"fan-out by chat: rate", "fan-out", "deliveries_per_s", "/s", true, bestPeer, "", 1},
	{"fan-out by HTTP API: CPU per delivery", "fan-out api", "server_cpu_us_per_delivery", "µs", false, gnet, "fan-out", 1.1},
	{"fan-out by HTTP API: rate", "fan-out api", "deliveries_per_s", "/s", true, bestPeer, "fan-out", 1},
	{"connect, handshake, close: rate", "connect", "connections_per_s", "/s", true, gnet, "", 0.9},
	{"Pusher: idle connection with a private channel of its own", "pusher idle", "server_bytes_per_connection", "B", false, "", "", 1200},
	{"Pusher: fan-out by signed trigger, CPU per delivery", "pusher fan", "server_cpu_us_per_delivery", "µs", false, gnet, "fan-out", 1.2},
	{"Pusher: trigger to the last of 1,000, p99", "pusher last", "last_receiver_p99_us", "µs", false, "", "", 15_000},
	{"Pusher: 1,000 join a presence channel at once, each learns of each", "pusher join", "seconds", "s", false, "", "", 3},
	{"Pusher: 67 channels of one member on each connection, workers, each", "pusher own", "server_bytes_worker_per_membership", "B", false, "", "", 250},
	{"Pusher: the same, all of the broker process", "pusher own", "server_bytes_broker_grown", "B", false, "", "", 50e6},
}
