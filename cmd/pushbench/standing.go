package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/proc"
)

func mixCommand() *cli.Command {
	return &cli.Command{
		Name:   "mix",
		Usage:  "an idle mass with heartbeats, some chat and some pushes, as on a working day",
		Flags:  standingFlags(mass{idle: 10_000, echo: 100, echoRate: 100, channels: 10, members: 100, talkRate: 50, pushRate: 20}),
		Action: func(c *cli.Context) error { return standing(c, wait) },
	}
}

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "standing load of every sort whose complete history is checked; or check a saved history",
		Flags: append(standingFlags(mass{echo: 1000, echoRate: 2000, channels: 2, members: 100, talkRate: 10, pushRate: 20, churn: 5, connectRate: 50, slow: 10}),
			&cli.StringFlag{Name: "check", Usage: "only check this history `FILE`"}),
		Action: func(c *cli.Context) error {
			if file := c.String("check"); file != "" {
				return checkFile(c, file)
			}
			return standing(c, wait)
		},
	}
}

// mass is the defaults that tell the standing loads apart.
type mass struct {
	idle, echo, channels, members, slow              int
	echoRate, talkRate, pushRate, churn, connectRate float64
}

func standingFlags(m mass) []cli.Flag {
	return commonFlags(append(publishFlags(),
		&cli.StringFlag{Name: "echo-path", Value: "/echo", Usage: "`PATH` that echoes, put behind --url"},
		&cli.StringFlag{Name: "chat-path", Value: "/chat?room={room}", Usage: "`PATH` that relays to everyone else in the room, put behind --url"},
		&cli.StringFlag{Name: "prefix", Value: "chat:", Usage: "`PREFIX` + room is the channel's name for --api"},
		&cli.IntFlag{Name: "idle", Value: m.idle, Usage: "`CONNECTIONS` that do nothing"},
		&cli.IntFlag{Name: "echoes", Value: m.echo, Usage: "`CONNECTIONS` that echo in turn"},
		&cli.Float64Flag{Name: "echo-rate", Value: m.echoRate, Usage: "echoes a `SECOND` in all"},
		&cli.IntFlag{Name: "channels", Value: m.channels, Usage: "how `MANY`"},
		&cli.IntFlag{Name: "members", Value: m.members, Usage: "`CONNECTIONS` in each channel"},
		&cli.Float64Flag{Name: "talk-rate", Value: m.talkRate, Usage: "messages a `SECOND` in all that members send to their channel"},
		&cli.Float64Flag{Name: "publish-rate", Value: m.pushRate, Usage: "publishes a `SECOND` in all through --api"},
		&cli.IntFlag{Name: "publishers", Value: 2, Usage: "`PUBLISHERS` through --api"},
		&cli.Float64Flag{Name: "churn", Value: m.churn, Usage: "members a `SECOND` that leave, each replaced by another"},
		&cli.Float64Flag{Name: "connect-rate", Value: m.connectRate, Usage: "connections a `SECOND` that come, echo once and go"},
		&cli.IntFlag{Name: "slow", Value: m.slow, Usage: "`MEMBERS` more that read slowly"},
		&cli.IntFlag{Name: "slow-bytes", Value: 2000, Usage: "`BYTES` a second that each of those reads"},
		&cli.BoolFlag{Name: "slow-cut-ok", Usage: "slow members may be closed in any way, not only with 1013"},
		&cli.BoolFlag{Name: "slow-may-miss", Usage: "slow members may miss messages (policies drop-oldest and latest)"},
		&cli.DurationFlag{Name: "settle", Value: 2 * time.Second, Usage: "around its joining and leaving a member may miss messages for so `LONG`, or twice as long as the slowest echo or handshake took"},
		&cli.StringFlag{Name: "history", Usage: "save the history to `FILE`"},
		sizeFlag(), durationFlag(), drainFlag())...)
}

// wait is what happens while the load stands, unless something else does: with
// a duration of 0 somebody else does it, and ends our standard input then.
func wait(b *bench) error {
	if d := b.Duration("duration"); d > 0 {
		return b.sleep(d)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, b.App.Reader)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-b.Context.Done():
		return fmt.Errorf("interrupted: %w", b.Context.Err())
	}
}

// standing opens every sort of load, keeps it up while do runs, and checks
// what happened.
func standing(c *cli.Context, do func(b *bench) error) error {
	if err := checkSize(c); err != nil {
		return err
	}
	base, err := server(c)
	if err != nil {
		return err
	}
	b, err := begin(c, standingLoads(c)...)
	if err != nil {
		return err
	}
	defer b.close()
	b.history.Settle = int64(c.Duration("settle"))
	b.history.SlowMayMiss = c.Bool("slow-may-miss")
	if err := b.opened(); err != nil {
		return err
	}
	pushers, err := newPushers(b)
	if err != nil {
		return err
	}
	defer pushers.stop()
	opened, after, took, err := b.measured("standing", func() error {
		defer pushers.stop()
		pushers.start()
		return do(b)
	})
	if err != nil {
		return err
	}
	b.memory(base, opened, after)
	return b.verdict(pushers, opened, after, took)
}

// memory adds what the server holds, before, at the start of and after the traffic.
func (b *bench) memory(base, opened, after proc.Sample) {
	if base.Processes == 0 {
		return
	}
	open := max(float64(b.Counters().Open()), 1)
	n := &b.report.Numbers
	n.Set("server_base_bytes", float64(base.PSS))
	n.Set("server_bytes_opened", float64(opened.PSS))
	n.Set("server_bytes_after", float64(after.PSS))
	n.Set("server_bytes_per_connection_after", float64(after.PSS-base.PSS)/open)
}

// verdict gathers the history, checks it and prints the report.
func (b *bench) verdict(pushers *pushers, before, after proc.Sample, took time.Duration) error {
	r, err := b.collect()
	if err != nil {
		return err
	}
	b.history.Streams = append(b.history.Streams, pushers.streams()...)
	b.history.Settle = max(b.history.Settle, 2*slowest(r))
	b.report.Numbers.Set("settle_s", float64(b.history.Settle)/1e9)
	if file := b.String("history"); file != "" {
		if err := save(file, &b.history); err != nil {
			return err
		}
	}
	n := &b.report.Numbers
	n.Set("seconds", took.Seconds())
	n.Set("connections", float64(r.Counters.Open()))
	n.Set("connections_opened", float64(r.Counters.Opened))
	n.Set("connections_left", float64(r.Counters.Left))
	n.Set("connections_lost", float64(r.Counters.Lost))
	n.Set("messages_sent", float64(r.Counters.Sent))
	n.Set("messages_received", float64(r.Counters.Received))
	n.Set("publishes", float64(pushers.count()))
	n.Set("incomplete_answers", float64(pushers.incomplete.Load()))
	n.Set("slow_members_cut", float64(cut(r)))
	if r.Counters.Late > 0 {
		b.report.late(r.Counters.Late, dialsAtOnce(b.Float64("connect-rate")))
	}
	b.spent(before, after, r.Counters.Received, "message")
	if before.Processes > 0 {
		n.Set("server_cpu_percent", 100*(after.CPU-before.CPU).Seconds()/took.Seconds())
	}
	for _, name := range []string{"echo", "delivery", "connect"} {
		n.percentiles(name, r.Latency[name])
		n.percentiles(name+load.Marked, r.Latency[name+load.Marked])
	}
	return b.finish(r)
}

// slowest is how long, in nanoseconds, the slowest echo or handshake took: on a machine
// that is starved what was sent before somebody left may be worked on after it.
func slowest(r *fleet.Report) (ns int64) {
	for _, name := range []string{"echo", "connect"} {
		if h := r.Latency[name]; h != nil {
			ns = max(ns, h.Max())
		}
	}
	return ns
}

func cut(r *fleet.Report) (n int) {
	for _, s := range r.Sessions {
		if s.Cut {
			n++
		}
	}
	return n
}

// standingLoads are the loads that the flags ask for.
func standingLoads(c *cli.Context) []load.Spec {
	base := strings.TrimSuffix(c.String("url"), "/")
	all := make([]load.Spec, 0, 5)
	add := func(kind, path string, connections int, rate float64) *load.Spec {
		l := spec(c, kind)
		l.URL, l.Connections, l.Rate = base+path, connections, rate
		all = append(all, l)
		return &all[len(all)-1]
	}
	echo, chat := c.String("echo-path"), c.String("chat-path")
	if n := c.Int("idle"); n > 0 {
		add(load.Idle, echo, n, 0)
	}
	if rate := c.Float64("echo-rate"); rate > 0 && c.Int("echoes") > 0 {
		add(load.Echo, echo, c.Int("echoes"), rate)
	}
	names := rooms(c)
	if n := len(names) * c.Int("members"); n > 0 {
		l := add(load.Members, chat, n, c.Float64("talk-rate"))
		l.Rooms, l.Prefix, l.Churn = names, c.String("prefix"), c.Float64("churn")
	}
	if n := c.Int("slow"); n > 0 && len(names) > 0 {
		l := add(load.Members, chat, n, 0)
		l.Rooms, l.Prefix, l.SlowBytes, l.CutOK = names, c.String("prefix"), c.Int("slow-bytes"), c.Bool("slow-cut-ok")
	}
	if rate := c.Float64("connect-rate"); rate > 0 {
		add(load.Dial, echo, dialsAtOnce(rate), rate)
	}
	return all
}

// dialsAtOnce is how many may be on their way: as many as come within three
// seconds, since a pause is no fault by itself.
func dialsAtOnce(rate float64) int { return max(int(3*rate), 1) }

func rooms(c *cli.Context) []string {
	names := make([]string, c.Int("channels"))
	for i := range names {
		names[i] = fmt.Sprintf("bench%d", i)
	}
	return names
}

func save(file string, h *history.History) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	if err := errors.Join(h.Write(f), f.Close()); err != nil {
		return fmt.Errorf("save history in %s: %w", file, err)
	}
	return nil
}

// checkFile judges a saved history.
func checkFile(c *cli.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	defer func() { _ = f.Close() }()
	h, err := history.Read(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	r := &Report{Pushbench: 1, Command: c.Command.Name, Label: c.String("label"), URL: file, Started: time.Now().UTC(), Machine: machine()}
	r.Numbers.Set("sessions", float64(len(h.Sessions)))
	r.Numbers.Set("streams", float64(len(h.Streams)))
	r.Numbers.Set("settle_s", float64(h.Settle)/1e9)
	r.judge(h)
	return r.output(c)
}
