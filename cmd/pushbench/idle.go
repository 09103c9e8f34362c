package main

import (
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/proc"
)

func idleCommand() *cli.Command {
	return &cli.Command{
		Name:  "idle",
		Usage: "open connections, let them be, and measure what each costs",
		Flags: commonFlags(
			connectionsFlag(15_000),
			&cli.DurationFlag{Name: "settle", Value: 20 * time.Second, Usage: "wait at `MOST` so long for the server's memory to stand still"},
			&cli.DurationFlag{Name: "hold", Value: 5 * time.Second, Usage: "how `LONG` to watch the idle server's CPU"},
		),
		Action: idle,
	}
}

func idle(c *cli.Context) error {
	base, err := server(c)
	if err != nil {
		return err
	}
	slab, err := proc.Slab()
	if err != nil {
		return err
	}
	l := spec(c, load.Idle)
	l.Connections = c.Int("connections")
	started := time.Now()
	b, err := begin(c, l)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.opened(); err != nil {
		return err
	}
	opening := time.Since(started)
	settled, err := b.settle(c.Duration("settle"))
	if err != nil {
		return err
	}
	slabAfter, err := proc.Slab()
	if err != nil {
		return err
	}
	b.progress.say("holding")
	if err := b.sleep(c.Duration("hold")); err != nil {
		return err
	}
	after, err := b.server()
	if err != nil {
		return err
	}
	r, err := b.collect()
	if err != nil {
		return err
	}
	n, open := &b.report.Numbers, max(float64(r.Counters.Open()), 1)
	n.Set("connections", float64(r.Counters.Open()))
	n.Set("opening_s", opening.Seconds())
	if base.Processes > 0 {
		b.idleServer(base, settled, after, open)
	}
	n.Set("kernel_slab_bytes_per_connection_both_ends", math.Round(float64(slabAfter-slab)/open))
	n.percentiles("connect", r.Latency["connect"])
	return b.finish(r)
}

// idleServer adds what the server holds and does for connections that idle.
func (b *bench) idleServer(base, settled, after proc.Sample, open float64) {
	n, hold := &b.report.Numbers, b.Duration("hold").Seconds()
	n.Set("server_processes", float64(settled.Processes))
	n.Set("server_base_bytes", float64(base.PSS))
	n.Set("server_bytes", float64(settled.PSS))
	n.Set("server_bytes_per_connection", math.Round(float64(settled.PSS-base.PSS)/open))
	n.Set("idle_cpu_percent", 100*(after.CPU-settled.CPU).Seconds()/hold)
	n.Set("idle_context_switches_per_s", float64(after.Switches-settled.Switches)/hold)
}

// settle waits until the server's memory has stood still, within 0.5 %, for
// three looks half a second apart.
func (b *bench) settle(longest time.Duration) (proc.Sample, error) {
	b.progress.say("settling")
	last, err := b.server()
	if err != nil || last.Processes == 0 {
		return last, err
	}
	for still, end := 0, time.Now().Add(longest); still < 3 && time.Now().Before(end); {
		if err := b.sleep(500 * time.Millisecond); err != nil {
			return last, err
		}
		now, err := b.server()
		if err != nil {
			return now, err
		}
		if math.Abs(float64(now.PSS-last.PSS)) <= 0.005*float64(last.PSS) {
			still++
		} else {
			still = 0
		}
		last = now
	}
	return last, nil
}
