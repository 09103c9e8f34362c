package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/proc"
)

func idleCommand() *cli.Command {
	return &cli.Command{
		Name:  "idle",
		Usage: "open connections, let them be, and measure what each costs; then perhaps a broadcast to all, and a reload",
		Flags: append(commonFlags(append(publishFlags(),
			connectionsFlag(15_000),
			&cli.DurationFlag{Name: "settle", Value: 20 * time.Second, Usage: "wait at `MOST` so long for the server's memory to stand still, before the first connection and with all of them"},
			&cli.DurationFlag{Name: "hold", Value: 5 * time.Second, Usage: "how `LONG` to watch the idle server's CPU"},
			&cli.StringFlag{Name: "channel", Value: "chat:lobby", Usage: "`NAME` of the channel that all are in, for --messages"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Usage: "then publish so `MANY` through --api, each to all, and again after --exec"},
			&cli.StringFlag{Name: "exec", Usage: "then run a `COMMAND` in the shell, such as a reload"},
			&cli.DurationFlag{Name: "exec-timeout", Value: time.Minute, Usage: "give it up `AFTER`"},
			&cli.IntFlag{Name: "own", Value: 1, Usage: "private `CHANNELS` of each connection, for --protocol pusher; 0: all are in --channel"},
			sizeFlag(), stallFlag())...), protocolFlags()...),
		Action: idle,
	}
}

// idler is one run of idle.
type idler struct {
	*bench
	fan    *fan
	base   proc.Sample // before the first connection, when its memory stood still
	kernel proc.Kernel
}

func idle(c *cli.Context) error {
	if err := checkIdle(c); err != nil {
		return err
	}
	var i idler
	var err error
	if i.base, err = calmServer(c, c.Duration("settle")); err != nil {
		return err
	}
	if i.kernel, err = proc.ReadKernel(); err != nil {
		return err
	}
	l := spec(c, load.Idle)
	l.Connections, l.Watch = c.Int("connections"), load.PublisherID(0)
	if err := speak(c, &l, c.String("channel"), c.Int("own")); err != nil {
		return err
	}
	started := time.Now()
	if i.bench, err = begin(c, l); err != nil {
		return err
	}
	defer i.close()
	i.fan = newFan(i.bench, c.String("channel"))
	if err := i.opened(); err != nil {
		return err
	}
	i.report.Numbers.Set("opening_s", time.Since(started).Seconds())
	if err := i.stand(); err != nil {
		return err
	}
	if err := i.disturb(); err != nil {
		return err
	}
	r, err := i.collect()
	if err != nil {
		return err
	}
	return i.verdict(r)
}

func checkIdle(c *cli.Context) error {
	if c.Int("messages") > 0 && c.String("api") == "" {
		return fmt.Errorf("%w: --messages needs --api", errUsage)
	}
	return checkSize(c)
}

// stand measures the server with the connections, while nothing happens.
func (i *idler) stand() error {
	settled, err := i.settle()
	if err != nil {
		return err
	}
	i.progress.say("holding")
	pings := i.Counters().Pings
	if err := i.sleep(i.Duration("hold")); err != nil {
		return err
	}
	after, err := i.server()
	if err != nil {
		return err
	}
	pings = i.Counters().Pings - pings
	kernel, err := proc.ReadKernel() // before the bare pings, whose sockets it would see
	if err != nil {
		return err
	}
	if err := i.heartbeat(settled, after, pings); err != nil {
		return err
	}
	n, open, hold := &i.report.Numbers, max(float64(i.Counters().Open()), 1), i.Duration("hold").Seconds()
	if i.base.Processes > 0 {
		n.Set("server_processes", float64(settled.Processes))
		n.Set("server_base_bytes", float64(i.base.PSS))
		n.Set("server_bytes", float64(settled.PSS))
		n.Set("server_bytes_per_connection", math.Round(float64(settled.PSS-i.base.PSS)/open))
		i.byRole(settled, open)
	}
	if i.base.Processes > 0 && hold > 0 {
		n.Set("idle_cpu_percent", 100*(after.CPU-settled.CPU).Seconds()/hold)
		n.Set("idle_context_switches_per_s", float64(after.Switches-settled.Switches)/hold)
	}
	n.Set("kernel_slab_bytes_per_connection_both_ends", math.Round(float64(kernel.Slab-i.kernel.Slab)/open))
	n.Set("kernel_slab_bytes", float64(kernel.Slab))
	n.Set("kernel_tcp_sockets", float64(kernel.Sockets))
	n.Set("memory_available_bytes", float64(kernel.Available))
	return nil
}

// heartbeat compares what the server took for each of so many pings, and all else
// that it does while idle, with a bare write and read of the same bytes.
func (i *idler) heartbeat(before, after proc.Sample, pings int64) error {
	if i.base.Processes == 0 || pings == 0 {
		return nil
	}
	sockets := min(max(int(i.Counters().Open()), 64), mostBare, fleet.PerAgent()/2)
	bare, err := load.BarePing(sockets, max(barePings/sockets, 1))
	if err != nil {
		return fmt.Errorf("measure a bare ping: %w", err)
	}
	each := float64((after.CPU - before.CPU).Microseconds()) / float64(pings)
	n := &i.report.Numbers
	n.Set("server_cpu_us_per_ping", each)
	n.Set("bare_ping_us", float64(bare.Nanoseconds())/1e3)
	n.Set("ping_to_bare", each/max(float64(bare.Nanoseconds())/1e3, 0.001))
	return nil
}

// A bare ping is measured on as many sockets as there are connections, up to mostBare,
// and often enough to take about a quarter of a second.
const (
	mostBare  = 4000
	barePings = 32_000
)

// byRole tells apart what the processes of a server hold that name themselves
// "program: role …", and what a channel costs if connections have several.
func (i *idler) byRole(settled proc.Sample, open float64) {
	n := &i.report.Numbers
	for _, role := range slices.Sorted(maps.Keys(settled.Roles)) {
		grown := settled.Roles[role] - i.base.Roles[role]
		n.Set("server_bytes_"+role, float64(settled.Roles[role]))
		n.Set("server_bytes_"+role+"_grown", float64(grown))
		if own := i.Int("own"); i.String("protocol") == "pusher" && own > 0 {
			n.Set("server_bytes_"+role+"_per_membership", float64(grown)/open/float64(own))
		}
	}
}

// disturb publishes to all and runs the command, and measures what that leaves.
func (i *idler) disturb() error {
	messages, exec := i.Int("messages"), i.String("exec") != ""
	if messages == 0 && !exec {
		return nil
	}
	if messages > 0 {
		if err := i.fan.open(""); err != nil {
			return err
		}
		defer func() { _ = i.fan.publisher.Close() }()
		i.broadcast("broadcasting", messages)
	}
	if exec {
		i.execution()
		i.broadcast("broadcasting again", messages)
	}
	settled, err := i.settle()
	if err != nil {
		return err
	}
	if i.base.Processes > 0 {
		n, open := &i.report.Numbers, max(float64(i.Counters().Open()), 1)
		n.Set("server_bytes_after", float64(settled.PSS))
		n.Set("server_bytes_per_connection_after", math.Round(float64(settled.PSS-i.base.PSS)/open))
	}
	return nil
}

func (i *idler) broadcast(phase string, messages int) {
	i.progress.say(phase)
	if err := i.fan.send(messages); err != nil {
		i.report.problem("%s: %v", phase, err)
	}
}

func (i *idler) execution() {
	i.progress.say("executing")
	started := time.Now()
	if err := i.execute(); err != nil {
		i.report.problem("%s: %v", i.String("exec"), err)
	}
	i.report.Numbers.Set("execution_s", time.Since(started).Seconds())
}

func (i *idler) verdict(r *fleet.Report) error {
	n := &i.report.Numbers
	n.Set("connections", float64(r.Counters.Open()))
	n.Set("connections_lost", float64(r.Counters.Lost))
	if i.Int("messages") > 0 {
		i.fan.numbers(r)
	}
	n.percentiles("connect", r.Latency["connect"])
	return i.finish(r)
}

// settle waits until the server stands still with its connections.
func (i *idler) settle() (proc.Sample, error) {
	i.progress.say("settling")
	return calmServer(i.Context, i.Duration("settle"))
}

// calmLooks is how many looks in a row, half a second apart, must find the same
// memory: collectors and servers give back what a storm has left only seconds
// after it, and a server that has just begun is still growing.
const calmLooks = 10

// calmServer waits until the server's memory has stood still, within 0.5 %, for
// calmLooks.
func calmServer(c *cli.Context, longest time.Duration) (proc.Sample, error) {
	last, err := server(c)
	if err != nil || last.Processes == 0 {
		return last, err
	}
	for still, end := 0, time.Now().Add(longest); still < calmLooks && time.Now().Before(end); {
		if err := sleep(c, 500*time.Millisecond); err != nil {
			return last, err
		}
		now, err := server(c)
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
