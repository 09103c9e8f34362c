// Package compare measures pushd and its peers in turn on one machine: every
// round starts each server afresh and puts it through the same measures, so
// that what changes on the machine meanwhile meets all of them alike.
package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/proc"
)

// Options of a comparison.
type Options struct {
	Bench, Pushd, Peers string   // programs
	Only                []string // names of servers; empty: all
	Rounds              int
	Loops               int           // of each server: event loops, workers, GOMAXPROCS
	Each                int           // connections of one worker of pushd, at most; 0: its default
	Duration            time.Duration // of a measure that runs by time
	Idle                int           // connections of the idle measures
	Fan                 int           // receivers of the fan-out
	Hold                time.Duration // how long idle CPU is watched, once
	Calm                time.Duration // how long, at most, a server gets to become calm; twice that for its memory
	Timed               int           // messages, ten a second, whose latency is measured
	Log                 io.Writer     // a line per measure
}

// Result is a comparison, as it is stored.
type Result struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Loops   int       `json:"loops"`
	Rounds  int       `json:"rounds"`
	Idle    int       `json:"idle_connections"`
	Fan     int       `json:"fanout_receivers"`
	Runs    []Run     `json:"runs"`
}

// Run is one measure of one server.
type Run struct {
	Server  string             `json:"server"`
	Measure string             `json:"measure"`
	Round   int                `json:"round"`
	OK      bool               `json:"ok"`
	Numbers map[string]float64 `json:"numbers"`
	Errors  []string           `json:"problems,omitempty"`
}

// Measure compares. It returns what it has when ctx ends.
func Measure(ctx context.Context, o Options) (*Result, error) {
	servers, err := choose(o.Only)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pushbench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &Result{Started: time.Now().UTC(), Kernel: kernel(), CPUs: runtime.NumCPU(), Loops: o.Loops, Rounds: o.Rounds, Idle: o.Idle, Fan: o.Fan}
	c := &comparison{Options: o, dir: dir, result: r}
	for round := range o.Rounds {
		for _, s := range servers {
			if err := c.server(ctx, s, round); err != nil {
				return r, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	r.Seconds = time.Since(r.Started).Seconds()
	return r, nil
}

type comparison struct {
	Options
	dir    string
	result *Result
}

// server starts a server and takes its measures. Those that need a server
// that has done nothing yet get one of their own.
func (c *comparison) server(ctx context.Context, s server, round int) error {
	var running *process
	defer func() { running.stop() }()
	for _, m := range measures {
		if m.pushdOnly && s.name != pushd || m.once && round > 0 {
			continue
		}
		if running == nil || m.fresh {
			running.stop()
			var err error
			if running, err = start(ctx, c, s, m.keys); err != nil {
				return err
			}
		}
		if err := quiet(ctx, running.cmd.Process.Pid, c.Calm); err != nil {
			return err
		}
		run, err := c.measure(ctx, m, running)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		run.Server, run.Measure, run.Round = s.name, m.name, round
		c.result.Runs = append(c.result.Runs, run)
		_, _ = fmt.Fprintf(c.Log, "round %d %-8s %-12s %s\n", round+1, s.name, m.name, run.summary(m))
	}
	return nil
}

// measure runs pushbench, which is a process of its own each time.
func (c *comparison) measure(ctx context.Context, m measure, p *process) (run Run, err error) {
	file := filepath.Join(c.dir, "result.json")
	_ = os.Remove(file)
	args := append(m.args(c.Options, p), "--pid", fmt.Sprint(p.cmd.Process.Pid), "-o", file)
	said, failed := exec.CommandContext(ctx, c.Bench, args...).CombinedOutput()
	text, err := os.ReadFile(file)
	if err != nil { // it did not come to a result
		return run, fmt.Errorf("pushbench %v: %w: %s", args, failed, said)
	}
	report := struct {
		OK       bool               `json:"ok"`
		Numbers  map[string]float64 `json:"numbers"`
		Problems []string           `json:"problems"`
		Faults   []json.RawMessage  `json:"violations"`
	}{}
	if err := json.Unmarshal(text, &report); err != nil {
		return run, err
	}
	run = Run{OK: report.OK, Numbers: report.Numbers, Errors: report.Problems}
	if n := len(report.Faults); n > 0 {
		run.Errors = append(run.Errors, fmt.Sprintf("%d faults, the first %s", n, report.Faults[0]))
	}
	return run, nil
}

// summary is what a measure's log line says.
func (r Run) summary(m measure) (line string) {
	for _, l := range lines {
		if l.measure == m.name {
			line += fmt.Sprintf("%s %s  ", format(r.Numbers[l.metric]), l.unit)
		}
	}
	if !r.OK {
		line += fmt.Sprintf("FAULTY %v", r.Errors)
	}
	return line
}

// calmLook is how long a server is watched to tell whether it is calm.
const calmLook = 500 * time.Millisecond

// quiet waits, for at most so long, until a server has done with what the last
// measure left it: it works less than 20 ms in a calmLook.
func quiet(ctx context.Context, pid int, longest time.Duration) error {
	last, err := proc.Tree(pid)
	for range longest / calmLook {
		if err != nil {
			return err
		}
		select {
		case <-time.After(calmLook):
		case <-ctx.Done():
			return ctx.Err()
		}
		var now proc.Sample
		if now, err = proc.Tree(pid); now.CPU-last.CPU < 20*time.Millisecond {
			break
		}
		last = now
	}
	return err
}
