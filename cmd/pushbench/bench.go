package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/fleet"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/load"
	"github.com/pushd/pushd/cmd/pushbench/proc"
)

// bench is one run: agents, server and report.
type bench struct {
	*cli.Context
	*fleet.Fleet
	jobs     []fleet.Job
	report   *Report
	progress *progress
	history  history.History
}

// begin starts the agents, which open their standing connections.
func begin(c *cli.Context, loads ...load.Spec) (*bench, error) {
	if err := need(c, "url"); err != nil {
		return nil, err
	}
	jobs, err := fleet.Split(loads, c.Int("procs"))
	if err != nil {
		return nil, err
	}
	return launch(c, jobs)
}

func launch(c *cli.Context, jobs []fleet.Job) (*bench, error) {
	f, err := fleet.Launch(jobs)
	if err != nil {
		return nil, err
	}
	return &bench{
		Context: c,
		Fleet:   f,
		jobs:    jobs,
		report: &Report{
			Pushbench: 1, Command: c.Command.Name, Label: c.String("label"),
			URL: c.String("url"), Started: time.Now().UTC(), Machine: machine(),
		},
		progress: startProgress(c.App.ErrWriter, f),
		history:  history.History{Settle: history.Settle},
	}, nil
}

// close ends the agents; after it nothing of the run is left.
func (b *bench) close() {
	b.progress.stop()
	b.Fleet.Close()
}

// opened waits for the standing connections. A server that refuses all of them
// is a reason to stop.
func (b *bench) opened() error {
	b.progress.say("opening")
	if err := b.Ready(b.Context.Context); err != nil {
		return err
	}
	if c := b.Counters(); c.Dialed == 0 || c.Opened > 0 {
		return nil
	}
	r, err := b.collect()
	if err != nil {
		return err
	}
	return fmt.Errorf("none of %d connections opened: %s; is the server there, and is the path right?", r.Counters.Dialed, r.Sessions[0].Cause)
}

// run marks the messages of this run.
func (b *bench) run() uint32 { return b.jobs[0].Run }

// sleep waits, unless the run is interrupted.
func (b *bench) sleep(d time.Duration) error { return sleep(b.Context, d) }

func sleep(c *cli.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.Context.Done():
		return fmt.Errorf("interrupted: %w", c.Context.Err())
	}
}

// sleepUntil waits until the clock (client.Now) has reached due, unless the run
// is interrupted. The runtime's timers are up to a millisecond late, which would
// count as the server's: the last two are left to the system's.
func (b *bench) sleepUntil(due int64) error {
	if err := b.sleep(time.Duration(due-client.Now()) - 2*time.Millisecond); err != nil {
		return err
	}
	at := unix.NsecToTimespec(due)
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil), unix.EINTR) {
	}
	return nil
}

// measured runs the traffic for as long as do takes, then waits for what is on
// its way; it returns samples of the server before and after.
func (b *bench) measured(phase string, do func() error) (before, after proc.Sample, took time.Duration, err error) {
	if before, err = b.server(); err != nil {
		return
	}
	b.progress.say(phase)
	started := time.Now()
	if err = b.Begin(); err != nil {
		return
	}
	if err = do(); err != nil {
		return
	}
	took = time.Since(started)
	if err = b.Stop(b.Context.Context, b.Duration("drain")); err != nil {
		return
	}
	after, err = b.server()
	return
}

// server samples the server's processes, if --pid names them.
func (b *bench) server() (proc.Sample, error) { return server(b.Context) }

func server(c *cli.Context) (proc.Sample, error) {
	if pid := c.Int("pid"); pid > 0 {
		return proc.Tree(pid)
	}
	return proc.Sample{}, nil
}

// spent adds what the server worked between two samples, per unit of work.
func (b *bench) spent(before, after proc.Sample, work int64, unit string) {
	if after.Processes == 0 {
		return
	}
	cpu := after.CPU - before.CPU
	b.report.Numbers.Set("server_cpu_s", cpu.Seconds())
	if switches := after.Switches - before.Switches; switches >= 0 { // else processes were replaced
		b.report.Numbers.Set("server_context_switches", float64(switches))
		if work > 0 {
			b.report.Numbers.Set("server_context_switches_per_"+unit, float64(switches)/float64(work))
		}
	}
	if work > 0 {
		b.report.Numbers.Set("server_cpu_us_per_"+unit, float64(cpu.Microseconds())/float64(work))
	}
}

// collect takes the agents' reports and adds what they have in common.
func (b *bench) collect() (*fleet.Report, error) {
	r, err := b.Report(b.Context.Context)
	if err != nil {
		return nil, err
	}
	b.history.Sessions = append(b.history.Sessions, r.Sessions...)
	b.history.Streams = append(b.history.Streams, r.Streams...)
	return r, nil
}

// finish judges the run, prints the report and says how it went.
func (b *bench) finish(r *fleet.Report) error {
	n := &b.report.Numbers
	n.Set("client_cpu_s", r.CPU.Seconds())
	n.Set("client_processes", float64(len(b.jobs)))
	n.Set("bytes_in", float64(r.Counters.BytesIn))
	n.Set("bytes_out", float64(r.Counters.BytesOut))
	n.Set("server_pings", float64(r.Counters.Pings))
	if r.Pending > 0 {
		b.report.problem("%d answers never came", r.Pending)
	}
	b.report.judge(&b.history)
	b.progress.stop()
	return b.report.output(b.Context)
}

// output writes the report where the flags want it; a faulty run is an error.
func (r *Report) output(c *cli.Context) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file := c.String("out"); file != "" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	if c.Bool("json") {
		_, err = c.App.Writer.Write(text)
	} else {
		r.print(c.App.Writer)
	}
	if err == nil && !r.OK {
		err = errFaulty
	}
	return err
}
