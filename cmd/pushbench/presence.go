package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/load"
)

func presenceCommand() *cli.Command {
	return &cli.Command{
		Name:  "presence",
		Usage: "all join one presence channel of the Pusher protocol at once, until each has learned of each",
		Flags: append(commonFlags(
			connectionsFlag(1000),
			&cli.StringFlag{Name: "channel", Value: "presence-bench", Usage: "`NAME`"},
			&cli.DurationFlag{Name: "stall", Value: 30 * time.Second, Usage: "give up `AFTER`"}),
			protocolFlags()...),
		Action: presence,
	}
}

func presence(c *cli.Context) error {
	l := spec(c, load.Presence)
	l.Connections, l.Total = c.Int("connections"), c.Int("connections")
	l.Pusher = &load.Pusher{Key: c.String("app-key"), Secret: c.String("app-secret"), Channel: c.String("channel")}
	before, err := server(c)
	if err != nil {
		return err
	}
	started := time.Now()
	b, err := begin(c, l)
	if err != nil {
		return err
	}
	defer b.close()
	b.progress.say("joining")
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("stall"))
	defer cancel()
	if err := b.Ready(ctx); err != nil {
		return fmt.Errorf("not everyone learned of everyone: %w", err)
	}
	took := time.Since(started)
	after, err := b.server()
	if err != nil {
		return err
	}
	r, err := b.collect()
	if err != nil {
		return err
	}
	n := &b.report.Numbers
	n.Set("connections", float64(r.Counters.Open()))
	n.Set("seconds", took.Seconds())
	n.Set("repeated", float64(r.Repeated))
	if r.Repeated > 0 {
		b.report.problem("members learned of others %d times more than once", r.Repeated)
	}
	b.spent(before, after, r.Counters.Open(), "join")
	n.percentiles("presence", r.Latency["presence"])
	return b.finish(r)
}
