package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/load"
)

func connectCommand() *cli.Command {
	return &cli.Command{
		Name:  "connect",
		Usage: "handshake, close, again: how many a second",
		Flags: commonFlags(
			&cli.IntFlag{Name: "connections", Aliases: []string{"c"}, Value: 100, Usage: "how `MANY` are on their way at a time"},
			&cli.Float64Flag{Name: "rate", Usage: "`CONNECTIONS` per second on a timetable; 0 as fast as they go"},
			&cli.BoolFlag{Name: "echo", Usage: "expect one message back on each"},
			&cli.BoolFlag{Name: "resume", Usage: "use session tickets of earlier connections (wss)"},
			sizeFlag(), durationFlag(), drainFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := checkSize(c); err != nil {
				return err
			}
			l := spec(c, load.Dial)
			l.Resume = c.Bool("resume")
			if !c.Bool("echo") {
				l.Size = 0
			}
			return traffic(c, l, "connection", func(r *fleet.Report) int64 { return r.Counters.Opened })
		},
	}
}

func echoCommand() *cli.Command {
	return &cli.Command{
		Name:  "echo",
		Usage: "send messages and expect them back",
		Flags: commonFlags(
			connectionsFlag(100),
			&cli.Float64Flag{Name: "rate", Usage: "`MESSAGES` per second on a timetable, over all connections in turn; 0: each connection sends when its last message is back"},
			sizeFlag(), durationFlag(), drainFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := checkSize(c); err != nil {
				return err
			}
			return traffic(c, spec(c, load.Echo), "message", func(r *fleet.Report) int64 { return r.Counters.Received })
		},
	}
}

// traffic runs one load for the duration; work counts what got done.
func traffic(c *cli.Context, l load.Spec, unit string, work func(*fleet.Report) int64) error {
	l.Connections, l.Rate = c.Int("connections"), c.Float64("rate")
	b, err := begin(c, l)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.opened(); err != nil {
		return err
	}
	before, after, took, err := b.measured("measuring", func() error { return b.sleep(c.Duration("duration")) })
	if err != nil {
		return err
	}
	r, err := b.collect()
	if err != nil {
		return err
	}
	n, done := &b.report.Numbers, work(r)
	if done == 0 {
		b.report.problem("no %s went through", unit)
	}
	n.Set("concurrency", float64(l.Connections))
	n.Set(unit+"s", float64(done))
	n.Set(unit+"s_per_s", float64(done)/took.Seconds())
	n.Set("seconds", took.Seconds())
	if l.Resume {
		n.Set("connections_resumed", float64(r.Counters.Resumed))
	}
	if r.Counters.Late > 0 {
		b.report.late(r.Counters.Late, l.Connections)
	}
	b.spent(before, after, done, unit)
	latency := l.Kind
	if l.Kind == load.Dial {
		latency = "connect"
	}
	n.percentiles(latency, r.Latency[latency])
	if done > 0 {
		n.Set(fmt.Sprintf("client_cpu_us_per_%s", unit), float64(r.CPU.Microseconds())/float64(done))
	}
	return b.finish(r)
}
